"""The table of exit codes, row by row: scripts rely on it. Row 5 needs a second runner: tests/faults."""

from __future__ import annotations

import os
import shutil
import threading
import time
from pathlib import Path

import pytest

from support.cluster import Cluster
from support.person import Person, refused
from support.powerless import obey_permissions
from support.running import Terminal, compare, finish
from support.servers import Database

BAD_LAYOUT = """describes = "x"

[[kind]]
name = "notes"
form = "stream"
match = ["*.json"]
"""


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("start", "{tiny}", "{url}", "--once", "--unknown"), "no such option: --unknown"),
        (("begin",), "no such command 'begin'"),
        (("start", "{tiny}"), "missing argument 'TARGET'"),
        (("start", "{tiny}", "{url}", "{url}", "--once"), "unexpected extra argument"),
        (("start", "{tiny}", "mysql://host/db", "--once"), "no store of the scheme 'mysql'"),
        (("start", "{tiny}", "{url}&schema=Upper", "--once"), "schema 'Upper' is not a plain name"),
        (("start", "{tiny}", "embedded://relative", "--once"), "three slashes"),
        (("start", "{tiny}", "{url}", "--once", "--batch-bytes", "much"), "--batch-bytes 'much' is no size"),
        (("start", "{tiny}", "{url}", "--once", "--batch-records", "0"), "--batch-records takes a number above zero"),
        (("start", "{tiny}", "{url}", "--once", "--mark-interval", "-1"), "--mark-interval takes a number above zero"),
        (("start", "{tiny}", "{url}", "--once", "--rate-limit", "fast"), "--rate-limit 'fast' is no rate"),
        (("start", "{tiny}", "{url}", "--once", "--error-budget", "some"), "--error-budget 'some' is no budget"),
        (("start", "{tiny}", "{url}", "--once", "--workers", "0"), "--workers takes a number above zero"),
        (("start", "{tiny}", "{url}", "--once", "--workers", "two"), "invalid value for '--workers'"),
        (("start", "{tiny}", "{url}", "--once", "--only", "ghosts"), "has no kind 'ghosts'; it has checkpoints"),
        (("start", "{tiny}", "{url}", "--once", "--store-name", "Not Plain"), "store name 'Not Plain' is not a plain name"),
        (("start", "{tiny}", "{url}", "--once", "--layout", "nowhere.toml"), "'nowhere.toml' is no built-in layout"),
        (("start", "{tiny}", "{url}", "--once", "--layout", "{layout}"), "bad.toml:5: kind 'notes' has form 'stream'"),
        (("explain", "CF999"), "there is no code 'CF999'"),
        (("status", "nothing"), "no migration 'nothing'"),
        (("status", "a", "b", "c"), "named by its ID, or by SOURCE TARGET"),
        (("status", "--store", "{tiny}"), "keeps no control state"),
        (("quarantine", "show"), "show wants one item number"),
        (("quarantine", "list", "one"), "'one' is no item number"),
        (("quarantine", "eat"), "quarantine wants list, show, replay or ignore"),
        (("schema",), "schema wants a database, or --sql"),
        (("demo", "{tiny}"), "is not empty"),
    ],
)
def test_1_the_command_line_or_the_configuration_is_wrong(
    person: Person, tiny: Path, database: Database, tmp_path: Path, words: tuple[str, ...], says: str
):
    """Each says what it got, what it takes, and what to type; nothing is made in the database."""
    layout = tmp_path / "bad.toml"
    layout.write_text(BAD_LAYOUT)
    run = person.types(*(word.format(tiny=tiny, url=database.url, layout=layout) for word in words))

    assert run.status == 1, run
    assert says in run.err.splitlines()[0], run
    assert "\n  try: " in run.err, run
    assert "Traceback" not in run.err
    assert not run.out
    assert database.one("SELECT to_regclass('stores')") is None


def test_1_an_environment_that_makes_no_sense(person: Person, tiny: Path, database: Database):
    """A number that is none is named, not thrown."""
    sentence, _ = refused(person.types("start", tiny, database.url, "--once", CROSSFADE_PATIENCE_SECONDS="long"), "CF103", 1)

    assert "CROSSFADE_PATIENCE_SECONDS is 'long'" in sentence


