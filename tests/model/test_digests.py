"""Digests: one definition, computed from wherever the bytes are, in one go or in many."""

from __future__ import annotations

import hashlib
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfade.model.cut import cut
from crossfade.model.digests import EMPTY, Digester, Segment, digest_of
from crossfade.model.entries import RECORD_LIMIT, SEGMENT, Entry
from crossfade.testing.contract import digest_by_hand, lines, puts


def digest(data: bytes, form: str, **limits: int) -> bytes:
    """As a store computes it."""
    digester = Digester()
    for part in cut(io.BytesIO(data).read, form, **limits):  # type: ignore[arg-type]
        digester.add(part.offset, part.data)
    return digester.finish()


CONTENT = {
    "empty": b"",
    "one-byte": b"x",
    "one-segment": lines(SEGMENT)[:SEGMENT],
    "one-segment-and-a-byte": lines(SEGMENT)[:SEGMENT] + b"x",
    "three-segments": lines(3 * SEGMENT),
    "wide-line": b"a\n" + b"b" * (3 * SEGMENT) + b"\nc\n",
    "torn": lines(SEGMENT) + b"torn",
}


@pytest.mark.parametrize("name", CONTENT)
@pytest.mark.parametrize("form", ["log", "document", "blob"])
def test_a_digest_is_what_its_definition_says(name, form):
    """SHA-256 over the SHA-256 of each segment, a segment being the records that start in one stretch."""
    assert digest(CONTENT[name], form) == digest_by_hand(CONTENT[name], form)


def test_a_digest_by_nothing_but_hashlib():
    """Written out, so that another program can check it: two lines in the first stretch, one in the second."""
    first, second = b"a\n" + b"b" * SEGMENT + b"\n", b"c\n"
    segments = hashlib.sha256(first).digest() + hashlib.sha256(second).digest()

    assert digest(first + second, "log") == hashlib.sha256(segments).digest()
    assert digest(b"x" * SEGMENT + b"y", "blob") == hashlib.sha256(hashlib.sha256(b"x" * SEGMENT + b"y").digest()).digest()
    assert digest(b"", "log") == EMPTY == hashlib.sha256(b"").digest()


def test_the_pieces_of_a_long_record_are_segments_too():
    """A record over the limit is digested piece by piece, or memory would not be flat."""
    data = b"x" * (RECORD_LIMIT + 1)

    assert digest(data, "blob") == digest_by_hand(data, "blob")
    assert digest(data, "blob") != digest(data[:-1], "blob")


@given(st.integers(1, 5000), st.integers(1, 2000))
def test_a_digest_does_not_depend_on_the_size_of_blocks(block_bytes, block_records):
    """Pages may be cut to any size, and are."""
    data = lines(20_000)

    assert digest(data, "log", block_bytes=block_bytes, block_records=block_records) == digest_by_hand(data, "log")


def test_a_digest_goes_on_behind_any_whole_segment():
    """A resumed copy does not read again what is there."""
    data = lines(4 * SEGMENT)
    whole = puts(Entry(b"x", form="log"), data)
    segments = tuple(segment for put in whole for segment in put.segments)
    for count in range(len(segments) + 1):
        assert puts(Entry(b"x", form="log"), data, segments[:count])[-1].digest == whole[-1].digest

    assert digest_of(segments) == whole[-1].digest
    assert [s.offset + s.size for s in segments[:-1]] == [s.offset for s in segments[1:]]
    assert [s.number for s in segments] == [s.offset // SEGMENT for s in segments]


def test_segments_are_told_of_once():
    """Each is written into the page that made it whole."""
    digester = Digester()
    digester.add(0, b"a" * SEGMENT)
    assert digester.fresh() == ()

    digester.add(SEGMENT, b"b")
    assert digester.fresh() == (Segment(0, 0, SEGMENT, hashlib.sha256(b"a" * SEGMENT).digest()),)
    assert digester.fresh() == ()


def test_a_gap_is_noticed():
    """Bytes that are missing must not look like bytes that were never there."""
    digester = Digester()
    digester.add(0, b"abc")
    with pytest.raises(AssertionError):
        digester.add(4, b"d")


def test_order_and_place_count():
    """Two records that changed places, or a byte that moved to the next segment, are another content."""
    data = lines(2 * SEGMENT)
    half = data.index(b"\n", SEGMENT) + 1

    assert len({digest(data, "log"), digest(data[half:] + data[:half], "log"), digest(data, "blob")}) == 3
