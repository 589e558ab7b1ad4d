"""A read that breaks goes on as if it had not: the same blocks, with no byte twice and no record taken for a piece."""

from __future__ import annotations

import psycopg
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from crossfade.model import cut as cutting
from crossfade.model.changes import Block, Page, Put
from crossfade.model.entries import Entry
from crossfade.store.backends.memory import MemoryStore
from crossfade.store.layers.retrying import Patience, Retrying
from crossfade.store.location import parse
from crossfade.store.port import Reading
from crossfade.testing.contract import LAYOUT

SEGMENT, LIMIT = 16, 40


@pytest.fixture(autouse=True, scope="module")
def small_constants():
    """Segments of 16 bytes, records of 40; no waiting."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cutting, "SEGMENT", SEGMENT)
        patch.setattr(cutting, "RECORD_LIMIT", LIMIT)
        patch.setattr(cutting, "_READ", 24)
        patch.setattr("crossfade.store.patience.time.sleep", lambda seconds: None)
        yield


class Breaking(MemoryStore):
    """A store of which a read breaks after so many blocks, each time fewer."""

    def __init__(self, after: list[int]) -> None:
        super().__init__(parse("memory:"), LAYOUT)
        self.after = after

    def read(self, readings):
        left = self.after.pop() if self.after else 1 << 30
        for block in super().read(readings):
            if not left:
                raise psycopg.OperationalError("the connection broke")
            left -= 1
            yield block


contents = st.lists(
    st.lists(st.integers(0, 100), max_size=6).map(lambda sizes: b"".join(b"x" * size + b"\n" for size in sizes))
    | st.binary(max_size=100),
    min_size=1,
    max_size=3,
)


@settings(max_examples=300)
@example([b"x" * 50 + b"\n" + b"y\n"], [4], "log")
@example([b"x" * 50 + b"\n" + b"y" * 50], [5, 1], "log")
@example([b"x" * 15 + b"\n" + b"y" * 50], [1, 1], "document")
@given(contents, st.lists(st.integers(0, 9), max_size=5), st.sampled_from(["log", "document"]))
def test_a_read_that_breaks_goes_on_as_if_it_had_not(contents, after, form):
    """At any block, several times: in a long line, between two, and between two entries."""
    store = Breaking([])
    entries = [Entry(b"%d" % number, form=form, mtime_ns=1) for number in range(len(contents))]
    store.apply(Page(tuple(Put(Block(entry, 0, data, last=True)) for entry, data in zip(entries, contents, strict=True))))
    readings = [Reading(entry) for entry in entries]
    expected = list(store.read(readings))
    store.after = after
    told: list[BaseException] = []
    found = list(Retrying(store, Patience(), told.append).read(readings))

    for entry, data in zip(entries, contents, strict=True):
        assert b"".join(block.data for block in found if block.entry is entry) == data
    long = [(block.entry.path, block.offset, block.data, block.record) for block in expected if block.record is not None]
    assert [(b.entry.path, b.offset, b.data, b.record) for b in found if b.record is not None] == long
    assert [block.entry.path for block in found if block.last] == [entry.path for entry in entries]
