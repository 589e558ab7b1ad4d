"""A clock that jumps changes nothing: what is half written is waited for, what is whole settles, whatever times files bear.

To a follower, a clock that jumped is a file with a time of another hour.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from crossfade.migrate.follow.stillness import Stillness
from crossfade.model.entries import Signature
from support.following import following
from support.person import Person
from support.running import Terminal, finish, kill_group, wait_for
from support.servers import Database

HOUR = 3600


def set_time(path: Path, hours: int) -> None:
    """As a clock would have stamped it that is so many hours ahead."""
    now = time.time() + hours * HOUR
    os.utime(path, (now, now))


@pytest.mark.parametrize("hours", [-1, 1])
def test_files_of_another_hour_are_followed_as_any_other(
    terminal: Terminal, person: Person, database: Database, tmp_path: Path, hours: int
):
    """A torn line is no record, a document that is no JSON is waited for, and then it is all in step."""
    root = tmp_path / "live"
    log = root / "events/r/j/events-1.jsonl"
    log.parent.mkdir(parents=True)
    (root / "sessions").mkdir()
    log.write_bytes(b'{"id":"first"}\n')
    process = following(terminal, root, database)
    try:
        with log.open("ab", 0) as file:
            file.write(b'{"id":"second"}\n{"id":"to')
            set_time(log, hours)
            wait_for("the whole line", lambda: database.one("SELECT count(*) FROM events") == 2)
            assert database.one("SELECT max(size) FROM entries WHERE kind = 'events'") == 31
            file.write(b'rn"}\n')
            set_time(log, hours)
        wait_for("its end", lambda: database.one("SELECT count(*) FROM events WHERE id = 'torn'") == 1)

        half = root / "sessions/half.json"
        half.write_bytes(b'{"id":')
        set_time(half, hours)
        wait_for("what nobody ends", lambda: database.one("SELECT count(*) FROM sessions") == 1)
        assert database.one("SELECT unstable FROM entries WHERE path = 'sessions/half.json'") is False
        ready = person.types("status", "--store", database.url, "--wait-for", "ready", "--timeout", "30s")
        assert ready.status == 0, ready
        process.terminate()
        assert finish(process).status == 0
    finally:
        kill_group(process)


def test_stillness_is_measured_by_a_clock_that_nobody_sets(monkeypatch: pytest.MonkeyPatch):
    """From when a file was first seen as it is; each change begins anew. What was seen longest ago is forgotten first."""
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    still = Stillness(kept=2)
    one, other = Signature(1, 5, 5, 7), Signature(2, 5, 5, 7)
    assert still.seconds(b"a", one) == 0
    now = 103.0
    assert still.seconds(b"a", one) == 3
    assert still.seconds(b"a", other) == 0
    now = 104.0
    assert still.seconds(b"a", other) == 1
    for path in (b"b", b"c"):
        still.seconds(path, one)
    assert still.seconds(b"a", other) == 0
    still.forget(b"c")
    now = 110.0
    assert still.seconds(b"c", one) == 0
