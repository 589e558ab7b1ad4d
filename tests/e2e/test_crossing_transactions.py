"""Transactions that commit in another order than they began, and two that write one key: files are never left with what lost."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from support.running import Terminal, kill_group, wait_for
from support.servers import Database
from support.sql_programs import SqlProgram, connection_of, follower, in_step, new_tree, quiet

KEY, LOG = "sessions/key.json", "events/a/j/events-1.jsonl"
OWN = ("sessions/early.json", "sessions/late.json")


class Writers:
    """Two transactions at a time, *early* with the smaller number; ``program`` keeps what is to stand at the end."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._schema = database.location.schema
        self.program = SqlProgram(database, seed=0)
        for path in (KEY, LOG, *OWN):
            self.program.put(path, b"{}\n")
        self.pair = connection_of(database), connection_of(database)

    def begin(self, number: int) -> None:
        """Each takes its number, by a file of its own."""
        for connection, path in zip(self.pair, OWN, strict=True):
            self.put(connection, path, b'{"round":%d}' % number)

    def put(self, connection: psycopg.Connection, path: str, data: bytes) -> None:
        """In the transaction of *connection*; it will have been the last to write there."""
        connection.execute(f"SELECT {self._schema}.put(%s, %s::bytea)", [path, data])
        self.program.files[path] = data

    def waits(self, connection: psycopg.Connection) -> bool:
        """True while it has to wait for somebody else's lock."""
        return bool(
            self._database.one("SELECT count(*) FROM pg_locks WHERE NOT granted AND pid = %s", connection.info.backend_pid)
        )

    def append(self, connection: psycopg.Connection, data: bytes) -> None:
        connection.execute(f"SELECT {self._schema}.append(%s, %s::bytea)", [LOG, data])
        self.program.files[LOG] += data


@pytest.fixture
def writers(database: Database, terminal: Terminal, tmp_path: Path) -> Iterator[Writers]:
    """While ``files`` are in step with their database; afterwards they are to be what was written last."""
    new_tree(database)
    writers = Writers(database)
    process = follower(terminal, database.url, tmp_path / "files", database)
    try:
        with closing(writers.pair[0]), closing(writers.pair[1]):
            yield writers
            in_step(tmp_path / "files", writers.program, seconds=120)
        quiet(process)
    finally:
        kill_group(process)


def test_two_that_write_one_key_in_either_order(writers: Writers):
    """Whichever has the smaller number, whichever commits last: what stands is what was written last, while a reader reads."""
    chance = random.Random(7)
    for number in range(30):
        writers.begin(number)
        order = writers.pair if chance.random() < 0.5 else writers.pair[::-1]
        for place, connection in enumerate(order):
            writers.put(connection, KEY, b'{"round":%d,"place":%d}' % (number, place))
            writers.append(connection, b'{"round":%d,"place":%d}\n' % (number, place))
            time.sleep(chance.random() * 0.06)
            connection.commit()
            time.sleep(chance.random() * 0.06)


def test_one_that_waits_for_the_other(writers: Writers):
    """Both want the key at once: the second gets it when the first commits, and overwrites it."""
    for number in range(10):
        writers.begin(number)
        first, second = writers.pair if number % 2 else writers.pair[::-1]
        writers.put(first, KEY, b'{"round":%d,"by":"first"}' % number)
        waiting = threading.Thread(target=writers.put, args=(second, KEY, b'{"round":%d,"by":"second"}' % number))
        waiting.start()
        wait_for("the second to wait", lambda: writers.waits(second))  # noqa: B023 - asked here and now
        first.commit()
        waiting.join(30)
        second.commit()


def test_no_program_waits_for_the_follower(writers: Writers):
    """It has brought two files; one of them is held by a transaction that goes on, the other one is written by somebody else."""
    early, late = writers.pair
    took: list[float] = []
    for number in range(5):
        writers.put(early, OWN[0], b'{"round":%d}' % number)
        writers.put(early, KEY, b'{"round":%d}' % number)
        early.commit()
        writers.put(early, KEY, b'{"round":%d,"goes":"on"}' % number)
        time.sleep(0.6)
        began = time.monotonic()
        writers.put(late, OWN[0], b'{"round":%d,"by":"late"}' % number)
        late.commit()
        took.append(time.monotonic() - began)
        early.commit()

    assert max(took) < 5, took


def test_one_that_commits_long_after_those_that_began_later(writers: Writers):
    """Its changes stand in the feed before theirs, and were not to be seen when theirs were read."""
    early, late = writers.pair
    writers.begin(1)
    early.commit()
    for number in range(2, 12):
        writers.put(early, OWN[0], b'{"round":%d}' % number)
        writers.put(late, OWN[1], b'{"round":%d}' % number)
        late.commit()
        time.sleep(0.15)
        early.commit()
