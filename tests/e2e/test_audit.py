"""The audit trail: every step is a line, and no line can be edited, removed, reordered or cut off without being found."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from crossfade.store.backends.postgres import journal
from crossfade.store.backends.postgres.journal import Line
from crossfade.store.backends.postgres.ledger import Ledger
from support.cluster import Cluster
from support.person import Person, refused, said
from support.running import Terminal, finish, wait_for
from support.servers import Database
from support.stores import MIGRATION, claimed

HEAD = re.compile(r"^journal head ([0-9a-f]{64})$", re.MULTILINE)


@pytest.fixture
def moved(person: Person, tiny: Path, database: Database) -> str:
    """A migration that was begun, done, and looked at again; its id."""
    person.moves(tiny, database.url)
    assert person.types("validate", tiny, database.url).status == 0
    return str(said(person.types("start", tiny, database.url, "--once", "--json"))["migration"])


def _events(person: Person, *words: object) -> list[str]:
    return [line["event"] for line in person.asks("audit", *words)["lines"]]


@contextmanager
def _tampering(database: Database) -> Iterator[psycopg.Connection]:
    """Somebody with the rights of the owner, who means it."""
    with database.connect() as connection:
        connection.execute("ALTER TABLE journal DISABLE TRIGGER append_only")
        yield connection
        connection.execute("ALTER TABLE journal ENABLE TRIGGER append_only")


# What is written


def test_every_step_is_a_line_with_time_actor_host_and_plan(person: Person, tiny: Path, database: Database, moved: str):
    """The same lines for programs and for people, found by the id, its beginning, and both ends."""
    value = person.asks("audit", moved[:6])
    text = person.types("audit", tiny, database.url)

    lines = value["lines"]
    assert [line["event"] for line in lines] == [
        *("claimed", "copying", "proved"),
        *("validated", "proved"),  # what was found equal as a whole is its proof from then on
        *("claimed", "already there"),
    ]
    assert [line["line"] for line in lines] == [1, 2, 3, 4, 5, 6, 7]
    assert {line["plan"] for line in lines} == {moved}
    assert len({line["id"] for line in lines}) == 7
    assert all(line["actor"] and line["host"] and line["at"] for line in lines)
    assert lines[0]["detail"]["plan"]["source"] == f"file://{tiny}"
    assert lines[0]["reason"] == "to start"
    assert lines[3]["reason"] == "equal"
    assert lines[3]["detail"]["compared"] == 2
    assert value["head"] == lines[-1]["hash"]
    assert [row.split()[0] for row in text.out.splitlines()] == ["1", "2", "3", "4", "5", "6", "7"]
    assert "already there" in text.out


def test_the_last_lines_and_those_since_a_time(person: Person, moved: str):
    """A journal of years is long."""
    lines = person.asks("audit", moved)["lines"]
    assert [line["line"] for line in person.asks("audit", moved, "--limit", 2)["lines"]] == [6, 7]
    since = person.asks("audit", moved, "--since", lines[3]["at"].replace(" ", "T"))["lines"]
    assert [line["line"] for line in since] == [4, 5, 6, 7]
    assert person.asks("audit", moved, "--since", lines[3]["at"], "--limit", 1)["lines"] == lines[-1:]
    refused(person.types("audit", moved, "--since", "yesterday"), "CF103", 1)
    refused(person.types("audit", moved, "--head", "0" * 64), "CF103", 1)
    refused(person.types("audit", moved, "--verify", "--head", "abc"), "CF103", 1)


def test_every_verb_ends_with_the_head(person: Person, tiny: Path, database: Database):
    """As talk and in the JSON; each is found in the chain from then on."""
    verbs: list[tuple[object, ...]] = [
        ("start", tiny, database.url, "--once"),
        ("validate", tiny, database.url),
        ("status", tiny, database.url),
        ("quarantine", tiny, database.url, "list"),
        ("quarantine", tiny, database.url, "replay"),
        ("quarantine", tiny, database.url, "ignore"),
        ("audit", tiny, database.url),
        ("audit", tiny, database.url, "--verify"),
        ("repair", tiny, database.url),
        ("repair", tiny, database.url, "--dry-run"),
        ("rollback", tiny, database.url, "--dry-run"),
        ("start", tiny, database.url, "--incremental"),
        ("status", tiny, database.url, "--wait-for", "copied"),
        ("status", tiny, database.url, "--watch"),
        ("throttle", tiny, database.url, "--cpu-max", "50"),
        ("drift", tiny, database.url, "list"),
        ("drift", tiny, database.url, "ignore"),
        ("restore", database.url, tiny, "--if-empty"),
    ]
    for verb in verbs:
        plain, programs = person.types(*verb), person.types(*verb, "--json")
        heads = [*HEAD.findall(plain.err), *HEAD.findall(programs.err)]
        assert len(heads) == 2, plain
        assert said(programs)["head"] == heads[1], verb
        for head in heads:
            assert person.types("audit", tiny, database.url, "--verify", "--head", head).status == 0


def test_the_bytes_of_an_item_are_followed_by_the_head(person: Person, tiny: Path, database: Database, moved: str):
    """On stderr, so that they come out as they are."""
    database.run("ALTER TABLE events ADD CONSTRAINT picky CHECK (id <> '9') NOT VALID")
    log = next(tiny.glob("events/**/*.jsonl"))
    log.write_text(log.read_text() + '{"id": "9"}\n')
    person.moves(tiny, database.url, status=4)
    (item,) = said(person.types("quarantine", moved, "list", "--json"))["items"]
    shown = person.types("quarantine", moved, "show", item["name"])

    assert shown.out == '{"id": "9"}\n'
    assert len(HEAD.findall(shown.err)) == 1


@pytest.mark.parametrize(
    ("verb", "meanwhile"),
    [
        (("restore", "{database}", "{source}"), "UPDATE migrations SET reversed = true"),
        (("start", "{source}", "{database}", "--incremental"), "UPDATE migrations SET proved_at = NULL, report = NULL"),
    ],
    ids=["restore", "incremental"],
)
def test_what_is_refused_before_a_lease_is_taken_is_a_line(
    person: Person, tiny: Path, database: Database, moved: str, verb: tuple[str, ...], meanwhile: str
):
    """A restore of what was cut over; a copy brought up to date that was never finished."""
    database.run(meanwhile)
    run = person.types(*(word.format(database=database.url, source=tiny) for word in verb))

    assert "error[CF708]" in run.err, run
    line = person.asks("audit", moved)["lines"][-1]
    assert (line["event"], line["detail"]) == ("refused", {"code": "CF708"})
    assert HEAD.findall(run.err) == [line["hash"]]


def test_a_directory_that_is_left_alone_is_a_line(person: Person, tiny: Path, database: Database, moved: str):
    """That of a container which starts again: it was decided, though nothing was done."""
    run = person.types("restore", database.url, tiny, "--if-empty")

    line = person.asks("audit", moved)["lines"][-1]
    assert line["event"] == "left alone"
    assert "it is left alone" in line["reason"]
    assert HEAD.findall(run.err) == [line["hash"]]


@pytest.mark.parametrize("verb", [("cutover",), ("finish", "--dry-run"), ("drift", "take"), ("pause",)])
def test_a_verb_that_is_refused_ends_with_the_head_too(person: Person, moved: str, verb: tuple[str, ...]):
    """In a phase that does not fit, or with nothing to do."""
    person.types("rollback", moved)
    name, *options = verb
    run = person.types(name, moved, *options)

    (head,) = HEAD.findall(run.err)
    assert person.types("audit", moved, "--verify", "--head", head).status == 0


def test_a_repair_says_what_it_changed(person: Person, tiny: Path, database: Database, moved: str):
    """Before it changes it, and after."""
    database.run("UPDATE sessions SET status = 'Other'")
    assert person.types("validate", moved, "--repair").status == 0

    lines = {line["event"]: line for line in person.asks("audit", moved)["lines"]}
    assert lines["repairing"]["detail"] == {"paths": 1, "verbs": {"put": 1}, "first": ["sessions/one.json"]}
    assert lines["repaired"]["detail"] == {"paths": 1, "left": 0, "orphans": 0}
    events = _events(person, moved)
    assert events[-6:] == ["validated", "claimed", "repairing", "repaired", "validated", "proved"]
    assert lines["claimed"]["reason"] == "to repair"


def test_quarantine_is_counted_and_its_verbs_are_lines(person: Person, tiny: Path, database: Database, moved: str):
    """A page that could not place something; what people then decided; no path and no content."""
    database.run("ALTER TABLE events ADD CONSTRAINT picky CHECK (id <> '9') NOT VALID")
    log = next(tiny.glob("events/**/*.jsonl"))
    log.write_text(log.read_text() + '{"id": "9", "note": "canary"}\n')
    assert person.types("start", tiny, database.url, "--once").status == 4
    assert person.types("quarantine", moved, "replay").status == 4
    assert person.types("quarantine", moved, "ignore").status == 0

    lines = person.asks("audit", moved)["lines"]
    found = {line["event"]: line["detail"] for line in lines}
    assert found["quarantined"] == {"items": {"events": 1}, "pages": 1}
    assert found["quarantine replayed"] == {"count": 0, "items": []}
    assert found["quarantine ignored"]["count"] == 1
    assert "canary" not in str(lines)


def test_a_refusal_is_a_line(person: Person, terminal: Terminal, tiny: Path, database: Database, moved: str, tmp_path: Path):
    """Another plan, another runner, a stranger's directory: what was not done is told as well, and by which code."""
    refused_plan = person.types("start", tiny, database.url, "--once", "--include-transient")
    assert refused_plan.status == 7
    ledger = Ledger(database.server, database.location.schema)
    row = next(row for row in ledger.migrations() if row.migration == moved)
    target = tmp_path / "restored"
    (target / "sub").mkdir(parents=True)
    (target / "sub" / "strange").write_text("mine")
    stranger = person.types("start", database.url, target, "--once")
    assert stranger.status == 7
    _held_by_another_host(database, moved)
    held = person.types("start", tiny, database.url, "--once")
    assert held.status == 5

    assert [(line["event"], line["detail"]) for line in person.asks("audit", moved)["lines"][-2:]] == [
        ("refused", {"code": "CF701"}),
        ("refused", {"code": "CF501"}),
    ]
    (line,) = [line for line in person.asks("audit", database.url, target)["lines"] if line["event"] == "refused"]
    assert line["detail"] == {"code": "CF703"}
    assert "sub" in line["reason"]
    for run in (refused_plan, held, stranger):
        assert HEAD.search(run.err), run
    assert row.phase == "copied"


