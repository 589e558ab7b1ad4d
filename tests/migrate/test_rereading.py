"""Logs that were followed by their ends are read again, and what cannot be read is owed, not forgotten."""

from __future__ import annotations

import errno
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from crossfade.migrate.follow import rereading as module
from crossfade.migrate.follow.rereading import Rereading
from crossfade.store.backends.file.store import FileStore
from crossfade.store.backends.memory import MemoryStore
from crossfade.store.location import parse
from crossfade.testing.contract import LAYOUT, Bench, puts

PATH = b"log.jsonl"
DATA = b'{"id":"0123456789"}\n' * 10
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    """The server's, one hour later each time that somebody looks."""

    def __init__(self) -> None:
        self.hours = -1

    def __call__(self) -> datetime:
        self.hours += 1
        return BEGAN + timedelta(hours=self.hours)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def source(tmp_path: Path) -> FileStore:
    (tmp_path / os.fsdecode(PATH)).write_bytes(DATA)
    return FileStore(parse(str(tmp_path)), LAYOUT)


@pytest.fixture
def rereading(source: FileStore, clock: Clock) -> Rereading:
    """One that has heard that the log grew."""
    bench = Bench(lambda: MemoryStore(parse("memory:"), LAYOUT))
    bench.apply(*puts(bench.entry(PATH), DATA))
    made = Rereading(source, bench.store, lambda _: 0.0, clock)
    assert made.grew(PATH)
    return made


def test_an_edit_further_up_is_found(rereading: Rereading, source: FileStore, tmp_path: Path):
    (tmp_path / os.fsdecode(PATH)).write_bytes(DATA.replace(b"0", b"1", 1))
    assert rereading.rush(time.monotonic() + 5) == ([PATH], True)


def test_what_cannot_be_read_is_owed_and_a_hand_over_waits_for_it(
    rereading: Rereading, source: FileStore, monkeypatch: pytest.MonkeyPatch
):
    def refuse(_spans: object) -> None:
        raise OSError(errno.EIO, "the disk does not answer")

    with monkeypatch.context() as broken:
        broken.setattr(source, "weigh", refuse)
        assert rereading.rush(time.monotonic() + 5) == ([], False)
    assert rereading.rush(time.monotonic() + 5) == ([], True)
    assert rereading.rush(time.monotonic() + 5) == ([], True), "it was read, and is owed no more"


def test_what_was_read_lately_is_read_once_more_in_the_end(rereading: Rereading, source: FileStore, tmp_path: Path):
    """A hand-over need not wait for it; whoever ends would forget it."""
    assert rereading.rush(time.monotonic() + 5) == ([], True)
    rereading.grew(PATH)
    (tmp_path / os.fsdecode(PATH)).write_bytes(DATA.replace(b"0", b"1", 1))

    assert rereading.rush(time.monotonic() + 5) == ([], True)
    assert rereading.owed == 1
    assert rereading.settle(time.monotonic() + 5) == ([PATH], True)
    assert rereading.owed == 0


def test_the_position_is_before_all_that_is_owed(
    rereading: Rereading, source: FileStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
):
    """From the first time that a log grew; also while it is read, and where it could not be."""

    def refuse(_spans: object) -> None:
        assert rereading.position == BEGAN, "it is being read"
        raise OSError(errno.EIO, "the disk does not answer")

    rereading.grew(PATH)
    assert rereading.position == BEGAN
    with monkeypatch.context() as broken:
        broken.setattr(source, "weigh", refuse)
        rereading.rush(time.monotonic() + 5)
    assert rereading.position == BEGAN
    rereading.rush(time.monotonic() + 5)
    assert rereading.position == BEGAN + timedelta(hours=clock.hours)
    rereading.recall([PATH], BEGAN)
    assert rereading.position == BEGAN


def test_more_than_can_be_recalled_leaves_no_position(rereading: Rereading, monkeypatch: pytest.MonkeyPatch):
    """The next run has to recall the same."""
    monkeypatch.setattr(module, "_MOST", 1)
    rereading.recall([PATH, b"other"], BEGAN)
    assert rereading.settle(time.monotonic() + 5) == ([], True)
    assert rereading.position is None


def test_a_log_that_is_never_still_is_read_after_a_while(
    rereading: Rereading, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / os.fsdecode(PATH)).write_bytes(DATA.replace(b"0", b"1", 1))
    rereading.grew(PATH)
    assert rereading.turn(time.monotonic()) == []
    monkeypatch.setattr(module, "_LONG_SECONDS", 0.0)
    assert rereading.turn(time.monotonic()) == [PATH]
