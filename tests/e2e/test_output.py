"""What is printed: data on stdout, talk on stderr, JSON as documented, commands that run, and migrations that are found."""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crossfade.errors import every_code
from support import snapshots
from support.cluster import Cluster
from support.person import Person, commands_run, refused, said, words_of
from support.running import CROSSFADE, Terminal, compare, finish, wait_for
from support.servers import NAMES, Database, Servers

KIND = {"kind", "entries", "records", "bytes", "raw", "quarantined"}


@pytest.fixture
def moved(person: Person, tiny: Path, database: Database) -> str:
    """The id of a finished migration of *tiny* into *database*."""
    return str(person.asks("start", tiny, database.url, "--once")["migration"])


@pytest.fixture
def another(servers: Servers) -> Iterator[Database]:
    """A second schema."""
    with servers.database(NAMES[0]) as made:
        yield made


def test_a_validation_ends_with_its_counts_and_the_roots(person: Person, tiny: Path, database: Database, moved: str):
    """Those of both sides where they are not the same."""
    value = person.asks("validate", moved)
    (sessions,) = (kind for kind in value["kinds"] if kind["kind"] == "sessions")
    size = sum(path.stat().st_size for path in (tiny / "sessions").iterdir())
    files = len(list((tiny / "sessions").iterdir()))
    assert sessions == {"kind": "sessions", "entries": files, "records": files, "bytes": size}

    database.run("UPDATE entries SET mode = 384 WHERE type = 'file'")
    run = person.types("validate", moved)
    assert run.status == 3
    assert re.search(r"^  sessions +\d+ +\d+ ", run.out, re.MULTILINE), run.out
    source, target = re.findall(r"roots: source ([0-9a-f]{16}), target ([0-9a-f]{16})", run.out)[0]
    assert source != target


def test_a_validation_tells_programs_what_to_type_next(person: Person, tiny: Path, database: Database, moved: str):
    """The same that people are told: nothing where all is equal, what mends it where something is not."""
    assert person.asks("validate", moved)["next_steps"] == []
    database.run("UPDATE entries SET mode = 384 WHERE type = 'file'")
    steps = person.asks("validate", moved)["next_steps"]
    (step,) = steps
    assert f"\ndifferent: {step['command']}   # {step['why']}\n" in person.types("validate", moved).out

    commands_run(person, steps)
    assert person.asks("validate", moved)["state"] == "equal"


def test_a_validation_of_two_that_have_nothing_in_common_says_what_is_not_refused(
    person: Person, tiny: Path, database: Database, moved: str, tmp_path: Path
):
    """Not to mend the live files of a migration, whose ends were exchanged; nor the directory of somebody else."""
    del moved
    (tiny / "sessions/new.json").write_text("{}")
    for target, verb in ((tiny, "validate"), (tmp_path / "elsewhere", "start")):
        target.mkdir(exist_ok=True)
        (step,) = person.asks("validate", database.url, target)["next_steps"]
        _, hint = refused(person.types("validate", database.url, target, "--repair"), "CF708", 7)
        assert (hint, words_of(step["command"])[0]) == (step["command"], verb)
        assert f"\ndifferent: {step['command']}   # no migration of" in person.types("validate", database.url, target).out
        commands_run(person, [step])


def test_what_is_not_moved_is_counted_at_the_end(person: Person, tiny: Path, database: Database):
    """A pipe among it, and as many as the plan names; a database as source holds nothing of the kind."""
    os.mkfifo(tiny / "pipe")
    (tiny / "locks").mkdir(exist_ok=True)
    (tiny / "locks/one.lock").touch()
    named = [item["fate"] for item in person.asks("plan", tiny, database.url)["excluded"]]
    counted = {**{fate: named.count(fate) for fate in set(named)}, "special": 1}
    assert counted["transient"] >= 1

    run = person.types("start", tiny, database.url, "--once")
    assert f"{counted['transient']} transient" in run.out
    assert "1 no file, directory or link" in run.out
    assert person.asks("validate", tiny, database.url)["left_out"] == counted
    person.types("start", database.url, tiny.parent / "back", "--once")
    assert person.asks("validate", database.url, tiny.parent / "back")["left_out"] == {}


