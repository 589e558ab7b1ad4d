"""A live tree is followed: a program that knows nothing of crossfade writes, and the database is in step.

Judged by the independent comparer, over what comes back, and by SQL.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest

from support.following import following, stopped_at_the_end
from support.running import Terminal, compare, finish, kill_group, wait_for
from support.servers import Database

LINE = b'{"id":"%d","timestamp":"2026-11-23T00:00:00Z","event":{"event_type":"x"},"pad":"%s"}\n'


class Program:
    """Writes as programs do: appends in torn pieces, rewrites in place, renames, rotates, truncates, removes."""

    def __init__(self, root: Path, seed: int) -> None:
        self._root = root
        self._random = random.Random(seed)
        self._count = 0
        (root / "events/r/j").mkdir(parents=True)
        (root / "sessions").mkdir()

    def work(self, operations: int) -> None:
        for _ in range(operations):
            self._count += 1
            act = self._random.choices(
                [self._append, self._document, self._remove, self._rotate, self._truncate, self._retain, self._directories],
                [80, 8, 3, 2, 2, 2, 3],
            )[0]
            act()

    def _log(self) -> Path:
        return self._root / f"events/r/j/events-{self._random.randrange(6)}.jsonl"

    def _append(self) -> None:
        line = LINE % (self._count, b"x" * self._random.randrange(500))
        at = self._random.randrange(len(line))
        with self._log().open("ab", 0) as file:
            file.write(line[:at])
            file.write(line[at:])

    def _document(self) -> None:
        path = self._root / f"sessions/s{self._random.randrange(40)}.json"
        path.write_bytes(b'{"id":"s","n":%d}' % self._count)

    def _remove(self) -> None:
        (self._root / f"sessions/s{self._random.randrange(40)}.json").unlink(missing_ok=True)

    def _rotate(self) -> None:
        log = self._log()
        if log.exists():
            log.rename(f"{log}.{self._count}")

    def _truncate(self) -> None:
        with self._log().open("ab") as file:
            file.truncate(0)

    def _retain(self) -> None:
        log = self._log()
        if log.exists():
            lines = log.read_bytes().splitlines(keepends=True)
            new = log.with_suffix(".tmp")
            new.write_bytes(b"".join(lines[len(lines) // 2 :]))
            new.rename(log)

    def _directories(self) -> None:
        made = self._root / f"made/{self._count}/deep"
        made.mkdir(parents=True)
        (made / "file").write_bytes(b"x")
        made.parent.rename(self._root / f"made/moved-{self._count}")
        if self._count % 2:
            shutil.rmtree(self._root / f"made/moved-{self._count}")


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    return Terminal(tmp_path / "state")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "live"
    root.mkdir()
    return root


def same(terminal: Terminal, root: Path, database: Database, back: Path) -> None:
    """What comes back is what is there."""
    done = terminal.run("start", "--once", database.url, back)
    assert done.status == 0, done
    compare(root, back)


def test_what_a_program_does_to_its_files_is_in_the_database_and_comes_back(
    terminal: Terminal, root: Path, database: Database, tmp_path: Path
):
    program = Program(root, seed=1)
    program.work(50)
    process = following(terminal, root, database)
    for _ in range(6):
        program.work(250)
        time.sleep(0.3)
    process.terminate()
    done = finish(process)

    assert done.status == 0, done
    again = terminal.run("start", "--once", root, database.url)
    assert again.status == 0, again
    same(terminal, root, database, tmp_path / "back")


def test_a_follower_that_was_killed_goes_on_where_it_was(terminal: Terminal, root: Path, database: Database, tmp_path: Path):
    program = Program(root, seed=2)
    program.work(50)
    for _ in range(3):
        process = following(terminal, root, database)
        program.work(300)
        time.sleep(0.4)
        kill_group(process)
        program.work(100)
    process = following(terminal, root, database)
    program.work(100)
    process.send_signal(signal.SIGTERM)

    assert finish(process).status == 0
    assert terminal.run("start", "--once", root, database.url).status == 0
    same(terminal, root, database, tmp_path / "back")


SWEEPS_ONCE = """
from crossfade.console.main import run
from crossfade.migrate.follow import sweep

