"""What is read in blocks is written in pages of the size that was asked for, whatever that is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from crossfade.migrate.parting import parts
from crossfade.migrate.plan import Limits
from crossfade.model.changes import Block
from crossfade.model.entries import Entry

LOG = Entry(b"a.jsonl", form="log")


@given(
    lines=st.lists(st.binary(max_size=9).map(lambda line: line.replace(b"\n", b"") + b"\n"), min_size=1, max_size=20),
    torn=st.booleans(),
    last=st.booleans(),
    page_bytes=st.integers(1, 40),
    page_records=st.integers(1, 8),
)
def test_a_log_comes_apart_at_line_ends_and_nowhere_else(lines, torn, last, page_bytes, page_records):
    """Nothing is lost or moved, no part is over a limit unless it is a single line, and only the final one is the last."""
    data = b"".join(lines)[: -1 if torn else None]
    found = list(parts(Block(LOG, 7, data, None, last), Limits(page_bytes, page_records)))

    assert b"".join(part.data for part in found) == data
    assert [part.offset for part in found] == [7 + sum(len(p.data) for p in found[:n]) for n in range(len(found))]
    assert [part.last for part in found] == [False] * (len(found) - 1) + [last]
    for part in found:
        assert part.data.count(b"\n") <= page_records
        assert len(part.data) <= page_bytes or b"\n" not in part.data[:-1]
    assert all(part.data.endswith(b"\n") for part in found[:-1])


def test_what_is_no_log_and_what_is_a_piece_stays_whole():
    """A document is one record, and so is a piece of a long line: a page takes it, however large."""
    document, piece = Block(Entry(b"a.json", form="document"), 0, b"{\n}\n"), Block(LOG, 0, b"[1,\n", record=0)

    assert list(parts(document, Limits(1, 1))) == [document]
    assert list(parts(piece, Limits(1, 1))) == [piece]
