"""What a log has grown by since the target had it, proven by digest before the first byte of it is written.

A database knows the digest of every log that it holds. So what the target has is the log's beginning if, folded on with what
is read behind it, it comes to that digest; then only what is behind it has to move.
"""

from __future__ import annotations

import errno
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import msgspec

from crossfade.migrate.decide import Task
from crossfade.migrate.placing import generation_of, is_ours, row_of, source_of, target_of, touched
from crossfade.model.changes import Block, Change, Put, Touch
from crossfade.model.digests import Growing, Segment
from crossfade.model.entries import Entry, altered
from crossfade.store.port import Reading, Store

_KEPT = 4096

_Grown = tuple[Block, bytes, tuple[Segment, ...]]
"""Bytes that are to be written behind the last ones; what the log comes to with them; the segments that became whole."""


@dataclass(frozen=True)
class Held:
    """What the target has of a log: so many bytes, with this digest."""

    size: int
    digest: bytes


@dataclass(frozen=True)
class End:
    """Where a log ended, behind a whole record, when it was last read; and what its bytes came to."""

    row: int
    size: int
    growing: Growing


class Ends:
    """Those of the logs that grew last."""

    def __init__(self, kept: int = _KEPT) -> None:
        self._kept = kept
        self._ends: OrderedDict[bytes, End] = OrderedDict()

    def find(self, entry: Entry, held: Held) -> Growing | None:
        """What the bytes of *entry* came to where *held* ends, if that is known."""
        end = self._ends.get(entry.path)
        if end is None or (end.row, end.size) != (entry.row, held.size) or end.growing.digest() != held.digest:
            return None
        self._ends.move_to_end(entry.path)
        return end.growing

    def keep(self, block: Block, growing: Growing) -> None:
        """A log ends with *block*, and comes to *growing*."""
        if not block.data:
            return
        if block.record is not None or not block.data.endswith(b"\n"):
            self._ends.pop(block.entry.path, None)
            return
        self._ends[block.entry.path] = End(block.entry.row, block.end, growing)
        self._ends.move_to_end(block.entry.path)
        if len(self._ends) > self._kept:
            self._ends.popitem(last=False)


class Growth:
    """Finds what logs of *source*, a database, have grown by since *target* had them."""

    def __init__(self, source: Store, target: Store) -> None:
        self._source = source
        self._target = target
        self._ends = Ends()

    def of(self, task: Task) -> Iterator[Change] | None:
        """The changes that bring what a log has grown by; None where it is to be looked at, or brought, as a whole.

        A read of one entry twice is one snapshot: it is proven first, then brought.
        """
        held = self._held(task)
        if held is None:
            return None
        growing, start = self._before(source_of(task), held)
        reading = Reading(source_of(task), start)
        blocks = self._source.read([reading, reading])
        begin = _proven(blocks, growing.fork(), held, start)
        if begin is None:
            return None
        return self._changes(task, self._behind(blocks, growing, begin if self._target.can.digests else held.size))

    def _held(self, task: Task) -> Held | None:
        source, target = source_of(task), task.target
        if source.form != "log" or source.digest is None or target is None or target.type != "file":
            return None
        if not self._target.can.digests:
            digest = source.marked if is_ours(task) else next(self._target.digest([target]))[1]
        else:
            is_held = target.complete and target.form == "log" and target.within is None and target.size < source.size
            digest = target.digest if is_held else None
        return None if digest is None else Held(target.size, digest)

    def _changes(self, task: Task, grown: Iterator[_Grown]) -> Iterator[Change]:
        onto = None if self._target.can.digests else target_of(task).signature
        row, generation = row_of(task, self._target), generation_of(task, fresh=onto is not None)
        for block, digest, segments in grown:
            if not block.data:
                yield Touch(touched(task, row))
                continue
            entry = altered(block.entry, generation=generation, row=row, records=0, raws=0)
            named = msgspec.structs.replace(block, entry=entry)
            yield Put(named, segments, digest if block.last or onto else None, onto)

    def _before(self, entry: Entry, held: Held) -> tuple[Growing, int]:
        """A place at or before the end of what is held, and what the bytes up to there came to."""
        known = self._ends.find(entry, held)
        if known is not None:
            return known.fork(), held.size
        whole = [segment for segment in self._source.segments(entry) if segment.offset + segment.size < held.size]
        return Growing.after(whole), whole[-1].offset + whole[-1].size if whole else 0

    def _behind(self, blocks: Iterator[Block], growing: Growing, begin: int) -> Iterator[_Grown]:
        for block in blocks:
            segments = growing.add(block.offset, block.data) if block.data else ()
            if block.last and growing.digest() != block.entry.digest:
                raise FileNotFoundError(errno.ENOENT, "it changed while it was read", block.entry.path)
            if block.last:
                self._ends.keep(block, growing)
                segments = (*segments, *growing.last())
            skipped = min(max(begin - block.offset, 0), len(block.data))
            if skipped < len(block.data) or block.last:
                rest = msgspec.structs.replace(block, offset=block.offset + skipped, data=block.data[skipped:])
                yield rest, growing.digest(), segments


def _proven(blocks: Iterator[Block], growing: Growing, held: Held, start: int) -> int | None:
    """Read an entry to its end: where the record begins in which *held* ends, if that is the entry's beginning."""
    begin = start if start == held.size and growing.digest() == held.digest else None
    while (block := _next(blocks)) is not None:
        if block.entry.form != "log" or not block.entry.digest:
            return None
        if begin is None and block.offset <= held.size <= block.end and _comes_to(growing, block, held):
            begin = _record_at(block, held.size)
        if block.data:
            growing.add(block.offset, block.data)
        if block.last:
            return begin if growing.digest() == block.entry.digest and block.end >= held.size else None
    return None


def _next(blocks: Iterator[Block]) -> Block | None:
    """The next of *blocks*; None where no record begins there any more: the log was rewritten, or is gone."""
    with suppress(FileNotFoundError):
        return next(blocks, None)
    return None


def _comes_to(growing: Growing, block: Block, held: Held) -> bool:
    """True where the bytes up to the end of *held*, which lies in *block*, have its digest."""
    upto, data = growing.fork(), block.data[: held.size - block.offset]
    if data:
        upto.add(block.offset, data)
    return upto.digest() == held.digest


def _record_at(block: Block, offset: int) -> int | None:
    """Where the record begins that goes on at *offset*, or begins there; None within a long one."""
    if block.record is not None:
        return offset if offset == block.record or block.data[: offset - block.offset].endswith(b"\n") else None
    return block.offset + block.data.rfind(b"\n", 0, offset - block.offset) + 1