def _held_by_another_host(database: Database, migration: str) -> None:
    database.run(
        "UPDATE leases SET host = 'elsewhere', boot = 'other', expires_at = clock_timestamp() + interval '1 minute'"
        f" WHERE migration_id = '{migration}'"
    )


def test_a_failure_and_an_interruption_are_lines(person: Person, terminal: Terminal, long_store: Path, database: Database):
    """A run that was stopped by its error budget, and one by Ctrl-C, with what held it back until then."""
    process = terminal.popen("start", long_store, database.url, "--once", "--workers", 1, "--rate-limit", "2000")
    wait_for("it is held back, and says so", lambda: _is_said(database, "throttled"))
    process.send_signal(signal.SIGINT)
    assert finish(process).status == 6
    (migration,) = database.one("SELECT array_agg(migration_id) FROM migrations")  # type: ignore[misc]
    assert [line["event"] for line in person.asks("audit", migration, "--store", database.url)["lines"]] == [
        "claimed",
        "copying",
        "throttled",
        "interrupted",
        "throttle ended",
    ]
    database.run("ALTER TABLE events ADD CONSTRAINT picky CHECK (job_id <> 'long' OR pos < 9300000) NOT VALID")
    run = terminal.run("start", long_store, database.url, "--once", "--workers", 1, "--fail-fast")
    assert run.status == 2, run

    lines = person.asks("audit", migration, "--store", database.url)["lines"]
    assert (lines[-1]["event"], lines[-1]["detail"]) == ("failed", {"code": "CF208"})
    assert {"quarantined"} <= {line["event"] for line in lines}
    throttled = next(line for line in lines if line["event"] == "throttled")
    assert throttled["reason"] == "--rate-limit, 2,000 records/s"


