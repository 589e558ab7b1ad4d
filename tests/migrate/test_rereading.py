"""Logs that were followed by their ends are read again, and what cannot be read is owed, not forgotten."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest

from crossfade.migrate.follow import rereading as module
from crossfade.migrate.follow.earlier import Earlier
from crossfade.migrate.follow.rereading import Rereading
from crossfade.store.backends.file.store import FileStore
from crossfade.store.backends.memory import MemoryStore
from crossfade.store.location import parse
from crossfade.store.port import Span
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


def refused(_spans: object) -> None:
    raise OSError(errno.EIO, "the disk does not answer")


def test_what_cannot_be_read_is_owed_and_a_hand_over_waits_for_it(
    rereading: Rereading, source: FileStore, monkeypatch: pytest.MonkeyPatch
):
    with monkeypatch.context() as broken:
        broken.setattr(source, "weigh", refused)
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


class Told:
    """An earlier run's, without a database."""

    def __init__(self, *paths: bytes) -> None:
        self.since = BEGAN - timedelta(days=1)
        self._paths = list(paths)

    def next(self) -> bytes | None:
        return self._paths.pop() if self._paths else None

    def is_over(self) -> bool:
        return not self._paths


def test_what_an_earlier_run_owed_is_owed_until_all_of_it_was_read(
    rereading: Rereading, source: FileStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    told = Told(b"gone.jsonl", PATH)
    (tmp_path / os.fsdecode(PATH)).write_bytes(DATA.replace(b"0", b"1", 1))
    rereading.recall(cast("Earlier", told))
    assert (rereading.owed, rereading.position) == (2, told.since)
    with monkeypatch.context() as broken:
        broken.setattr(source, "weigh", refused)
        assert rereading.rush(time.monotonic() + 5) == ([], False)
    assert rereading.position == told.since
    assert rereading.rush(time.monotonic() + 5) == ([PATH], True)
    assert rereading.owed == 0
    assert rereading.position > BEGAN


def test_what_could_not_be_read_is_not_passed_by_the_position(
    rereading: Rereading, source: FileStore, monkeypatch: pytest.MonkeyPatch
):
    """Though others grew later, and wait before it."""
    rereading.grew(b"other.jsonl")
    with monkeypatch.context() as broken:
        broken.setattr(source, "weigh", refused)
        rereading.rush(time.monotonic() + 5)
    assert rereading.position == BEGAN


def test_a_log_that_is_never_still_is_read_after_a_while(
    rereading: Rereading, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / os.fsdecode(PATH)).write_bytes(DATA.replace(b"0", b"1", 1))
    rereading.grew(PATH)
    assert rereading.turn(time.monotonic()) == []
    monkeypatch.setattr(module, "_LONG_SECONDS", 0.0)
    assert rereading.turn(time.monotonic()) == [PATH]


def test_what_cannot_be_looked_at_is_owed(rereading: Rereading, source: FileStore, monkeypatch: pytest.MonkeyPatch):
    """A directory above it is shut: the log may be there, as it was edited."""
    with monkeypatch.context() as shut:
        shut.setattr(source, "look", lambda paths: iter(()))
        shut.setattr(source, "hides", lambda path, *, looked: looked and path == PATH)
        before = rereading.position
        assert rereading.rush(time.monotonic() + 5) == ([], False)
        assert (rereading.owed, rereading.position) == (1, before)
    assert rereading.rush(time.monotonic() + 5) == ([], True)
    assert rereading.owed == 0


@pytest.mark.parametrize("is_hidden", [True, False], ids=["a look", "a read"])
def test_what_cannot_be_read_holds_up_no_other_log(
    is_hidden: bool, source: FileStore, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Whoever ends has a moment for all of them: one that is shut is owed, and the others are read."""
    other = b"other.jsonl"
    bench = Bench(lambda: MemoryStore(parse("memory:"), LAYOUT))
    rereading = Rereading(source, bench.store, lambda _: 0.0, clock)
    for path in (PATH, other):
        bench.apply(*puts(bench.entry(path), DATA))
        (tmp_path / os.fsdecode(path)).write_bytes(DATA.replace(b"0", b"1", 1))
        rereading.grew(path)
    look, weigh = source.look, source.weigh

    def weighed(spans: Sequence[Span]) -> Iterator[tuple[int, bytes]]:
        if any(span.entry.path == PATH for span in spans):
            raise OSError(errno.EACCES, "permission denied")
        return iter(weigh(spans))

    if is_hidden:
        monkeypatch.setattr(source, "look", lambda paths: look([path for path in paths if path != PATH]))
        monkeypatch.setattr(source, "hides", lambda path, *, looked: looked and path == PATH)
    else:
        monkeypatch.setattr(source, "weigh", weighed)
    until = time.monotonic() + 60
    assert rereading.settle(until) == ([other], False)
    assert (rereading.owed, time.monotonic() < until) == (1, True)
