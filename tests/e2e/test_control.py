"""A migration is controlled from anywhere: whoever pauses it, it stands still within a second, and loses and repeats nothing."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.person import Person
from support.running import Terminal, finish, kill_group, once_each, wait_for
from support.servers import Database

FELT_SECONDS = 1.0


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A live tree."""
    root = tmp_path / "live"
    (root / "events/r/j").mkdir(parents=True)
    (root / "sessions").mkdir()
    (root / "sessions/one.json").write_text('{"id":"one"}')
    return root


class Writer:
    """A program that appends to some logs and rewrites a document, until told to stop."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._write, daemon=True)
        self.lines = 0

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(10)

    def _write(self) -> None:
        while not self._over.is_set():
            log = self._root / f"events/r/j/events-{self.lines % 4}.jsonl"
            with log.open("ab", 0) as file:
                file.write(b'{"id":"%d","pad":"%s"}\n' % (self.lines, b"x" * (self.lines % 300)))
            if self.lines % 10 == 0:
                (self._root / "sessions/one.json").write_text(json.dumps({"id": "one", "n": self.lines}))
            self.lines += 1
            time.sleep(0.001)


def phase(database: Database) -> str:
    """Of the only migration there is."""
    if database.one("SELECT to_regclass(%s)", f"{database.location.schema}.migrations") is None:
        return ""
    return str(database.one("SELECT max(phase) FROM migrations"))


@contextmanager
def following(terminal: Terminal, root: Path, database: Database, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """A follower that has arrived; it is asked to end, and must do so in good order, unless the test has seen to that."""
    process = terminal.popen("start", root, database.url, "--cpu-max", "100", *options)
    try:
        wait_for("a follower", lambda: phase(database) == "following" or process.poll() is not None, 40)
        yield process
        if process.poll() is None:
            process.terminate()
            done = finish(process)
            assert done.status == 0, done
    finally:
        kill_group(process)


def felt_seconds(database: Database, wished: str, done: str) -> list[float]:
    """How long it took each time from a wish to what was wished, by the journal, whose times are the server's."""
    rows = database.all("SELECT event, at FROM journal WHERE event IN (%s, %s) ORDER BY seq", wished, done)
    return [(rows[at + 1][1] - rows[at][1]).total_seconds() for at in range(0, len(rows) - 1, 2)]


def size_of(database: Database) -> object:
    """Bytes in the store."""
    return database.one("SELECT sum(size) FROM entries")


def test_a_follower_pauses_and_goes_on_within_a_second(terminal: Terminal, person: Person, root: Path, database: Database):
    """From another process, with a writer at work: it stands still, says who wanted that, and in the end all is there, once."""
    with following(terminal, root, database) as process, Writer(root) as writer:
        for number in range(3):
            wait_for("some lines", lambda: writer.lines > 100 * number)  # noqa: B023 - called at once
            paused = person.types("pause", "--store", database.url, "--reason", "a backup")
            state = person.asks("status", "--store", database.url)
            held, wrote = size_of(database), writer.lines
            wait_for("more lines", lambda: writer.lines > wrote + 100)  # noqa: B023
            assert size_of(database) == held, "it moved while paused"
            assert process.poll() is None
            resumed = person.types("resume", "--store", database.url)
            assert (paused.status, resumed.status) == (0, 0), (paused, resumed)
            wait_for("it goes on", lambda: phase(database) == "following" and size_of(database) != held)  # noqa: B023

    assert state["state"] == "paused"
    assert "paused by " in state["reason"]
    assert "a backup" in state["reason"]
    assert f"process {process.pid} on " in state["reason"]
    assert [step["command"] for step in state["next_steps"]] == [f"crossfade resume {state['migration']}"]
    felt, back = felt_seconds(database, "pause wished", "paused"), felt_seconds(database, "resume wished", "resumed")
    print(f"paused within {felt} s, following again within {back} s")
    assert len(felt) == len(back) == 3
    assert max(min(felt), min(back)) < FELT_SECONDS
    again = terminal.run("start", "--once", root, database.url)
    assert again.status == 0, again
    with database.connect() as connection:
        once_each(connection, database.location.schema, root)