def test_1_without_a_verb_there_is_help(person: Person):
    """Nobody who types the bare name wanted an error; but nothing was done, either."""
    run = person.types()

    assert run.status == 1
    assert "Usage: crossfade" in run.err


def test_0_help_is_no_error(person: Person):
    """Of everything, at every level."""
    for words in ([], ["start"], ["layouts"], ["layouts", "test"], ["quarantine"]):
        run = person.types(*words, "--help")
        assert (run.status, run.err) == (0, ""), run
        assert "Usage: crossfade" in run.out


def test_2_something_in_the_source_cannot_be_read(terminal: Terminal, store: Path, cluster: Cluster):
    """Leaving it out in silence would lose it; with --skip-unreadable it is left out aloud, and the exit says 4."""
    secret = next((store / "sessions").iterdir())
    secret.chmod(0)
    terminal.environment["PGPASSWORD"] = cluster.password
    words = ("start", store, cluster.url("unreadable"), "--once", "--workers", "1")

    stopped = finish(terminal.popen(*words, preexec_fn=obey_permissions))
    _, hint = refused(stopped, "CF202", 2)
    assert f"sessions/{secret.name}: Permission denied" in stopped.err
    assert "--skip-unreadable" in hint

    skipped = finish(terminal.popen(*words, "--skip-unreadable", preexec_fn=obey_permissions))
    assert skipped.status == 4, skipped
    assert f"left out, could not be read: sessions/{secret.name}: Permission denied" in skipped.err

    again = finish(terminal.popen(*words, "--skip-unreadable", preexec_fn=obey_permissions))
    assert again.status == 4, again

    secret.chmod(0o644)
    mended = finish(terminal.popen(*words, preexec_fn=obey_permissions))
    assert mended.status == 0, mended


def test_2_a_directory_that_cannot_be_read(terminal: Terminal, store: Path, cluster: Cluster):
    """A whole branch is missing from the walk: that is no empty directory."""
    (store / "sessions").chmod(0)
    terminal.environment["PGPASSWORD"] = cluster.password
    words = ("start", store, cluster.url("unreadable_branch"), "--once", "--workers", "1")
    try:
        refused(finish(terminal.popen(*words, preexec_fn=obey_permissions)), "CF202", 2)
        skipped = finish(terminal.popen(*words, "--skip-unreadable", preexec_fn=obey_permissions))
    finally:
        (store / "sessions").chmod(0o755)

    assert skipped.status == 4, skipped
    assert "left out, could not be read: sessions: Permission denied" in skipped.err


def test_2_more_in_quarantine_than_the_budget_allows(person: Person, tiny: Path, database: Database):
    """--error-budget 0 and --fail-fast stop; what was refused is named by the next command."""
    _refuse_records(person, tiny, database)
    for option in (("--error-budget", "0"), ("--fail-fast",)):
        _, hint = refused(_only_the_end(person.types("start", tiny, database.url, "--once", *option)), "CF208", 2)
        assert hint.startswith("crossfade quarantine ")
        assert person.types(*hint.split()[1:]).status == 4


def test_4_done_but_the_server_refused_a_record(person: Person, tiny: Path, database: Database, tmp_path: Path):
    """Bytes are kept, come back on the way to files, can be looked at, placed once the reason is gone, or ignored."""
    _refuse_records(person, tiny, database)
    run = person.types("start", tiny, database.url, "--once")
    assert run.status == 4, run
    assert "1 item in quarantine, bytes kept: crossfade quarantine " in run.out

    migration = person.asks("status", "--store", database.url)["migration"]
    assert person.types("start", tiny, database.url, "--once").status == 4
    (item,) = person.asks("quarantine", migration, "list")["items"]
    assert (item["code"], item["size"]) == ("23514", len('{"id": 666}\n'))
    shown = person.types("quarantine", migration, "show", item["item"])
    assert (shown.status, shown.out) == (0, '{"id": 666}\n')

    assert person.types("start", database.url, tmp_path / "restored", "--once").status == 0
    compare(tiny, tmp_path / "restored")

    assert person.types("quarantine", migration, "replay").status == 4
    database.run("ALTER TABLE events DROP CONSTRAINT no_devils")
    assert person.types("quarantine", migration, "replay").status == 0
    assert person.types("start", tiny, database.url, "--once").status == 0
    assert ("666",) in database.all("SELECT body->>'id' FROM events")
    shutil.rmtree(tmp_path / "restored")
    assert person.types("start", database.url, tmp_path / "again", "--once").status == 0
    compare(tiny, tmp_path / "again")


