"""What is done last first, however much there is of it."""

from __future__ import annotations

import tracemalloc

import pytest

from crossfade.migrate import backwards
from crossfade.migrate.backwards import Backwards
from crossfade.model.changes import Remove, Touch
from crossfade.model.entries import Entry, Signature


def _change(number: int) -> Touch | Remove:
    path = b"d/%06d\xff\n" % number
    signature = Signature(number, -number, 2**62, 7) if number % 2 else None
    entry = Entry(path=path, type="dir", mode=0o2755, mtime_ns=-number, signature=signature, digest=b"\0\xff", row=number)
    return Remove(entry) if number % 3 else Touch(entry)


@pytest.mark.parametrize("count", [0, 1, 9, 10, 11, 20, 35])
def test_what_was_added_first_comes_last(count: int, monkeypatch: pytest.MonkeyPatch):
    """Every change as it was, as often as it is asked for, on disk or not."""
    monkeypatch.setattr(backwards, "_HELD", 10)
    found = Backwards()
    for number in range(count):
        found.add(_change(number))

    assert len(found) == count
    for _ in range(2):
        assert list(found) == [_change(number) for number in reversed(range(count))]


def test_a_million_directories_take_no_more_memory_than_a_thousand():
    """A tree may have as many of them as files; fifty thousand stand for them here."""
    tracemalloc.start()
    try:
        found = Backwards()
        for number in range(50_000):
            found.add(_change(number))
        last = None
        for change in found:
            last = change
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert last == _change(0)
    assert peak < 3 << 20