sweep._REST_SECONDS = 3600.0
run()
"""
"""A follower that looks at everything when it begins, and then goes by what it hears."""


def test_an_appended_event_is_there_within_moments(terminal: Terminal, root: Path, database: Database):
    """The file system tells of it: no look at everything comes upon it, in a tree of some thousand files."""
    program = Program(root, seed=3)
    program.work(20)
    for number in range(2000):
        (root / f"sessions/many-{number}.json").write_bytes(b"{}")
    query = f"""SELECT count(*) FROM "{database.location.schema}".events WHERE id = 'now'"""
    with stopped_at_the_end(following(terminal, root, database, program=SWEEPS_ONCE)):
        ready = terminal.run("status", "--store", database.url, "--wait-for", "ready", "--timeout", "60")
        assert ready.status == 0, ready
        with (root / "events/r/j/events-new.jsonl").open("ab", 0) as log:
            log.write(b'{"id":"now"}\n')
        wait_for("the event", lambda: database.one(query) == 1, 10)


def test_a_torn_line_waits_for_its_end(terminal: Terminal, root: Path, database: Database):
    """Half a line that is being written is no record; one that nobody ends is, after a while."""
    log = root / "events/r/j/events-1.jsonl"
    log.parent.mkdir(parents=True)
    log.write_bytes(b'{"id":"first"}\n')
    process = following(terminal, root, database)
    schema = database.location.schema
    with log.open("ab", 0) as file:
        file.write(b'{"id":"second"}\n{"id":"to')
        wait_for("the whole line", lambda: database.one(f'SELECT count(*) FROM "{schema}".events') == 2, 60)
        assert database.one(f'SELECT max(size) FROM "{schema}".entries WHERE kind = %s', "events") == 31
        file.write(b'rn"}\n')
    wait_for("its end", lambda: database.one(f"""SELECT count(*) FROM "{schema}".events WHERE id = 'torn'""") == 1, 60)
    with log.open("ab", 0) as file:
        file.write(b'{"id":')
    wait_for("what is left of a crash", lambda: database.one(f'SELECT count(*) FROM "{schema}".events') == 4, 60)
    process.terminate()
    assert finish(process).status == 0


@pytest.fixture
def grown(root: Path) -> Path:
    """A log of more than one segment."""
    log = root / "events/r/j/events-1.jsonl"
    log.parent.mkdir(parents=True)
    log.write_bytes(b'{"id":"first"}\n' + b"".join(LINE % (number, b"x" * 400) for number in range(4000)))
    return log


def edit(log: Path, more: bytes = b"") -> None:
    """Change the first record where it stands, and append *more*, in one moment."""
    with log.open("r+b", 0) as file:
        os.pwrite(file.fileno(), b'{"id":"fixed"}', 0)
        if more:
            os.pwrite(file.fileno(), more, log.stat().st_size)


@pytest.mark.parametrize("more", [b"", b'{"id":"last"}\n'])
def test_an_edit_at_the_beginning_of_a_log_that_is_followed_by_its_end_is_brought(
    terminal: Terminal, root: Path, database: Database, grown: Path, more: bytes
):
    """One that grew at the same time, once it was still for a while: it looks just as if it had grown, and no more."""
    events = f"""SELECT count(*) FROM "{database.location.schema}".events"""
    process = following(terminal, root, database)
    with grown.open("ab", 0) as file:
        file.write(b'{"id":"end"}\n')
    wait_for("its end", lambda: database.one(f"{events} WHERE id = 'end'") == 1, 60)
    edit(grown, more)

    wait_for("the edit", lambda: database.one(f"{events} WHERE id = 'fixed'") == 1, 60)
    assert database.one(events) == 4002 + bool(more)
    process.terminate()
    assert finish(process).status == 0


@pytest.mark.parametrize("grace", ["30s", "0s"])
def test_an_edit_at_the_beginning_of_a_log_that_grows_is_there_when_the_follower_has_ended(
    terminal: Terminal, root: Path, database: Database, grown: Path, grace: str
):
    """Between two runs nobody would look. Where the time was too short, that is said, and the next one reads on."""
    events = f"""SELECT count(*) FROM "{database.location.schema}".events"""
    process = following(terminal, root, database, "--grace", grace)
    owe(grown, database)
    process.terminate()
    done = finish(process)

    assert done.status == 0, done
    is_read = grace != "0s"
    assert database.one(f"{events} WHERE id = 'fixed'") == is_read
    assert ("stopped; all is in step" in done.err) == is_read
    assert ("of 1 log that grew only the end was read: the next run that follows reads the rest" in done.err) != is_read
    if not is_read:
        finds_the_edit(terminal, root, database)


def owe(grown: Path, database: Database) -> None:
    """Have its follower read only the end of a log whose beginning was edited as well."""
    events = f"""SELECT count(*) FROM "{database.location.schema}".events"""
    with grown.open("ab", 0) as file:
        file.write(b'{"id":"end"}\n')
    wait_for("its end", lambda: database.one(f"{events} WHERE id = 'end'") == 1, 60)
    edit(grown, b'{"id":"last"}\n')
    wait_for("its last line", lambda: database.one(f"{events} WHERE id = 'last'") == 1, 60)


def finds_the_edit(terminal: Terminal, root: Path, database: Database) -> None:
    """Another follower does, though no file has changed since the one before."""
    again = following(terminal, root, database)
    found = f"""SELECT count(*) FROM "{database.location.schema}".events WHERE id = 'fixed'"""
    wait_for("the edit", lambda: database.one(found) == 1, 60)
    again.terminate()
    assert finish(again).status == 0


def test_what_a_killed_follower_owed_is_read_by_the_next_one(
    terminal: Terminal, root: Path, database: Database, grown: Path
):
    """Its journal says nothing of it; its position does."""
    events = f"""SELECT count(*) FROM "{database.location.schema}".events"""
    process = following(terminal, root, database)
    owe(grown, database)
    time.sleep(6)  # so that it has written down how far it is
    kill_group(process)
    assert database.one(f"{events} WHERE id = 'fixed'") == 0
    finds_the_edit(terminal, root, database)


def test_an_edit_at_the_beginning_of_a_log_that_grows_is_there_when_the_database_decides(
    terminal: Terminal, root: Path, database: Database, grown: Path
):
    events = f"""SELECT count(*) FROM "{database.location.schema}".events"""
    process = following(terminal, root, database)
    with grown.open("ab", 0) as file:
        file.write(b'{"id":"end"}\n')
    wait_for("its end", lambda: database.one(f"{events} WHERE id = 'end'") == 1, 60)
    edit(grown, b'{"id":"last"}\n')

    done = terminal.run("cutover", "--writers-stopped", "--hold-max", "10")
    assert done.status == 0, done
    assert database.one(f"{events} WHERE id IN ('fixed', 'last')") == 2
    process.terminate()
    assert finish(process).status == 0


def test_an_emptied_root_is_not_believed(terminal: Terminal, root: Path, database: Database, tmp_path: Path):
    """While following, and at the start of a follower; unless somebody says that it is meant."""
    program = Program(root, seed=4)
    program.work(300)
    held = database.location.schema
    process = following(terminal, root, database)
    parked = root.with_name("parked")
    os.rename(root, parked)
    root.mkdir()
    done = finish(process, 60)

    assert done.status == 7, done
    assert "error[CF707]" in done.err
    before = database.one(f"""SELECT count(*) FROM "{held}".entries WHERE type <> 'gone'""")
    assert before > 20
    again = terminal.run("start", root, database.url)
    assert again.status == 7, again
    assert database.one(f"""SELECT count(*) FROM "{held}".entries WHERE type <> 'gone'""") == before

    with stopped_at_the_end(following(terminal, root, database, "--allow-removals"), tmp_path / "said"):
        assert database.one(f"""SELECT count(*) FROM "{held}".entries WHERE type = 'file'""") == 0


def test_the_budget_is_for_what_is_held_and_not_for_how_often_it_was_refused(
    terminal: Terminal, root: Path, database: Database
):
    """One document that is written again and again is one item; more items than the budget allows end it."""
    (root / "sessions").mkdir()
    (root / "sessions/good.json").write_bytes(b'{"id":"good"}')
    process = following(terminal, root, database, "--error-budget", "3")
    database.run("ALTER TABLE sessions ADD CONSTRAINT picky CHECK (body->>'bad' IS NULL) NOT VALID")
    held = "SELECT count(*) FROM quarantine WHERE state = 'held'"
    refused = """SELECT sum((kind ->> 'quarantined')::int)
                 FROM migrations, jsonb_array_elements(progress::jsonb -> 'kinds') AS kind"""
    try:
        for times in range(1, 7):
            (root / "sessions/one.json").write_bytes(b'{"id":"one","bad":%d}' % times)

            def is_refused(times: int = times) -> bool:
                assert process.poll() is None, finish(process)
                return (database.one(refused) or 0) >= times

            wait_for("it is refused", is_refused, 60)
        assert database.one(held) == 1
        for number in range(3):
            (root / f"sessions/bad-{number}.json").write_bytes(b'{"id":"x","bad":0}')
        done = finish(process, 60)
    finally:
        kill_group(process)
    assert done.status == 2, done
    assert "CF208" in done.err
    assert "4 items went to quarantine" in done.err