def test_a_run_with_nothing_to_do_tells_people_what_is_there(person: Person, store: Path, database: Database):
    """Counts by kind and in sum, the roots, what is not moved: the same lines as the run that proved it."""
    first = person.moves(store, database.url).out.splitlines()
    again = person.moves(store, database.url).out.splitlines()

    (proven,) = [line for line in again if line.startswith("already there, proven at ")]
    at, before = again.index(proven), first.index("proven: " + proven.partition("UTC: ")[2])
    assert "both roots are " in proven
    assert again[at + 1 :] == first[before + 1 :]
    assert any("not moved: " in line for line in again[at:])
    assert again[: at - 1] == [line for line in first[:before] if not line.startswith(("brought", "took"))]
    assert again[at - 1] == next(line.partition("; ")[2] for line in first if line.startswith("brought"))


def test_start_ends_with_its_report(person: Person, store: Path, database: Database):
    """Per kind and in sum, with the roots of both sides; the same again when there was nothing to do."""
    run = person.types("start", store, database.url, "--once", "--json")
    value = said(run)
    again = said(person.types("start", store, database.url, "--once", "--json"))

    assert value["schema_version"] == 1
    assert (value["state"], value["reason"]) == ("copied", "done")
    assert value["proved_at"] == value["positions"]["verified"]["at"]
    assert value["positions"]["applied"] == {"entries": value["entries"], "bytes": value["bytes"]}
    assert (value["eta"]["seconds"], value["throttle"]["active"]) == (0, False)
    assert (again["state"], again["reason"]) == ("copied", "already there")
    assert again["proved_at"]
    assert {name: value[name] for name in ("source", "target")} == {
        "source": f"file://{store}",
        "target": again["target"],
    }
    for kind in value["kinds"]:
        assert set(kind) == KIND | {"errors", "duration_seconds"}
    for name in ("entries", "records", "bytes", "raw", "quarantined", "errors"):
        assert value[name] == sum(kind[name] for kind in value["kinds"])
    assert value["entries"] == sum(1 for path in store.rglob("*") if path.is_file()) - len(
        _left_out(person, store, database)
    )
    proof = value["validation"]
    assert proof["holds"] is True
    assert proof["source_root"] == proof["target_root"]
    assert re.fullmatch(r"[0-9a-f]{64}", proof["source_root"])
    assert value["duration_seconds"] > 0
    assert re.fullmatch(r"[0-9a-f]{64}", value["head"])
    assert value["unreadable"] == []
    assert "migration " in run.err
    commands_run(person, value["next_steps"])


def _left_out(person: Person, store: Path, database: Database) -> list[Path]:
    plan = person.asks("plan", store, database.url)
    found = [store / item["path"] for item in plan["excluded"]]
    return [p for top in found for p in ([top] if top.is_file() else top.rglob("*")) if p.is_file()]


def test_status_has_every_documented_key(person: Person, tiny: Path, database: Database, moved: str):
    """One value, whoever asks, and commands that can be typed as they stand."""
    value = person.asks("status", moved)

    assert set(value) == {
        "drift",
        "schema_version",
        "migration",
        "source",
        "target",
        "state",
        "reason",
        "positions",
        "lag",
        "kinds",
        "eta",
        "throttle",
        "head",
        "next_steps",
    }
    assert (value["schema_version"], value["migration"], value["state"]) == (1, moved, "copied")
    assert value["reason"].startswith("proven at 20")
    assert set(value["positions"]) == {"authority", "applied", "verified"}
    assert value["positions"]["applied"] == {"entries": 2, "bytes": 55, "changes": None}  # counted by whoever follows
    assert value["positions"]["verified"]["at"]
    assert [kind["kind"] for kind in value["kinds"]] == ["events", "sessions"]
    for kind in value["kinds"]:
        assert set(kind) == KIND | {"incomplete"}
    assert value["eta"] == {"seconds": None, "basis": "not measured"}
    assert value["throttle"] == {"active": False, "reason": "", "seconds_total": 0.0}
    assert {step["why"] for step in value["next_steps"]} == {
        "bring later changes over",
        "follow the source from now on",
        "bring it back, elsewhere",
    }
    commands_run(person, value["next_steps"])
    compare(tiny, Path(f"{tiny}.back"))
    commands_run(person, person.asks("status", database.url, f"{tiny}.back")["next_steps"])


