"""Logs that were followed by their ends are read again, and what cannot be read is owed, not forgotten."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import pytest

from crossfade.migrate.follow.rereading import Rereading
from crossfade.store.backends.file.store import FileStore
from crossfade.store.backends.memory import MemoryStore
from crossfade.store.location import parse
from crossfade.testing.contract import LAYOUT, Bench, puts

PATH = b"log.jsonl"
DATA = b'{"id":"0123456789"}\n' * 10


@pytest.fixture
def source(tmp_path: Path) -> FileStore:
    (tmp_path / os.fsdecode(PATH)).write_bytes(DATA)
    return FileStore(parse(str(tmp_path)), LAYOUT)


@pytest.fixture
def rereading(source: FileStore) -> Rereading:
    """One that has heard that the log grew."""
    bench = Bench(lambda: MemoryStore(parse("memory:"), LAYOUT))
    bench.apply(*puts(bench.entry(PATH), DATA))
    made = Rereading(source, bench.store, lambda _: 0.0)
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
