"""The figures of an entry, however many there are."""

from __future__ import annotations

import hashlib
import tracemalloc

import pytest

from crossfade.model.digests import Segment, digest_of
from crossfade.model.entries import SEGMENT
from crossfade.model.figures import Figure, Row, columns_of


def _figure(number: int) -> Figure:
    """One with everything, and with nothing: no bytes, no records."""
    digest = hashlib.sha256(b"%d" % number).digest() if number % 7 else b""
    columns = hashlib.sha256(digest).digest() if number % 5 else b""
    offset = -(2**63) if number == 3 else number * SEGMENT
    return Figure(Segment(number, offset, SEGMENT - number % 2, digest), number % 3, columns, number % 2)


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 500])
def test_a_row_is_what_was_put_in(count: int):
    """Plain or packed."""
    figures, row = [_figure(number) for number in range(count)], Row()
    for figure in figures:
        row.append(figure)

    assert (list(row), len(row), bool(row)) == (figures, count, bool(count))
    assert [row[number] for number in range(-count, count)] == figures * 2
    assert row[1:-1] == figures[1:-1]
    with pytest.raises(IndexError):
        row[count]
    assert columns_of(row) == hashlib.sha256(b"".join(figure.columns for figure in figures)).digest()
    assert digest_of(f.segment for f in row) == hashlib.sha256(b"".join(f.segment.digest for f in figures)).digest()


def test_a_log_of_many_segments_takes_a_hundred_bytes_for_each():
    """A terabyte has a million of them, on both sides; folding them to a digest takes no more."""
    count = 20_000
    tracemalloc.start()
    try:
        row = Row()
        for number in range(count):
            row.append(_figure(number))
        (columns_of(row), digest_of(figure.segment for figure in row))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak / count < 150, f"{peak / count:.0f} bytes each"