def test_commands_that_are_offered_fit_other_plans_too(person: Person, store: Path, database: Database, tmp_path: Path):
    """With names that a shell would take apart, a tree's own name, a layout of one's own, and transient files."""
    source = tmp_path / "it's a $HOME & more"
    store.rename(source)
    layout = tmp_path / "my layout.toml"
    layout.write_text(
        '[[transient]]\nmatch = ["**/*.lock"]\n\n[[kind]]\nname = "papers"\nform = "document"\nmatch = ["**/*.json"]\n'
    )
    options = ("--layout", layout, "--store-name", "papers", "--include-transient")
    steps = person.asks("plan", source, database.url, *options)["next_steps"]
    commands_run(person, steps)
    steps = person.asks("status", "--store", database.url)["next_steps"]
    commands_run(person, steps)

    compare(source, Path(f"{source}.back"))
    assert database.all("SELECT name FROM stores") == [("papers",)]
    assert database.one("SELECT count(*) FROM migrations") == 2


def test_the_status_of_a_run_that_goes_on_says_why_it_is_slow(
    person: Person, terminal: Terminal, database: Database, tmp_path: Path
):
    """Its runner, what it does, how far it is, and that the rate holds it back. Afterwards, that nobody works on it."""
    log = tmp_path / "slow" / "events/r/j/events-1.jsonl"
    log.parent.mkdir(parents=True)
    log.write_text('{"n": 1}\n' * 8000)
    for number in range(60):
        (log.parent / f"events-{number + 2}.jsonl").write_text('{"n": 1}\n' * 10)
    process = terminal.popen("start", tmp_path / "slow", database.url, "--once", "--rate-limit", "1000", "--workers", "1")
    try:
        value = wait_for("the throttle", lambda: _throttled(person, database), 60)
        plain = person.types("status", "--store", database.url)
        time.sleep(1.2)  # the line is said within a second
    finally:
        process.terminate()
        stopped = finish(process)

    assert isinstance(value, dict)
    assert value["state"] == "copying"
    assert f"process {process.pid} on " in value["reason"]
    assert value["throttle"]["reason"] == "--rate-limit, 1,000 records/s"
    assert value["throttle"]["seconds_total"] > 0
    assert value["positions"]["authority"]["bytes"] == 8600 * 9
    assert "state     copying: " in plain.out
    assert "throttled" in plain.out
    assert "throttled: --rate-limit, 1,000 records/s" in stopped.err
    assert stopped.status == 6, stopped

    value = person.asks("status", "--store", database.url)
    assert (value["state"], value["reason"]) == ("interrupted", "no runner works on it; nothing is lost")
    (step,) = value["next_steps"]
    assert step["why"] == "continue where it stopped"
    commands_run(person, [step])


def _throttled(person: Person, database: Database) -> dict[str, Any] | None:
    run = person.types("status", "--store", database.url, "--json")
    value = said(run) if run.status == 0 else {}
    return value if value.get("throttle", {}).get("active") and value["positions"]["authority"]["bytes"] else None


def test_every_verb_speaks_json_and_nothing_else_on_stdout(person: Person, store: Path, database: Database, moved: str):
    """Programs read stdout; what people are told meanwhile is on stderr."""
    for words in (
        ("plan", store, f"{database.url}&store=other"),
        ("status", moved),
        ("list",),
        ("quarantine", moved, "list"),
        ("quarantine", moved, "replay"),
        ("quarantine", moved, "ignore"),
        ("layouts",),
        ("layouts", "list"),
        ("doctor",),
        ("explain",),
        ("explain", "CF203"),
        ("schema", database.url),
        ("start", store, f"{database.url}&store=other", "--once", "--dry-run"),
        ("start", store, f"{database.url}&store=other", "--once"),
    ):
        run = person.types(*words, "--json")
        assert run.status == 0, run
        assert said(run)["schema_version"] == 1, words
    lines = person.types("layouts", "test", store, "--json").out.splitlines()
    assert {"path", "type", "fate", "kind", "rule", "captures"} <= set(json.loads(lines[0]))


def test_talk_and_data_do_not_mix(terminal: Terminal, tiny: Path, database: Database):
    """The summary is data; progress, warnings and errors are talk."""
    run = terminal.run("start", tiny, database.url, "--once", "--workers", "1")
    assert run.out.splitlines()[0].split() == ["kind", "entries", "records", "bytes", "raw", "quarantine"]
    assert "migration " not in run.out
    assert "copying; " in run.err
    assert "validating; " in run.err

    for words in (("start", tiny, "memory:"), ("status", "nothing"), ("plan", tiny, "mysql://x")):
        wrong = terminal.run(*words)
        assert wrong.out == ""
        assert wrong.err.startswith("error[CF")


