"""Figures: what validation compares instead of bytes and rows.

For each segment of an entry: its digest, how many records start in it, and a digest over their promoted columns. A database
computes the latter with ``record_send``, so the same bytes are made here (pos, the columns, the reason; type oids and lengths
in network order). Only these figures travel.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from crossfade.model.changes import Block
from crossfade.model.digests import Segment
from crossfade.model.entries import SEGMENT
from crossfade.model.kinds import Kind
from crossfade.model.records import split_lines, suspicious

OIDS = {"text": 25, "bigint": 20, "boolean": 16, "timestamp": 1184}
NULL = struct.pack("!i", -1)
_OID = struct.Struct("!i")
_POS = struct.Struct("!iq")


@dataclass(frozen=True)
class Figure:
    """One segment: its digest; the records that start in it; the digest of their columns."""

    segment: Segment
    records: int
    columns: bytes


@dataclass(frozen=True)
class Record:
    """One record as it should stand in a table: columns as fields on the wire (length and bytes, or NULL)."""

    pos: int
    reason: str | None
    fields: Sequence[bytes]


class Gauge:
    """Figures and records of entries of one kind, from their bytes. *reader* reads records into fields."""

    def __init__(self, kind: Kind, reader: Any) -> None:
        self.kind = kind
        self._reader = reader
        self._template: list[bytes] = [_OID.pack(len(kind.columns) + 2) + _OID.pack(OIDS["bigint"]), b""]
        for column in kind.columns:
            self._template += [_OID.pack(OIDS[column.type]), b""]
        self._template += [_OID.pack(OIDS["text"]), b""]

    def records(self, block: Block, captures: dict[str, str]) -> Iterator[Record]:
        """The rows that a block's bytes make."""
        bound = self._reader.bind(captures)
        if not block.data:
            return
        if block.record is not None:
            if block.record == block.offset:
                yield Record(block.offset, "long", self._reader.unread(bound))
        elif block.entry.form == "blob":
            yield Record(block.offset, None if self.kind.form == "blob" else "compressed", self._reader.unread(bound))
        else:
            pos, suspect = block.offset, suspicious(block.data)
            for data in (block.data,) if block.entry.form == "document" else split_lines(block.data):
                yield Record(pos, *self._reader.read_bound(data, bound, suspect=suspect))
                pos += len(data)

    def encoded(self, record: Record) -> bytes:
        """What ``record_send`` makes of the row."""
        parts = self._template
        reason = NULL if record.reason is None else _field(record.reason.encode())
        parts[1] = _POS.pack(8, record.pos)
        parts[3::2] = [*record.fields, reason]
        return b"".join(parts)


def _field(value: bytes) -> bytes:
    return _OID.pack(len(value)) + value


class Figures:
    """Folds the blocks and records of one entry into figures."""

    def __init__(self) -> None:
        self._done: list[Figure] = []
        self._number = -1

    def add(self, block: Block, rows: Iterable[bytes]) -> None:
        """Take a block and its encoded rows. All of them start in one segment."""
        number = block.offset // SEGMENT
        if number != self._number:
            self._close()
            self._number, self._offset, self._size, self._records = number, block.offset, 0, 0
            self._content, self._columns = hashlib.sha256(), hashlib.sha256()
        encoded = list(rows)
        self._size += len(block.data)
        self._records += len(encoded)
        self._content.update(block.data)
        self._columns.update(b"".join(encoded))

    def finish(self) -> tuple[Figure, ...]:
        """All figures of the entry."""
        self._close()
        return tuple(self._done)

    def _close(self) -> None:
        if self._number >= 0 and self._size:
            segment = Segment(self._number, self._offset, self._size, self._content.digest())
            self._done.append(Figure(segment, self._records, self._columns.digest() if self._records else b""))
        self._number = -1