def test_0_what_is_ignored_is_no_reason_to_end_with_4(person: Person, tiny: Path, database: Database):
    """A person looked at it and said so; a run with nothing to do does not bring it back."""
    _refuse_records(person, tiny, database)
    assert person.types("start", tiny, database.url, "--once").status == 4
    assert person.types("quarantine", "ignore", "--store", database.url).status == 0
    run = person.types("start", tiny, database.url, "--once")

    assert run.status == 0, run
    assert "quarantine, bytes kept" not in run.out


def test_4_a_name_that_the_target_cannot_hold(person: Person, database: Database, tmp_path: Path):
    """A path that leaves the root never does: it is held back, named, and everything else is restored."""
    source = tmp_path / "source"
    (source / "sessions").mkdir(parents=True)
    (source / "sessions" / "good.json").write_text("{}")
    (source / "sessions" / "evil.json").write_text('{"evil": true}')
    person.moves(source, database.url)
    database.run(
        "UPDATE entries SET path = '../evil.json', key = convert_to('..', 'UTF8') || '\\x00'::bytea || convert_to('evil.json', 'UTF8')"
        " WHERE path = 'sessions/evil.json'"
    )
    run = person.types("start", database.url, tmp_path / "deep" / "restored", "--once")

    assert run.status == 4, run
    assert not list(tmp_path.glob("**/evil.json"))[1:]
    assert (tmp_path / "deep" / "restored" / "sessions" / "good.json").exists()
    (item,) = _items(person, database.url, tmp_path / "deep" / "restored")
    assert item["code"] == "escapes-root"


def test_6_the_source_moved_under_the_copy(person: Person, database: Database, tmp_path: Path):
    """A file that grows while it is copied is taken untorn, and said to be behind; the next run brings the rest."""
    source = tmp_path / "busy"
    log = source / "events/r/j/events-1.jsonl"
    log.parent.mkdir(parents=True)
    log.write_text('{"n": 0}\n' * 400)
    for number in range(40):
        (log.parent / f"events-{number + 2}.jsonl").write_text('{"n": 0}\n' * 10)
    over = threading.Event()
    writer = threading.Thread(target=_append_until, args=(log, over))
    writer.start()
    try:
        run = person.types("start", source, database.url, "--once", "--rate-limit", "1500", "--workers", "1")
    finally:
        over.set()
        writer.join()

    _, hint = refused(_only_the_end(run), "CF602", 6)
    assert "events/r/j/events-1.jsonl" in run.err
    assert hint.startswith("crossfade start ")
    assert person.types("start", source, database.url, "--once").status == 0
    assert log.read_bytes().count(b"\n") == database.one(
        "SELECT records FROM entries WHERE path = 'events/r/j/events-1.jsonl'"
    )


def test_7_what_is_not_there_yet(person: Person, tiny: Path, database: Database, tmp_path: Path):
    """One sentence, and the way that there is."""
    _, hint = refused(person.types("start", tiny, tmp_path / "files"), "CF704", 7)

    assert "embedded:" in hint
    assert database.one("SELECT to_regclass('stores')") is None