def _is_said(database: Database, event: str) -> bool:
    try:
        return bool(database.one("SELECT count(*) FROM journal WHERE event = %s", event))
    except psycopg.errors.UndefinedTable:
        return False


# What cannot be done to it


@pytest.mark.parametrize(
    "statement",
    ["UPDATE journal SET actor = 'nobody'", "DELETE FROM journal", "TRUNCATE journal", "DELETE FROM journal WHERE seq = 1"],
)
def test_a_mistake_cannot_change_it(database: Database, moved: str, statement: str):
    """The database refuses whoever did not switch that off on purpose."""
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"):
        database.run(statement)


def test_a_line_that_is_sent_twice_stands_there_once(database: Database):
    """After a commit that nobody heard; also where others wrote in between."""
    claimed(database)
    schema, line = database.location.schema, Line("said once", {"n": 1}, "because")
    with database.server.connect("test") as connection:
        first = journal.append(connection, schema, MIGRATION, line)
        assert journal.append(connection, schema, MIGRATION, line) == first
        second = journal.append(connection, schema, MIGRATION, Line("another"))
        assert journal.append(connection, schema, MIGRATION, line) == second
        connection.commit()
    assert [event for (event,) in database.all("SELECT event FROM journal ORDER BY seq")] == [
        "claimed",
        "said once",
        "another",
    ]