def test_a_migration_is_found_by_whatever_names_it(
    person: Person, tiny: Path, store: Path, database: Database, another: Database
):
    """Its id, its beginning, SOURCE TARGET, nothing at all; in --store, in CROSSFADE_STORE, in this user's own list."""
    one = person.asks("start", tiny, database.url, "--once")["migration"]
    assert person.asks("status")["migration"] == one
    two = person.asks("start", store, another.url, "--once")["migration"]
    stranger = Person(tiny.parent / "stranger")

    assert person.asks("status", one)["migration"] == one
    assert person.asks("status", two[:6])["migration"] == two
    assert person.asks("status", tiny, database.url)["migration"] == one
    assert person.asks("status", "--store", another.url)["migration"] == two
    assert stranger.asks("status", one[:8], "--store", database.url)["migration"] == one
    assert stranger.asks("status", CROSSFADE_STORE=another.url)["migration"] == two
    assert stranger.asks("status", store, another.url)["migration"] == two
    assert [row["migration"] for row in person.asks("list")["migrations"]] == [one, two]
    assert [row["migration"] for row in stranger.asks("list", CROSSFADE_STORE=another.url)["migrations"]] == [two]


def test_a_migration_that_is_not_found_is_helped_with(
    person: Person, tiny: Path, store: Path, database: Database, another: Database
):
    """Those that there are are listed; from another host, the way in is named."""
    stranger = Person(tiny.parent / "stranger")
    one = person.asks("start", tiny, database.url, "--once")["migration"]
    two = person.asks("start", store, another.url, "--once")["migration"]

    sentence, hint = refused(person.types("status", "zzz"), "CF104", 1)
    assert one in sentence
    assert two in sentence
    assert "--store" in hint
    sentence, _ = refused(person.types("status"), "CF104", 1)
    assert f"{one} (file://{tiny} to " in sentence
    assert f"{two} (file://{store} to " in sentence
    sentence, _ = refused(stranger.types("status"), "CF104", 1)
    assert "none was started here" in sentence
    run = stranger.types("list")
    assert (run.status, run.out) == (0, "")
    assert "0 migrations in sight" in run.err
    sentence, _ = refused(person.types("status", store, database.url), "CF104", 1)
    assert "no migration" in sentence


def test_an_id_s_beginning_that_means_several(person: Person, tiny: Path, database: Database, tmp_path: Path):
    """It is not guessed which: in one database, and in the list of this user."""
    person.moves(tiny, database.url)
    registry = person.home / "crossfade" / "migrations.json"
    lines = json.loads(registry.read_text())["migrations"]
    twin = {**lines[0], "migration": lines[0]["migration"][:6] + "ffffff"}
    registry.write_text(json.dumps({"version": 1, "migrations": [*lines, twin]}))
    sentence, hint = refused(person.types("status", twin["migration"][:4]), "CF104", 1)

    assert lines[0]["migration"] in sentence
    assert twin["migration"] in sentence
    assert "more of it" in hint
    database.run(
        "INSERT INTO migrations (migration_id, store_id, source, target, plan, phase)"
        " SELECT name, store_id, source, target, plan, 'planned' FROM migrations, unnest('{zz1,zz2}'::text[]) AS name"
    )
    sentence, _ = refused(person.types("status", "zz", "--store", database.url), "CF104", 1)
    assert "zz1 (" in sentence
    assert "zz2 (" in sentence


def test_a_newer_release_s_list_is_left_as_it_is(person: Person, tiny: Path, database: Database):
    """What it says is not understood here, so that a line more would be many lines less."""
    registry = person.home / "crossfade" / "migrations.json"
    registry.parent.mkdir(parents=True, exist_ok=True)
    registry.write_text('{"version": 2, "migrations": {"abc": ["file:///a"]}}')
    run = person.types("start", tiny, database.url, "--once")

    assert run.status == 0, run
    assert "not added to this user's list of migrations (that list is of a newer release)" in run.err
    assert json.loads(registry.read_text())["version"] == 2
    assert person.types("status", tiny, database.url).status == 0


