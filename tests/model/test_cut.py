"""Cutting bytes into blocks: the same in every store, however the bytes arrive and wherever it goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from crossfade.model import cut as module
from crossfade.model.cut import Slice, cut, form_of
from crossfade.model.kinds import Form

SEGMENT, LIMIT = 16, 40
"""Instead of 1 MiB and 16 MiB, so that Hypothesis meets every boundary."""

lines = st.lists(st.one_of(st.integers(0, 12), st.integers(30, 130)), max_size=12).map(
    lambda sizes: b"".join(b"%c" % (97 + n % 26) * size + b"\n" for n, size in enumerate(sizes))
)
content = st.one_of(lines, st.tuples(lines, st.binary(max_size=90)).map(b"".join), st.binary(max_size=300))
forms: st.SearchStrategy[Form] = st.sampled_from(["log", "document", "blob"])
limits = st.tuples(st.integers(1, 40), st.integers(1, 6)) | st.just((SEGMENT, 1 << 30))
chunks = st.lists(st.integers(1, 60), min_size=1, max_size=8) | st.just([1 << 20])


@pytest.fixture(autouse=True, scope="module")
def small_constants() -> Iterator[None]:
    """Segments of 16 bytes, records of 40."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SEGMENT", SEGMENT)
        patch.setattr(module, "RECORD_LIMIT", LIMIT)
        patch.setattr(module, "_READ", 24)
        yield


def reader(data: bytes, sizes: list[int]) -> Callable[[int], bytes]:
    """A read function that delivers *data* in pieces of *sizes*, over and over."""
    position, calls = 0, 0

    def read(size: int) -> bytes:
        nonlocal position, calls
        part = data[position : position + min(size, sizes[calls % len(sizes)])]
        position, calls = position + len(part), calls + 1
        return part

    return read


def sliced(
    data: bytes, form: Form, sizes: list[int], limit: tuple[int, int], offset: int = 0, within: int | None = None
) -> list[Slice]:
    """All slices of *data* from *offset* on."""
    source = reader(data[offset:], sizes)
    return list(cut(source, form, offset=offset, within=within, block_bytes=limit[0], block_records=limit[1]))


def records(data: bytes, form: Form) -> dict[int, int]:
    """The reference: where each record starts, and its size."""
    found, offset = {}, 0
    for record in data.split(b"\n") if form == "log" else [data]:
        size = len(record) + (form == "log")
        found[offset] = min(size, len(data) - offset)
        offset += size
    return {start: size for start, size in found.items() if size}


@given(content, forms, chunks, limits)
def test_slices_are_the_content_in_order(data, form, sizes, limit):
    """Not one byte more or less, and exactly one slice says that it is the last."""
    found = sliced(data, form, sizes, limit)

    assert b"".join(part.data for part in found) == data
    assert [part.offset for part in found] == [sum(len(part.data) for part in found[:n]) for n in range(len(found))]
    assert [part.last for part in found] == [False] * (len(found) - 1) + [True]


@given(content, forms, chunks, limits)
def test_slices_are_whole_records_or_pieces_of_one_long_record(data, form, sizes, limit):
    """A record is long by its own size, whatever surrounds it and however it was read."""
    expected = records(data, form)
    for part in sliced(data, form, sizes, limit):
        within = [
            start for start, size in expected.items() if start < part.offset + len(part.data) and start + size > part.offset
        ]
        if part.record is None:
            assert within == [] or (
                within[0] == part.offset and within[-1] + expected[within[-1]] == part.offset + len(part.data)
            )
            assert all(expected[start] <= LIMIT for start in within)
        else:
            assert within == [part.record]
            assert expected[part.record] > LIMIT
            assert len(part.data) <= SEGMENT
            assert (part.offset - part.record) % SEGMENT == 0