def test_texts_that_no_server_takes_are_written_down_all_the_same(database: Database):
    """A name from a command line may hold anything."""
    claimed(database)
    with database.server.connect("test") as connection:
        line = Line("odd", {"path": "a\0b\udcff"}, "it's a\0b\udcff", actor="ad\udce4")
        journal.append(connection, database.location.schema, MIGRATION, line)
        connection.commit()
    assert database.all("SELECT actor, reason FROM journal WHERE event = 'odd'") == [("ad\\udce4", "it's a\\x00b\\udcff")]


EDITS = {
    "actor": "'nobody'",
    "host": "'nowhere'",
    "event": "'finished'",
    "reason": "'no reason'",
    "detail": "'{}'",
    "at": "at - interval '1 microsecond'",
    "said_at": "said_at - interval '1 microsecond'",
    "line": "gen_random_uuid()",
    "previous": "sha256('x')",
    "hash": "sha256('x')",
}


@pytest.mark.parametrize("column", EDITS)
def test_an_edited_line_is_found(person: Person, database: Database, moved: str, column: str):
    """Whichever part of it, by plain SQL, to the microsecond."""
    with _tampering(database) as connection:
        connection.execute(f"UPDATE journal SET {column} = {EDITS[column]} WHERE seq = 3")
    _is_broken(person, moved, 3, "edited")


def test_a_removed_line_is_found(person: Person, database: Database, moved: str):
    """Also where those behind it were moved up."""
    with _tampering(database) as connection:
        connection.execute("DELETE FROM journal WHERE seq = 2")
        _is_broken(person, moved, 2, "removed")
        connection.execute("UPDATE journal SET seq = -seq WHERE seq > 2")
        connection.execute("UPDATE journal SET seq = -seq - 1 WHERE seq < 0")
    _is_broken(person, moved, 2, "removed")


def test_lines_in_another_order_are_found(person: Person, database: Database, moved: str):
    """Two that changed places."""
    with _tampering(database) as connection:
        connection.execute("UPDATE journal SET seq = -seq WHERE seq IN (3, 4)")
        connection.execute("UPDATE journal SET seq = 7 + seq WHERE seq < 0")
    _is_broken(person, moved, 3, "reordered")


def test_a_journal_that_was_cut_off_is_found_by_a_head(person: Person, database: Database, moved: str):
    """Any head that a verb printed behind the cut; a head from before it is still there."""
    heads = [line["hash"] for line in person.asks("audit", moved)["lines"]]
    with _tampering(database) as connection:
        connection.execute("DELETE FROM journal WHERE seq > 4")

    assert person.types("audit", moved, "--verify").status == 0
    assert person.types("audit", moved, "--verify", "--head", heads[3]).status == 0
    _is_broken(person, moved, 5, "cut off", "--head", heads[4])
    _is_broken(person, moved, 5, "cut off", "--head", heads[5][:16].upper())
    with _tampering(database) as connection:
        connection.execute("DELETE FROM journal")
    _is_broken(person, moved, 1, "cut off")


def _is_broken(person: Person, migration: str, line: int, what: str, *words: object) -> None:
    plain = person.types("audit", migration, "--verify", *words)
    sentence, hint = refused(plain, "CF302", 3)
    assert str(line if what != "cut off" or not words else line - 1) in sentence
    assert migration in hint
    programs = person.types("audit", migration, "--verify", "--json", *words)
    value = said(programs)
    assert programs.status == 3
    assert value["holds"] is False
    assert (value["broken"]["line"], value["broken"]["what"]) == (line, what)