def test_7_another_plan_for_the_same_pair(person: Person, tiny: Path, database: Database, tmp_path: Path):
    """It names what differs, and leaves what is there alone."""
    person.moves(tiny, database.url)
    before = database.all("SELECT * FROM migrations")
    layout = tmp_path / "mine.toml"
    layout.write_text('[[kind]]\nname = "mine"\nform = "document"\nmatch = ["**/*.json"]\n')
    for options, differs in (
        (("--include-transient",), "the transient rule (--include-transient)"),
        (("--layout", "generic"), "the layout's name, the layout's rules"),
        (("--layout", layout), "the layout's name, the layout's rules"),
        (("--only", "sessions"), "moves the kinds checkpoints, dlq, "),
    ):
        sentence, _ = refused(person.types("start", tiny, database.url, "--once", *options), "CF701", 7)
        assert differs in sentence
    assert before == database.all("SELECT * FROM migrations")


def test_7_the_target_holds_the_data_of_another_store(person: Person, tiny: Path, database: Database, tmp_path: Path):
    """Another tree of the same name does not mix with it; another name lets it in."""
    person.moves(tiny, database.url)
    shutil.copytree(tiny, tmp_path / "other" / "tiny", symlinks=True)
    sentence, hint = refused(person.types("start", tmp_path / "other" / "tiny", database.url, "--once"), "CF702", 7)

    assert f"from file://{tiny}" in sentence
    assert "--store-name" in hint
    person.moves(tmp_path / "other" / "tiny", database.url, "--store-name", "second")


def test_7_a_directory_of_strangers(person: Person, tiny: Path, database: Database, tmp_path: Path):
    """Three are named, none is touched; --merge keeps them, --delete-extra does not."""
    person.moves(tiny, database.url)
    target = tmp_path / "target"
    target.mkdir()
    for name in ("a", "b", "c", "d"):
        (target / name).write_text(name)
    sentence, hint = refused(_only_the_end(person.types("start", database.url, target, "--once")), "CF703", 7)
    assert "a, b, c, and 1 more" in sentence
    assert "--merge" in hint
    assert sorted(os.listdir(target)) == ["a", "b", "c", "d"]

    person.moves(database.url, target, "--merge")
    assert {"a", "b", "c", "d", "sessions"} < set(os.listdir(target))
    assert "already there" in person.moves(database.url, target, "--merge").out
    person.moves(database.url, target, "--delete-extra")
    compare(tiny, target)


def test_7_a_path_changed_since_we_wrote_it(person: Person, tiny: Path, database: Database, tmp_path: Path):
    """Somebody worked on the restored tree: whatever the options, that is not overwritten."""
    person.moves(tiny, database.url)
    person.moves(database.url, tmp_path / "restored")
    (tmp_path / "restored" / "sessions" / "one.json").write_text("mine")
    for options in ((), ("--merge",), ("--delete-extra",)):
        run = _only_the_end(person.types("start", database.url, tmp_path / "restored", "--once", *options))
        sentence, _ = refused(run, "CF703", 7)
        assert "was changed since it was written: sessions/one.json" in sentence
    assert (tmp_path / "restored" / "sessions" / "one.json").read_text() == "mine"


def test_7_what_is_put_where_something_of_ours_was_is_a_stranger(
    person: Person, tiny: Path, database: Database, tmp_path: Path
):
    """We removed what was ours; whatever stands there later is not ours to remove, though it has the same name."""
    (tiny / "old" / "deep").mkdir(parents=True)
    (tiny / "old" / "deep" / "note.json").write_text("{}")
    person.moves(tiny, database.url)
    person.moves(database.url, tmp_path / "restored")
    shutil.rmtree(tiny / "old")
    person.moves(tiny, database.url)
    person.moves(database.url, tmp_path / "restored")
    assert not (tmp_path / "restored" / "old").exists()

    (tmp_path / "restored" / "old").mkdir()
    sentence, _ = refused(_only_the_end(person.types("start", database.url, tmp_path / "restored", "--once")), "CF703", 7)
    assert "holds files of a stranger: old" in sentence
    person.moves(database.url, tmp_path / "restored", "--merge")
    assert (tmp_path / "restored" / "old").is_dir()


