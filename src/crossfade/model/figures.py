"""Figures: what validation compares instead of bytes and rows.

For each segment of an entry: its digest, how many records start in it, and a digest over their promoted columns. A database
computes the latter with ``record_send``, so the same bytes are made here (pos, the columns, the reason; type oids and lengths
in network order). Only these figures travel.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, repeat
from typing import Any, overload

import msgspec

from crossfade.model.changes import Block
from crossfade.model.digests import Segment
from crossfade.model.entries import SEGMENT
from crossfade.model.kinds import Kind
from crossfade.model.records import Lines, suspicious

OIDS = {"text": 25, "bigint": 20, "boolean": 16, "timestamp": 1184}
NULL = struct.pack("!i", -1)
_OID = struct.Struct("!i")
_PLACE = struct.Struct("!q")
_START = struct.Struct("!iii")
"""How many columns, the type of the first, and its length."""


@dataclass(frozen=True)
class Figure:
    """One segment: its digest; the records that start in it; the digest of their columns.

    ``raws`` is how many of the records a database says to be raw; a reader's figures do not say it.
    """

    segment: Segment
    records: int
    columns: bytes
    raws: int = 0


class Row(Sequence[Figure]):
    """The figures of one entry, in order. A log of a terabyte has a million: behind the first they are packed, a hundred bytes each."""

    def __init__(self) -> None:
        self._first: list[Figure] = []
        self._packed = bytearray()

    def append(self, figure: Figure) -> None:
        """One more."""
        if len(self._first) < _PLAIN:
            self._first.append(figure)
            return
        s = figure.segment
        numbers = s.number, s.offset, s.size, figure.records, figure.raws
        self._packed += _PACKED.pack(*numbers, len(s.digest), s.digest, len(figure.columns), figure.columns)

    def __len__(self) -> int:
        return len(self._first) + len(self._packed) // _PACKED.size

    def __iter__(self) -> Iterator[Figure]:
        first = iter(self._first)
        return chain(first, map(_unpacked, _PACKED.iter_unpack(self._packed))) if self._packed else first

    @overload
    def __getitem__(self, index: int) -> Figure: ...

    @overload
    def __getitem__(self, index: slice) -> list[Figure]: ...

    def __getitem__(self, index: int | slice) -> Figure | list[Figure]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        number = range(len(self))[index]
        if number < len(self._first):
            return self._first[number]
        return _unpacked(_PACKED.unpack_from(self._packed, (number - len(self._first)) * _PACKED.size))


_PLAIN = 64
_PACKED = struct.Struct("!qqqqqB32sB32s")


def _unpacked(values: tuple[Any, ...]) -> Figure:
    number, offset, size, records, raws, of_digest, digest, of_columns, columns = values
    return Figure(Segment(number, offset, size, digest[:of_digest]), records, columns[:of_columns], raws)


class Sheet(msgspec.Struct, gc=False):
    """The records of one block as they should stand in a table, column by column.

    ``places`` are their offsets, eight bytes each; ``columns`` the promoted columns and ``reasons`` why records are raw, as
    fields on the wire: each with its length, or NULL.
    """

    places: Sequence[bytes]
    columns: Sequence[Sequence[bytes]]
    reasons: Sequence[bytes]

    def __len__(self) -> int:
        return len(self.places)


def sheet_of(lines: Lines, offset: int | None) -> Sheet:
    """Lines that lie end to end from *offset* on; without one, documents, each of which begins an entry."""
    count = len(lines.lines)
    places = repeat(0, count) if offset is None else accumulate(map(len, lines.lines[:-1]), initial=offset)
    if lines.reasons is None:
        reasons = [NULL] * count
    else:
        reasons = [NULL if reason is None else field(reason.encode()) for reason in lines.reasons]
    return Sheet(list(map(_PLACE.pack, places)), lines.columns, reasons)


def field(value: bytes) -> bytes:
    """A value on the wire: its length, and its bytes."""
    return _OID.pack(len(value)) + value


class Encoding:
    """What ``record_send`` makes of the rows of one kind."""

    def __init__(self, kind: Kind) -> None:
        self._template: list[bytes] = [_START.pack(len(kind.columns) + 2, OIDS["bigint"], 8), b""]
        for column in kind.columns:
            self._template += [_OID.pack(OIDS[column.type]), b""]
        self._template += [_OID.pack(OIDS["text"]), b""]

    def of(self, sheet: Sheet) -> bytes:
        """All rows, one behind the other."""
        return b"".join(self._parts(sheet))

    def each(self, sheet: Sheet) -> Iterator[bytes]:
        """The rows, one by one."""
        parts, width = self._parts(sheet), len(self._template)
        return (b"".join(parts[at : at + width]) for at in range(0, len(parts), width))

    def _parts(self, sheet: Sheet) -> list[bytes]:
        parts, width = self._template * len(sheet), len(self._template)
        parts[1::width], parts[width - 1 :: width] = sheet.places, sheet.reasons
        for number, values in enumerate(sheet.columns):
            parts[3 + 2 * number :: width] = values
        return parts


class Gauge:
    """The records of blocks of one kind, from their bytes. *reader* reads records into fields."""

    def __init__(self, kind: Kind, reader: Any) -> None:
        self.kind = kind
        self.encoding = Encoding(kind)
        self._reader = reader

    def sheet(self, block: Block, captures: dict[str, str]) -> Sheet:
        """The rows that a block's bytes make."""
        bound = self._reader.bind(captures)
        if block.data and block.record is None and block.entry.form == "log":
            return self._of_lines(block, bound)
        found = self._record(block, bound)
        if found is None:
            return Sheet([], [[] for _ in self.kind.columns], [])
        return sheet_of(Lines([block.data], [found[0]], [[value] for value in found[1]]), block.offset)

    def _of_lines(self, block: Block, bound: Any) -> Sheet:
        offset, pieces = block.offset, list[Sheet]()
        for lines in self._reader.read_pieces(block.data, bound):
            pieces.append(sheet_of(lines, offset))
            offset += sum(map(len, lines.lines))
        columns = [list(chain.from_iterable(values)) for values in zip(*(piece.columns for piece in pieces), strict=True)]
        places, reasons = (piece.places for piece in pieces), (piece.reasons for piece in pieces)
        return Sheet(list(chain.from_iterable(places)), columns, list(chain.from_iterable(reasons)))

    def _record(self, block: Block, bound: Any) -> tuple[str | None, Sequence[bytes]] | None:
        """(why it is raw, promoted columns) of the one record that starts in *block*, if one does."""
        if not block.data or (block.record is not None and block.record != block.offset):
            return None
        if block.record is not None:
            return "long", self._reader.unread(bound)
        if block.entry.form == "blob":
            return None if self.kind.form == "blob" else "compressed", self._reader.unread(bound)
        found: tuple[str | None, Sequence[bytes]] = self._reader.read_bound(
            block.data, bound, suspect=suspicious(block.data)
        )
        return found