def test_a_chain_that_holds_says_so(person: Person, moved: str):
    """Exit 0, how many lines, and its head."""
    value = person.asks("audit", moved, "--verify")
    assert (value["holds"], value["lines"], value["broken"]) == (True, 7, None)
    run = person.types("audit", moved, "--verify")
    assert run.status == 0
    assert "7 lines" in run.out
    assert HEAD.findall(run.err) == [value["head"]]


# While the database is away


def test_what_happens_while_the_database_is_away_is_told_when_it_is_back(
    terminal: Terminal, person: Person, long_store: Path, tmp_path: Path
):
    """The server is pulled away in the middle of a copy: the retries wait on disk, and come with the time they were said at."""
    with Cluster() as cluster:
        person.environment["PGPASSWORD"] = terminal.environment["PGPASSWORD"] = cluster.password
        url, kept = cluster.url("away"), terminal.home / "crossfade" / "journal"
        process = terminal.popen("start", long_store, url, "--once", "--workers", 1, "--rate-limit", "4000")
        wait_for("it copies", lambda: _rows(cluster))
        cluster.stop(immediately=True)
        wait_for("a retry that is kept for more than a second", lambda: _kept_seconds(kept) > 1, 60)
        cluster.start()
        done = finish(process)
        assert done.status == 0, done
        assert list(kept.iterdir()) == []

        lines = person.asks("audit", long_store, url)["lines"]
        retried = [line for line in lines if line["event"] == "retried"]
        late = [line for line in retried if _late(line) > 1]
        assert late, lines
        assert sum(line["detail"]["count"] for line in retried) >= 2
        assert all("OperationalError" in line["reason"] or "TargetUnreachable" in line["reason"] for line in late)
        assert "(said 20" in person.types("audit", long_store, url).out
        assert person.types("audit", long_store, url, "--verify").status == 0


def test_what_a_runner_kept_before_it_died_is_told_by_the_next(
    terminal: Terminal, person: Person, long_store: Path, tmp_path: Path
):
    """It gives up, or is killed, before the server is back: whoever works on the migration next appends its lines."""
    with Cluster() as cluster:
        person.environment["PGPASSWORD"] = terminal.environment["PGPASSWORD"] = cluster.password
        url, kept = cluster.url("behind"), terminal.home / "crossfade" / "journal"
        process = terminal.popen(
            "start", long_store, url, "--once", "--workers", 1, "--rate-limit", "4000",
            environment={"CROSSFADE_PATIENCE_SECONDS": "4"},
        )  # fmt: skip
        wait_for("it copies", lambda: _rows(cluster))
        cluster.stop(immediately=True)
        gave_up = finish(process)
        assert gave_up.status == 2, gave_up
        (file,) = kept.iterdir()
        spooled = file.read_text()
        cluster.start()
        events = [line["event"] for line in person.asks("audit", long_store, url)["lines"]]

        assert '"retried"' in spooled
        assert cluster.password not in spooled
        assert events.count("failed") == 1, events
        assert events[-1] == "failed"
        assert "retried" in events
        assert list(kept.iterdir()) == []
        assert person.moves(long_store, url)
        assert person.types("audit", long_store, url, "--verify").status == 0


def _rows(cluster: Cluster) -> int:
    with cluster.connect() as connection:
        for schema in ("away", "behind"):
            found = connection.execute("SELECT to_regclass(%s)", [f"{schema}.entries"]).fetchone()
            if found and found[0]:
                (count,) = connection.execute(f"SELECT count(*) FROM {schema}.entries WHERE type = 'file'").fetchone() or (
                    0,
                )
                return int(count)
    return 0


def _kept_seconds(kept: Path) -> float:
    """How long ago the first retry was said that waits on disk."""
    lines = [json.loads(line) for path in kept.glob("*") for line in path.read_text().splitlines()]
    said = [datetime.fromisoformat(line["said_at"]) for line in lines if line["event"] == "retried"]
    return (datetime.now(UTC) - min(said)).total_seconds() if said else 0.0


def _late(line: dict[str, Any]) -> float:
    return (datetime.fromisoformat(line["at"]) - datetime.fromisoformat(line["said_at"])).total_seconds()