def test_7_source_and_target_inside_one_another(person: Person, tiny: Path, tmp_path: Path):
    """The copy would copy itself, also when seen through a link."""
    (tmp_path / "door").symlink_to(tiny)
    for target in (f"embedded://{tiny}/database", f"embedded://{tmp_path}", f"embedded://{tmp_path}/door/database"):
        refused(person.types("start", tiny, target, "--once"), "CF706", 7)
    assert not (tiny / "database").exists()


def test_8_an_empty_source_is_rarely_meant(person: Person, database: Database, tmp_path: Path):
    """A volume that is not mounted; so nothing is made in the target. --allow-empty says that it is meant."""
    (tmp_path / "empty").mkdir()
    for verb in (("start", "--once"), ("plan",)):
        refused(_only_the_end(person.types(verb[0], tmp_path / "empty", database.url, *verb[1:])), "CF801", 8)
        refused(_only_the_end(person.types(verb[0], tmp_path / "empty", f"embedded://{tmp_path}/pg", *verb[1:])), "CF801", 8)
    assert database.one("SELECT to_regclass('stores')") is None
    assert not (tmp_path / "pg").exists()

    assert person.types("start", tmp_path / "empty", database.url, "--once", "--allow-empty").status == 0
    assert person.types("start", tmp_path / "empty", database.url, "--once", "--allow-empty").status == 0


def test_8_a_tree_that_is_suddenly_empty_takes_nothing_away(person: Person, tiny: Path, database: Database):
    """What was copied stays until somebody says that it is meant to go."""
    person.moves(tiny, database.url)
    shutil.rmtree(tiny)
    tiny.mkdir()
    refused(_only_the_end(person.types("start", tiny, database.url, "--once")), "CF801", 8)
    assert database.one("SELECT count(*) FROM entries WHERE type = 'file'") == 2

    person.moves(tiny, database.url, "--allow-removals")
    assert database.one("SELECT count(*) FROM entries WHERE type = 'file'") == 0


def test_the_first_of_several_counts(person: Person, tiny: Path, database: Database, tmp_path: Path):
    """1, 5, 7, 2, 6, 3, 4, 8: what has to be mended first comes first."""
    missing, unreachable = tmp_path / "missing", "postgresql://somebody@127.0.0.1:1/nowhere"
    (tmp_path / "empty").mkdir()
    person.moves(tiny, database.url)
    shutil.copytree(tmp_path / "empty", tmp_path / "other" / "tiny")

    for status, words in (
        (1, ("start", missing, unreachable, "--workers", "none")),
        (1, ("start", missing, unreachable, "--once", "--layout", "nowhere.toml")),
        (7, ("start", missing, missing)),
        (7, ("start", missing, f"embedded://{missing}/pg", "--once")),
        (7, ("start", tmp_path / "other" / "tiny", database.url, "--once")),
        (2, ("start", tmp_path / "empty", unreachable, "--once")),
        (8, ("start", tmp_path / "empty", database.url, "--once")),
    ):
        run = person.types(*words)
        assert status == run.status, run


def _refuse_records(person: Person, tiny: Path, database: Database) -> None:
    """A table that refuses what is a devil's; and one."""
    person.moves(tiny, database.url)
    database.run("ALTER TABLE events ADD CONSTRAINT no_devils CHECK (body->>'id' IS DISTINCT FROM '666')")
    with next(tiny.glob("events/**/*.jsonl")).open("a") as log:
        log.write('{"id": 666}\n{"id": 3}\n')


def _items(person: Person, source: str, target: Path) -> list[dict]:
    rows = person.asks("list", "--store", source)["migrations"]
    (migration,) = [row["migration"] for row in rows if row["target"] == f"file://{target}"]
    return person.asks("quarantine", migration, "list", "--store", source)["items"]


def _append_until(path: Path, over: threading.Event) -> None:
    while not over.is_set():
        with path.open("a") as log:
            log.write('{"n": 1}\n')
        time.sleep(0.02)


def _only_the_end(run):
    """*run* without the talk before its error."""
    at = run.err.find("error[")
    run.err = run.err[at:] if at >= 0 else run.err
    return run
