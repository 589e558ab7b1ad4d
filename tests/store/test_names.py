"""The names of one directory, sorted: in memory, and on disk where they are many."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfade.model import layouts
from crossfade.model.paths import key_of
from crossfade.store.backends.file import names
from crossfade.store.backends.file.store import FileStore
from crossfade.store.location import parse

NAMES = st.binary(min_size=1, max_size=12).map(lambda name: name.replace(b"\0", b"\n").replace(b"/", b"\xff"))


@pytest.mark.parametrize("run", [1, 3, 100])
@given(found=st.sets(NAMES, max_size=40))
def test_names_come_in_bytewise_order(run: int, found: set[bytes]):
    """Whatever bytes they are of, in one run or in many."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(names, "_RUN", run)
        patch.setattr(names, "_CHUNK", 7)

        assert list(names.in_order(iter(found))) == sorted(found)


def test_many_names_take_the_memory_of_a_few():
    """A directory may hold more names than a runner has memory for."""
    every = (b"%032x" % (number * 0x9E3779B97F4A7C15 % 2**64) for number in range(300_000))
    tracemalloc.start()
    try:
        last, count = b"", 0
        for name in names.in_order(every):
            assert name > last
            last, count = name, count + 1
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert count == 300_000
    assert peak < 12 << 20, "in one list they take 24 MB"


def test_a_walk_is_the_same_with_names_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Also when it descends in between, and when nobody wants the rest."""
    for number in range(60):
        (tmp_path / f"d{number}.x").mkdir()
        (tmp_path / f"d{number}.x" / "below").write_bytes(b"")
        (tmp_path / f"d{number}").write_bytes(b"")
    store = FileStore(parse(str(tmp_path)), layouts.load("generic"))
    in_memory = [entry.path for entry in store.entries()]
    monkeypatch.setattr(names, "_RUN", 7)
    before = len(os.listdir("/proc/self/fd"))

    assert [entry.path for entry in store.entries()] == in_memory == sorted(in_memory, key=key_of)
    assert len(in_memory) == 181
    walk = store.entries()
    next(walk), next(walk)
    del walk
    store.close()
    assert len(os.listdir("/proc/self/fd")) <= before