def test_a_store_that_is_gone_does_not_hide_the_others(person: Person, tiny: Path, database: Database):
    """The list of a user grows old; what can be looked into is."""
    person.moves(tiny, database.url)
    registry = person.home / "crossfade" / "migrations.json"
    gone = {"migration": "0" * 12, "source": "file:///a", "target": "embedded:///gone", "store": "embedded:///gone"}
    known = json.loads(registry.read_text())
    registry.write_text(json.dumps({**known, "migrations": [gone, *known["migrations"]]}))

    for verb in ("status", "list"):
        run = person.types(verb)
        assert run.status == 0, run
        assert "passed over: embedded:///gone does not exist" in run.err
        assert f"file://{tiny}" in run.out
    assert "BAD   embedded:///gone: CF201" in person.types("doctor").out
    refused(person.types("status", "00000"), "CF201", 2)


def test_a_home_that_cannot_be_written_stops_nothing(person: Person, tiny: Path, database: Database):
    """A container's file system is often read-only; the list of migrations is a convenience."""
    person.home.write_text("not a directory")
    run = person.moves(tiny, database.url)

    assert "not added to this user's list of migrations" in run.err
    assert "copied" in person.asks("status", "--store", database.url)["state"]


@pytest.mark.parametrize("place", ["embedded", "database", "directory"])
def test_plan_writes_nothing(person: Person, store: Path, database: Database, moved: str, tmp_path: Path, place: str):
    """Neither here nor there: not a file, not a schema, not a row, not a line in the user's list."""
    words = {
        "embedded": (store, f"embedded://{tmp_path}/pg"),
        "database": (store, f"{database.url}_planned"),
        "directory": (database.url, tmp_path / "restored"),
    }[place]
    with database.connect() as connection:
        before = snapshots.of_tree(tmp_path), snapshots.of_database(connection)
        for verb in (("plan",), ("start", "--dry-run")):
            run = person.types(verb[0], *words, *verb[1:])
            assert run.status == 0, run
        assert before == (snapshots.of_tree(tmp_path), snapshots.of_database(connection))
    assert "nothing was written" in run.out


def test_plan_names_what_is_left_out_and_what_is_hard(person: Person, store: Path, database: Database):
    """With its rule and size, and with paths: in JSON all of them, for people the first."""
    odd = os.fsdecode(b"sessions/not-\xff-utf8.json")
    (store / odd).write_bytes(b'{"id": "\\u0000"}')
    (store / "sessions" / "broken.json").write_text('{"id": ')
    os.link(store / "sessions" / "broken.json", store / "sessions" / "twin.json")
    value = person.asks("plan", store, database.url)
    plain = person.types("plan", store, database.url).out

    left_out = {item["path"]: item for item in value["excluded"]}
    lock = left_out["resume_locks/session-abc123.lock"]
    assert (lock["rule"], lock["fate"], lock["bytes"]) == ("resume_locks/*.lock", "transient", 81)
    (tree,) = [item for path, item in left_out.items() if path.startswith("worktrees/")]
    assert (tree["rule"], tree["fate"]) == ("worktrees/*/*/**", "exclude")
    assert value["excluded_count"] == 3
    hazards = {item["reason"]: item for item in value["hazards"]}
    assert hazards["raw: nul"]["count"] >= 1
    assert hazards["name is not UTF-8"] == {
        "reason": "name is not UTF-8",
        "count": 1,
        "paths": ["sessions/not-\\xff-utf8.json"],
    }
    assert "sessions/broken.json" in hazards["raw: torn"]["paths"]
    assert hazards["hard link, kept as a file of its own"]["count"] == 2
    for text in (
        "not moved (3 paths):",
        "by worktrees/*/*/**",
        "raw: nul",
        "name is not UTF-8",
        "estimate: ",
        "next: crossfade",
    ):
        assert text in plain
    assert value["estimate"]["seconds"] > 0
    assert value["estimate"]["database_bytes"] > value["bytes"]
    assert value["schema_objects"] > 20
    assert value["adds_to_source"] == []


def test_plan_says_what_start_then_does(person: Person, store: Path, database: Database):
    """The counts of the plan are the counts of the report, kind by kind."""
    planned = person.asks("plan", store, database.url)
    done = person.asks("start", store, database.url, "--once")

    for name in ("kind", "entries", "bytes"):
        assert [kind[name] for kind in planned["kinds"]] == [kind[name] for kind in done["kinds"]]


