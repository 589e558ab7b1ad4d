"""Files that move keep their rows: only the entry changes. Read from the rows themselves, by ``xmin`` and ``ctid``."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.running import Terminal, compare, finish, kill_group, report, wait_for
from support.servers import Database

LINE = b'{"id":"%d","timestamp":"2026-11-23T00:00:00Z","event":{"event_type":"x"}}\n'
MANY = 600
"""More than a follower looks at in one go."""


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    return Terminal(tmp_path / "state")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Logs, documents, and a directory full of notes."""
    root = tmp_path / "live"
    for directory in ("events/r/j", "notes/old/deep"):
        (root / directory).mkdir(parents=True)
    (root / "events/r/j/events-1.jsonl").write_bytes(b"".join(LINE % n for n in range(300)))
    (root / "events/r/j/events-2.jsonl").write_bytes(b"".join(LINE % n for n in range(5)))
    for name in ("one", "two"):
        (root / f"session_{name}.json").write_bytes(b'{"id":"%s"}' % name.encode())
    for number in range(MANY):
        (root / f"notes/old/deep/{number}").write_bytes(b"note %d" % number)
    return root


def rows(database: Database, path: str = "%") -> set[tuple]:
    """The records of the entries whose path is like *path*: where each is, physically, and which transaction wrote it."""
    schema = database.location.schema
    return {
        (table, *row)
        for (table,) in database.all(f'SELECT name FROM "{schema}".kinds')
        for row in database.all(
            f'SELECT entry_id, pos, k.xmin::text, k.ctid::text FROM "{schema}"."{table}" k'
            f' JOIN "{schema}".entries USING (entry_id) WHERE path LIKE %s',
            path,
        )
    }


def stands(database: Database, path: str) -> int:
    """How many entries there are like *path*."""
    return database.one(
        f"""SELECT count(*) FROM "{database.location.schema}".entries WHERE path LIKE %s AND type <> 'gone'""", path
    )


def started(terminal: Terminal, root: Path, database: Database):
    """A follower that has arrived."""
    process = terminal.popen("start", root, database.url, "--cpu-max", 100)
    query = f"""SELECT count(*) FROM "{database.location.schema}".journal WHERE event = 'following'"""
    table = f"{database.location.schema}.journal"
    wait_for("a follower", lambda: database.one("SELECT to_regclass(%s)", table) and database.one(query), 60)
    return process


def test_a_file_that_moves_while_it_is_followed_keeps_its_rows(terminal: Terminal, root: Path, database: Database):
    """A directory, a document that replaces another one, a log that is rotated as Prodigy does it, and goes on in both places."""
    process = started(terminal, root, database)
    try:
        before = rows(database)
        two, notes = rows(database, "session_two.json"), rows(database, "notes/%")
        log = rows(database, "events/r/j/events-1.jsonl")
        (root / "session_two.json").rename(root / "session_one.json")
        (root / "notes/old").rename(root / "notes/new")
        with (root / "events/r/j/events-1.jsonl").open("ab", 0) as held:
            (root / "events/r/j/events-1.jsonl").rename(root / "events/r/j/events-1.jsonl.gz")
            (root / "events/r/j/events-1.jsonl").write_bytes(LINE % 1000)
            held.write(LINE % 301)
        wait_for("the directory", lambda: stands(database, "notes/new/deep/%") == MANY, 30)
        wait_for("the log", lambda: len(rows(database, "events/r/j/events-1.jsonl.gz")) == 301)
        wait_for("its successor", lambda: len(rows(database, "events/r/j/events-1.jsonl")) == 1)
        wait_for("the removals", lambda: not stands(database, "notes/old%") and not stands(database, "session_two.json"))

        assert rows(database, "notes/new/%") == notes
        assert rows(database, "events/r/j/events-1.jsonl.gz") > log
        assert rows(database, "session_one.json") == two
        assert len(before - rows(database)) == 1, "but for the document that was replaced"
        process.terminate()
        assert finish(process).status == 0
    finally:
        kill_group(process)
    proven = terminal.run("start", "--once", root, database.url, "--certificate", root.with_name("certificate"))
    assert proven.status == 0, proven


def test_what_moved_while_nobody_followed_keeps_its_rows_too(terminal: Terminal, root: Path, database: Database):
    """Where the layout reads it alike there: the directory of a job names it, so that its events are written anew."""
    first = terminal.run("start", "--once", root, database.url, "--workers", 1)
    assert first.status == 0, first
    before, events = rows(database), rows(database, "events/%")
    (root / "notes/old").rename(root / "notes/new")
    (root / "session_two.json").rename(root / "session_three.json")
    (root / "events/r/j").rename(root / "events/r/k")
    again = terminal.run("start", "--once", root, database.url, "--json", "--workers", 1)

    assert again.status == 0, again
    assert report(again)["brought"]["records"] == len(events)  # type: ignore[index]
    assert before - rows(database) == events
    schema = database.location.schema
    assert database.all(f'SELECT DISTINCT job_id FROM "{schema}".events') == [("k",)]
    back = terminal.run("start", "--once", database.url, root.with_name("back"), "--workers", 1)
    assert back.status == 0, back
    compare(root, root.with_name("back"))
