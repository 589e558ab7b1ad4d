"""Records as rows of COPY … (FORMAT binary).

Binary, because it needs no escaping on this side and no parsing on the other: a json body travels as its own bytes.
Fields: store_id, entry_id, pos, the promoted columns, reason, body, raw.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec

from crossfade.model.changes import Block
from crossfade.model.columns import TEXT_BYTES_MAX, Convert, converter, second, text, timestamp
from crossfade.model.figures import NULL, Sheet, sheet_of
from crossfade.model.kinds import Column, Kind
from crossfade.model.promotion import Bound, ConvertAll
from crossfade.model.records import Lines, Reader, split_lines, suspicious

SIGNATURE = b"PGCOPY\n\xff\r\n\x00" + struct.pack("!ii", 0, 0)
TRAILER = struct.pack("!h", -1)

_LENGTH = struct.Struct("!i")
_BIGINT = struct.Struct("!iq")
_HEAD = struct.Struct("!hiiiqi")
"""The start of a row: how many fields, store_id, entry_id, and the length of the pos that follows."""

_TRUE, _FALSE = struct.pack("!i?", 1, True), struct.pack("!i?", 1, False)


@dataclass(frozen=True)
class Row:
    """One encoded row, and the stretch of the entry that it stands for."""

    pos: int
    size: int
    parts: list[bytes]
    reason: str | None

    @property
    def data(self) -> bytes:
        """As it is sent."""
        return b"".join(self.parts)


class Encoded(msgspec.Struct, gc=False):
    """Rows of a block: ready to be sent, one part behind the other; their promoted columns; why some of them are raw.

    They stand for ``size`` bytes of the entry from ``offset`` on; ``last`` says that it ends with them.
    """

    offset: int
    size: int
    rows: list[bytes]
    sheet: Sheet
    raws: list[str]
    last: bool


class Documents(msgspec.Struct, gc=False):
    """The rows of whole documents, one behind the other; their promoted columns; why each is raw, where it is."""

    rows: bytes
    sheet: Sheet
    reasons: list[str | None]


class Encoder:
    """Encodes blocks of one kind into rows of its table."""

    def __init__(self, kind: Kind, store_id: int) -> None:
        self.kind = kind
        self._reader = Reader(kind, field_of, NULL, fields_of)
        self._store_id = store_id
        self._fields = 3 + len(kind.columns) + 3
        self._nothing = [NULL] * len(kind.columns)

    def encode(self, entry_id: int, block: Block, captures: dict[str, str]) -> Iterator[Encoded]:
        """The rows of a block, a few at a time; once at least."""
        if block.record is None and block.data and block.entry.form == "log":
            yield from self._log(entry_id, block, captures)
        else:
            rows = self.rows(entry_id, block, captures)
            parts, width = [part for row in rows for part in row.parts], self._fields
            sheet = Sheet(parts[1::width], [parts[at::width] for at in range(2, width - 4)], parts[width - 4 :: width])
            raws = [row.reason for row in rows if row.reason is not None]
            yield Encoded(block.offset, len(block.data), parts, sheet, raws, block.last)

    def documents(self, rows: Sequence[int], documents: list[bytes], captures: Iterable[dict[str, str]]) -> Documents:
        """The rows of whole documents, entries' row numbers first; as ``rows``, but column by column, as of a log."""
        lines = self._reader.read_documents(documents, [self._reader.bind(found) for found in captures])
        sheet = sheet_of(lines, None)
        joined = self._joined(list(map(self._head, rows)), sheet, lines, list(map(len, documents)))
        return Documents(joined, sheet, lines.reasons or [None] * len(documents))

    def _log(self, entry_id: int, block: Block, captures: dict[str, str]) -> Iterator[Encoded]:
        """The inner loop of every copy: as ``rows``, but column by column, without a value a row."""
        head, offset = self._head(entry_id), block.offset
        for lines in self._reader.read_pieces(block.data, self._reader.bind(captures)):
            sizes = list(map(len, lines.lines))
            sheet = sheet_of(lines, offset)
            rows, size = self._joined([head], sheet, lines, sizes), sum(sizes)
            raws = [reason for reason in lines.reasons or () if reason is not None]
            yield Encoded(offset, size, [rows], sheet, raws, block.last and offset + size == block.end)
            offset += size

    def _joined(self, heads: list[bytes], sheet: Sheet, lines: Lines, sizes: list[int]) -> bytes:
        """The rows of *lines*, one behind the other. There is one head for all of them, or one for each."""
        width = self._fields
        lengths = list(map(_LENGTH.pack, sizes)) if max(sizes) > TEXT_BYTES_MAX else [_LENGTHS[size] for size in sizes]
        parts = [NULL] * (width * len(sizes))
        parts[::width], parts[1::width] = heads * (len(sizes) // len(heads)), sheet.places
        for number, values in enumerate(sheet.columns, 2):
            parts[number::width] = values
        parts[width - 3 :: width], parts[width - 2 :: width] = lengths, lines.lines
        for number, reason in enumerate(lines.reasons or ()):
            if reason is not None:
                end = (number + 1) * width
                parts[end - 4 : end] = [sheet.reasons[number], NULL, lengths[number], lines.lines[number]]
        return b"".join(parts)

    def rows(self, entry_id: int, block: Block, captures: dict[str, str]) -> list[Row]:
        """The rows for a block. A long record has one, for its first piece, without content: that goes to ``chunks``."""
        if not block.data:
            return []
        bound = self._reader.bind(captures)
        if block.record is not None:
            first = block.record == block.offset
            return [self._row(entry_id, block.offset, block.data, "long", self._reader.unread(bound))] if first else []
        if block.entry.form == "blob":
            reason = None if self.kind.form == "blob" else "compressed"
            return [self._row(entry_id, block.offset, block.data, reason, self._reader.unread(bound), is_json=False)]
        return self._records(entry_id, block, bound)

    def _records(self, entry_id: int, block: Block, bound: Bound) -> list[Row]:
        suspect = suspicious(block.data)
        pos = block.offset
        rows: list[Row] = []
        for data in (block.data,) if block.entry.form == "document" else split_lines(block.data):
            reason, fields = self._reader.read_bound(data, bound, suspect=suspect)
            rows.append(self._row(entry_id, pos, data, reason, fields, is_json=reason is None))
            pos += len(data)
        return rows

    def _row(
        self, entry_id: int, pos: int, data: bytes, reason: str | None, fields: Iterable[bytes], *, is_json: bool = False
    ) -> Row:
        return Row(pos, len(data), self._parts(entry_id, pos, data, reason, fields, is_json=is_json), reason)

    def _parts(
        self, entry_id: int, pos: int, data: bytes, reason: str | None, fields: Iterable[bytes], *, is_json: bool
    ) -> list[bytes]:
        length = _LENGTH.pack(len(data))
        content = (NULL, NULL, b"") if reason == "long" else (length, data, NULL) if is_json else (NULL, length, data)
        return [self._head(entry_id), pos.to_bytes(8), *fields, NULL if reason is None else _text(reason), *content]

    def _head(self, entry_id: int) -> bytes:
        return _HEAD.pack(self._fields, 4, self._store_id, 8, entry_id, 8)

    def bare(self, entry_id: int, row: Row, data: bytes, reason: str) -> Row:
        """The same record as raw bytes without any column: what a server takes when it refused the columns."""
        return self._row(entry_id, row.pos, data, reason, self._nothing)


def chunk(store_id: int, entry_id: int, pos: int, data: bytes) -> bytes:
    """A row of ``chunks``."""
    return _HEAD.pack(4, 4, store_id, 8, entry_id, 8) + pos.to_bytes(8) + _bytes(data)


def _bytes(value: bytes) -> bytes:
    return _LENGTH.pack(len(value)) + value


def _text(value: str) -> bytes:
    return _bytes(value.encode())


def field_of(column: Column) -> Convert:
    """From a JSON value to a field of a row, None where it does not fit the column."""
    if column.type == "text" and not column.mapping:
        return _text_field
    if column.type == "timestamp":
        return _timestamp_field
    convert, encode = converter(column), _ENCODERS[column.type]

    def field(value: Any) -> bytes | None:
        found = convert(value)
        return None if found is None else encode(found)

    return field


def fields_of(column: Column) -> ConvertAll | None:
    """As ``field_of``, of many values, where that is quicker than one by one."""
    if column.mapping:
        return _remembering(field_of(column))
    return {"text": _text_fields, "timestamp": _timestamp_fields}.get(column.type)


def _text_field(value: Any) -> bytes | None:
    """As ``columns.text``, then encoded."""
    found = text(value)
    return None if found is None else _text(found)


def _timestamp_field(value: Any) -> bytes | None:
    """As ``columns.timestamp``, then encoded."""
    found = timestamp(value)
    return None if found is None else _BIGINT.pack(8, found)


def _text_fields(values: list[Any]) -> list[bytes | None]:
    """As ``_text_field`` of each: most columns hold short texts and nothing else."""
    try:
        return [None if value is None else _LENGTHS[len(data := value.encode())] + data for value in values]
    except (AttributeError, IndexError):
        return [None if value is None else _text_field(value) for value in values]


def _timestamp_fields(values: list[Any]) -> list[bytes | None]:
    """As ``_timestamp_field`` of each: most columns hold nanoseconds of UTC, each as long as the other, and nothing else."""
    try:
        return _nanoseconds(values)
    except (TypeError, ValueError):
        return [None if value is None else _timestamp_field(value) for value in values]


def _nanoseconds(values: list[str]) -> list[bytes | None]:
    """As ``_timestamp_fields`` of texts like 2025-11-16T10:15:00.032051675Z, all at once: the dearest column one by one.

    Raises TypeError or ValueError for any other.
    """
    data, count = "".join(values).encode(), len(values)
    if set(map(len, values)) != {30} or data[19::30] + data[29::30] != b"." * count + b"Z" * count:
        raise ValueError
    if len(data) != 30 * count or not b"".join(data[digit::30] for digit in range(20, 29)).isdigit():
        raise ValueError
    pack, thousands, ones = _BIGINT.pack, _THOUSANDS, _ONES
    return [pack(8, _second(at) + thousands[high] + ones[low]) for at, high, low in _NANOSECONDS.iter_unpack(data)]


@lru_cache(maxsize=4096)
def _second(value: bytes) -> int:
    """As ``columns.second``. Raises ValueError for what is no second."""
    if (found := second(value.decode())) is None:
        raise ValueError
    return found


def _remembering(field: Convert) -> ConvertAll:
    """For a column of few values: what *field* made of a short text is kept."""
    known: dict[Any, bytes | None] = {}

    def learnt(value: Any) -> bytes | None:
        found: bytes | None = field(value)
        if type(value) is str and len(value) < _KNOWN and len(known) < _KNOWN:
            known[value] = found
        return found

    def remembered(values: list[Any]) -> list[bytes | None]:
        try:
            found = list(map(known.get, values))
        except TypeError:  # an object, or a list
            found = [None] * len(values)
        if None not in found:
            return found
        return [learnt(v) if there is None and v is not None else there for there, v in zip(found, values, strict=True)]

    return remembered


def _int(value: int) -> bytes:
    return _BIGINT.pack(8, value)


def _bool(value: bool) -> bytes:
    return _TRUE if value else _FALSE


_KNOWN = 256
"""Values that are remembered for a column, and how long each may be."""

_NANOSECONDS = struct.Struct("19sx3s3s4x")
"""The second, and the first six digits behind it, three at a time."""

_ONES = {b"%03d" % number: number for number in range(1000)}
_THOUSANDS = {digits: number * 1000 for digits, number in _ONES.items()}

_LENGTHS = [_LENGTH.pack(length) for length in range(TEXT_BYTES_MAX + 1)]

_ENCODERS: dict[str, Callable[[Any], bytes]] = {"text": _text, "bigint": _int, "boolean": _bool}