def test_layouts_can_be_listed_read_and_tried(person: Person, store: Path, tmp_path: Path):
    """What one begins with who writes a layout."""
    names = [layout["name"] for layout in person.asks("layouts")["layouts"]]
    assert names == ["generic", "prodigy"]
    for name in names:
        shown = person.types("layouts", "show", name)
        (tmp_path / f"{name}.toml").write_text(shown.out)
        run = person.types("layouts", "test", store, "--layout", tmp_path / f"{name}.toml")
        assert run.status == 0, run
        assert run.out == person.types("layouts", "test", store, "--layout", name).out
    assert person.types("layouts").out == person.types("layouts", "list").out


@pytest.mark.parametrize("code", every_code())
def test_every_code_is_explained(person: Person, code: str):
    """In words, with its exit status and whether trying again helps."""
    shown = person.types("explain", code.lower()).out
    (value,) = person.asks("explain", code)["codes"]

    assert shown.startswith(f"{code}  {value['name']}, exit {value['exit']}\n")
    assert len(value["meaning"]) > 60
    assert "again" in shown.split("\n\n")[1]
    assert code in person.types("explain").out


def test_doctor_says_what_is_there(person: Person, tiny: Path, database: Database):
    """Python, libpq, majors, the databases in sight and migrations that stand still."""
    person.moves(tiny, database.url)
    database.run("UPDATE migrations SET phase = 'copying'")
    value = person.asks("doctor")
    plain = person.types("doctor").out

    assert value["embedded_majors"] == [16, 18]
    assert value["known_migrations"] == 1
    assert [place["error"] for place in value["stores"]] == [""]
    (left,) = value["stores"][0]["unattended"]
    assert left["state"] == "interrupted"
    assert "ok    Python 3." in plain
    assert (
        f"note  {left['migration']} is interrupted: no runner works on it; nothing is lost\ntry:  crossfade resume" in plain
    )


@pytest.mark.parametrize("phase", ["braked", "different", "restoring", "interrupted", "copied", "rolled-back"])
def test_the_doctor_proposes_what_a_status_proposes(phase: str, person: Person, tiny: Path, database: Database):
    """Of a migration that nobody runs: to resume one that was braked does nothing until the volume is back. One at rest wants nobody."""
    person.moves(tiny, database.url)
    database.run(f"UPDATE migrations SET phase = '{phase}'")
    status = person.asks("status")
    left = person.asks("doctor")["stores"][0]["unattended"]
    plain = person.types("doctor").out

    wanted = {name: status[name] for name in ("migration", "state", "reason", "next_steps")}
    assert left == ([] if phase in ("copied", "rolled-back") else [wanted])
    assert [line for line in plain.splitlines() if line.startswith("try: ")] == [
        f"try:  {step['command']}   # {step['why']}" for one in left for step in one["next_steps"]
    ]


def test_the_ddl_that_a_dba_runs_is_all_that_a_weak_role_needs(
    person: Person, store: Path, cluster: Cluster, tmp_path: Path
):
    """Least privilege: the role makes no schema, and may do nothing outside of its own."""
    with cluster.connect() as dba:
        dba.execute("CREATE ROLE weak LOGIN PASSWORD 'weak'")
        dba.execute("REVOKE CREATE, TEMPORARY ON DATABASE postgres FROM PUBLIC")
        script = person.types("schema", "--sql", "--schema", "given", "--role", "weak")
        assert script.status == 0, script
        dba.execute(script.out)
        before = snapshots.of_database(dba)
        url = cluster.url("given").replace("crossfade@", "weak@")
        person.environment["PGPASSWORD"] = "weak"
        person.moves(store, url)
        person.moves(url, tmp_path / "restored")
        assert person.types("status", store, url).status == 0
        with next(store.glob("events/**/*.jsonl")).open("a") as log:
            log.write('{"late": 1}\n')
        person.moves(store, url)
        assert set(before) == set(snapshots.of_database(dba))
        (count,) = (
            dba.execute("SELECT count(*) FROM pg_indexes WHERE schemaname = 'given' AND tablename = 'events'").fetchone()
            or ()
        )
        assert count > 3
        refused(person.types("start", store, cluster.url("mine").replace("crossfade@", "weak@"), "--once"), "CF204", 2)


def test_the_version_of_a_schema(person: Person, database: Database, moved: str):
    """And the trees that live in it."""
    value = person.asks("schema", database.url)

    assert value["database_schema_version"] == 1
    assert [tree["name"] for tree in value["stores"]] == ["tiny"]
    assert "version 1 of 1" in person.types("schema", database.url).out