class Columns:
    """Folds the encoded rows of one entry, segment by segment, into one digest."""

    def __init__(self, whole: Any = None, part: Any = None, number: int = -1, records: int = 0) -> None:
        self._whole = whole or hashlib.sha256()
        self._part = part or hashlib.sha256()
        self._number = number
        self._records = records

    def add(self, offset: int, records: int, encoded: bytes) -> None:
        """Take the rows of a block that starts at *offset*. All of them start in one segment."""
        number = offset // SEGMENT
        if number != self._number:
            self._close()
            self._number, self._records, self._part = number, 0, hashlib.sha256()
        self._records += records
        self._part.update(encoded)

    def fork(self) -> Columns:
        """The same, to go on with and perhaps to throw away."""
        return Columns(self._whole.copy(), self._part.copy(), self._number, self._records)

    def finish(self) -> bytes:
        """The digest of the entry; the same as :func:`columns_of` makes of its figures."""
        self._close()
        return self._whole.digest()

    def _close(self) -> None:
        if self._records:
            self._whole.update(self._part.digest())
        self._records = 0


def columns_of_one(row: bytes) -> bytes:
    """The digest of the columns of an entry that is one record; the same as :class:`Columns` makes of it."""
    return hashlib.sha256(hashlib.sha256(row).digest()).digest()


def columns_of(figures: Sequence[Figure]) -> bytes:
    """One digest over the promoted columns of an entry."""
    whole = hashlib.sha256()
    for figure in figures:
        whole.update(figure.columns)
    return whole.digest()


class Figures:
    """Folds the blocks and records of one entry into figures."""

    def __init__(self) -> None:
        self._done = Row()
        self._number = -1

    def add(self, block: Block, records: int, encoded: bytes) -> None:
        """Take a block, how many records start in it, and their rows. All of them start in one segment."""
        number = block.offset // SEGMENT
        if number != self._number:
            self._close()
            self._number, self._offset, self._size, self._records = number, block.offset, 0, 0
            self._content, self._columns = hashlib.sha256(), hashlib.sha256()
        self._size += len(block.data)
        self._records += records
        self._content.update(block.data)
        self._columns.update(encoded)

    def finish(self) -> Row:
        """All figures of the entry."""
        self._close()
        return self._done

    def _close(self) -> None:
        if self._number >= 0 and self._size:
            segment = Segment(self._number, self._offset, self._size, self._content.digest())
            self._done.append(Figure(segment, self._records, self._columns.digest() if self._records else b""))
        self._number = -1