@given(content, forms, chunks, limits)
def test_no_slice_spans_a_segment(data, form, sizes, limit):
    """All records of a slice start in one segment; that is what digests are made of."""
    starts = records(data, form)
    for part in sliced(data, form, sizes, limit):
        inside = [start for start in starts if part.offset <= start < part.offset + len(part.data)]

        assert {start // SEGMENT for start in [part.offset, *inside]} == {part.offset // SEGMENT}


@given(content, chunks, limits)
def test_records_of_a_log_end_with_a_newline_but_for_the_last(data, sizes, limit):
    """A torn last line is a record too, and the only one without an ending."""
    found = [part for part in sliced(data, "log", sizes, limit) if part.record is None and part.data]
    for part in found[:-1]:
        assert part.data.endswith(b"\n")


@given(content, chunks, limits)
@example(b"\n\n\n\n\nfffffffffff\n", [1 << 20], (12, 2))
def test_slices_keep_to_the_limits_plus_one_record(data, sizes, limit):
    """Memory is bounded by the configuration, not by the content."""
    for part in sliced(data, "log", sizes, limit):
        if part.record is None and part.data.count(b"\n") > 1:
            assert part.data.count(b"\n") <= limit[1]
            assert limit[0] >= SEGMENT or len(part.data) <= limit[0]


@given(content, forms, chunks, chunks, limits, st.data())
def test_cutting_goes_on_from_any_slice_as_if_it_had_never_stopped(data, form, sizes, other_sizes, limit, draw):
    """The same bytes, and the same long records; where short lines are grouped depends on what was read ahead."""
    every = sliced(data, form, sizes, limit)
    number = draw.draw(st.integers(0, len(every) - 1))
    here = every[number]
    within = here.record if here.record is not None and here.record < here.offset else None
    again = sliced(data, form, other_sizes, limit, here.offset, within)

    assert b"".join(part.data for part in again) == data[here.offset :]
    assert [p for p in again if p.record is not None] == [p for p in every[number:] if p.record is not None]
    assert again[-1].last


@given(content, forms, limits)
def test_cutting_goes_on_behind_the_end(data, form, limit):
    """Nothing is left: one empty slice, which says so."""
    assert sliced(data, form, [7], limit, len(data)) == [Slice(len(data), b"", None, last=True)]


@pytest.mark.parametrize("size", [LIMIT - 1, LIMIT, LIMIT + 1])
@pytest.mark.parametrize("end", [b"\n", b""])
def test_a_record_of_exactly_the_limit_is_not_long(size, end):
    """The limit is the largest that is kept in one piece, its line ending included."""
    data = b"x" * (size - len(end)) + end
    for form in ("log", "document"):
        found = sliced(data, form, [7], (SEGMENT, 1 << 30))

        assert {part.record for part in found} == ({None} if size <= LIMIT else {0})


def test_empty_content_is_one_empty_slice():
    """An empty file is a file: it needs something that brings it."""
    for form in ("log", "document", "blob"):
        assert sliced(b"", form, [7], (SEGMENT, 1)) == [Slice(0, b"", None, last=True)]


@pytest.mark.parametrize("head", [b"\x1f\x8b\x08\x00", b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18"])
def test_compressed_content_is_told_by_its_first_bytes(head):
    """Rotation writes plain lines under the name .gz, and gzip under the name .jsonl."""
    assert form_of("log", head + b"rest") == "blob"
    assert form_of("log", b"{" + head) == "log"
    assert form_of("document", head[:1]) == "document"


@pytest.mark.parametrize("before", [b"", b"short\n", b"x" * (LIMIT - 1) + b"\n"])
@pytest.mark.parametrize("read", [1, SEGMENT, 1 << 20])
def test_a_long_line_that_is_at_hand_as_a_whole_comes_in_pieces(before: bytes, read: int):
    """However much was read at a time, and whatever stands before it."""
    data = before + b"y" * LIMIT + b"\n" + b"after\n"
    found = list(cut(reader(data, [read]), "log"))

    assert b"".join(part.data for part in found) == data
    assert {part.record for part in found} == {None, len(before)}
    assert max(len(part.data) for part in found if part.record is not None) == SEGMENT