@pytest.mark.parametrize(("term", "plain"), [("dumb", True), ("xterm-256color", False)])
def test_a_terminal_gets_bars_and_a_dumb_one_lines(
    terminal: Terminal, tiny: Path, database: Database, term: str, plain: bool
):
    """Escape codes are for those who understand them."""
    ours, theirs = pty.openpty()
    process = terminal.popen(
        "start", tiny, database.url, "--once", "--workers", "1", environment={"TERM": term}, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    shown = b"".join(iter(lambda: _read(ours), b"")).decode()
    os.close(ours)

    assert process.wait(60) == 0, shown
    assert ("\x1b[" not in shown) == plain
    assert "proven: " in shown


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # the other end is closed
        return b""


def test_a_pipe_gets_no_escape_codes(terminal: Terminal, tiny: Path, database: Database):
    """Logs are read by people with pagers."""
    run = terminal.run("start", tiny, database.url, "--once", "--workers", "1", FORCE_COLOR="", TERM="xterm-256color")

    assert "\x1b" not in run.out + run.err


def test_the_quarantine_lists_shows_places_and_ignores(person: Person, tiny: Path, database: Database, moved: str):
    """By number, or all; contents only when asked for, and then verbatim."""
    database.run("ALTER TABLE events ADD CONSTRAINT few CHECK ((body->>'id')::int < 3)")
    with next(tiny.glob("events/**/*.jsonl")).open("a") as log:
        log.write('{"id": 3}\n{"id": 5}\r\n{"id": 7}')
    assert person.types("start", tiny, database.url, "--once").status == 4
    listed = person.types("quarantine", "list")
    items = said(person.types("quarantine", moved, "list", "--json"))["items"]

    assert listed.status == 4
    assert listed.out.splitlines()[0].split() == ["item", "kind", "path", "offset", "size", "code"]
    assert [item["state"] for item in items] == ["held"] * 3
    shown = [person.types("quarantine", "show", item["item"]).out for item in items]
    assert shown == ['{"id": 3}\n', '{"id": 5}\r\n', '{"id": 7}']
    refused(person.types("quarantine", "show", "999999"), "CF103", 1)
    assert person.types("quarantine", "ignore", items[0]["item"]).status == 0
    assert len(said(person.types("quarantine", "list", "--json"))["items"]) == 2
    database.run("ALTER TABLE events DROP CONSTRAINT few")
    replayed = person.asks("quarantine", "replay", items[1]["item"])
    assert re.fullmatch(r"[0-9a-f]{64}", replayed.pop("head"))
    assert replayed == {"schema_version": 1, "migration": moved, "placed": 1, "held": 0}
    assert person.types("quarantine", "replay").status == 0
    run = person.types("quarantine", "list")
    assert (run.status, run.out) == (0, "")
    assert "nothing is in quarantine" in run.err


def figures(pattern: str, text: str) -> list[int]:
    """The numbers that the only match of *pattern* names."""
    (found,) = re.finditer(pattern, text)
    return [int(number.replace(",", "")) for number in found.groups()]


def test_the_demo_is_the_whole_journey(terminal: Terminal, short_dir: Path):
    """It prints every command that it runs, and ends with the tree that it began with. Its program wrote all the while, no write
    was refused, and each is there, once.
    """
    run = terminal.run("demo", short_dir / "demo", "--events", "300")

    assert run.status == 0, run
    assert run.out.count("$ crossfade ") == 12
    assert "already there, proven at" in run.out
    assert figures(r"(\S+) events were written while it was copied; (\S+) by now", run.out)[0] > 0
    (done,) = figures(r"the program is done: (\S+) events, none of them refused", run.out)
    assert done > 100
    assert figures(r"(\S+) rows, (\S+) different; written were (\S+)", run.out) == [done, done, done]
    compare(short_dir / "demo" / "prodigy", short_dir / "demo" / "restored")
    compare(short_dir / "demo" / "live", short_dir / "demo" / "live-restored")


def test_a_closed_pipe_ends_quietly(terminal: Terminal, tiny: Path):
    """``crossfade layouts test DIR | head -1`` is no reason to complain."""
    for number in range(3000):
        (tiny / f"file-{number:05}.json").touch()
    command = shlex.join([*CROSSFADE, "layouts", "test", str(tiny)]) + " | head -1; echo ${PIPESTATUS[0]}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)

    assert done.stdout.split("\n")[-2] == "0", done
    assert "Traceback" not in done.stderr
    assert "rror" not in done.stderr
