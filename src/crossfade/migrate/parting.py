"""Blocks in parts: those that a page can hold, and those that a target has already."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from crossfade.migrate.plan import Limits
from crossfade.model.changes import Block
from crossfade.model.digests import Growing
from crossfade.model.entries import SEGMENT, Entry, Signature


def lines_in(data: bytes) -> int:
    """How many lines end in *data*."""
    return data.count(b"\n")


def parts(block: Block, limits: Limits, count: Callable[[bytes], int] = lines_in) -> Iterator[Block]:
    """*block* in parts that a page can hold. Only whole lines of a log come apart: any other block is one record, or a piece."""
    if block.entry.form != "log" or block.record is not None or not block.data:
        yield block
        return
    page_bytes = (
        limits.page_bytes if limits.page_bytes < SEGMENT else len(block.data)
    )  # else a sliver would have its own page
    page_records = limits.page_records if count(block.data) > limits.page_records else 0
    start, size = 0, len(block.data)
    while start < size:
        end = _end_of_part(block.data, start, page_bytes, page_records)
        yield Block(block.entry, block.offset + start, block.data[start:end], None, block.last and end == size)
        start = end


def _end_of_part(data: bytes, start: int, page_bytes: int, page_records: int) -> int:
    """Where the part from *start* on ends: behind the last line that fits, and behind the first in any case."""
    end = len(data)
    if end - start > page_bytes:
        end = data.rfind(b"\n", start, start + page_bytes) + 1 or data.find(b"\n", start) + 1 or end
    last = start
    for _ in range(page_records):
        last = data.find(b"\n", last, end) + 1
        if not last:
            return end
    return last if page_records else end


def begins_with(known: Entry, blocks: Iterable[Block]) -> tuple[Growing, Signature | None] | None:
    """The digest of *known*, to go on from, where it is how *blocks* begin; and the signature that these were read under.

    None where they begin otherwise, or where *known* ends within a record. No more is read than that takes.
    """
    growing = Growing()
    for block in blocks:
        data = block.data[: known.size - growing.size]
        growing.add(block.offset, data)
        if growing.size == known.size:
            is_whole = block.entry.form == known.form and block.record is None and data.endswith(b"\n")
            return (growing, block.entry.signature) if is_whole and growing.digest() == known.digest else None
    return None
