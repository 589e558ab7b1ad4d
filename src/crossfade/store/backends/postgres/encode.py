"""Records as rows of COPY … (FORMAT binary).

Binary, because it needs no escaping on this side and no parsing on the other: a json body travels as its own bytes.
Fields: store_id, entry_id, pos, the promoted columns, reason, body, raw.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from crossfade.model.changes import Block
from crossfade.model.columns import TEXT_BYTES_MAX, Convert, converter, text
from crossfade.model.figures import NULL
from crossfade.model.kinds import Column, Kind
from crossfade.model.promotion import Bound
from crossfade.model.records import Reader, split_lines, suspicious

SIGNATURE = b"PGCOPY\n\xff\r\n\x00" + struct.pack("!ii", 0, 0)
TRAILER = struct.pack("!h", -1)

_LENGTH = struct.Struct("!i")
_BIGINT = struct.Struct("!iq")
_HEAD = struct.Struct("!hiiiq")
_TRUE, _FALSE = struct.pack("!i?", 1, True), struct.pack("!i?", 1, False)


@dataclass(frozen=True)
class Row:
    """One encoded row, and the stretch of the entry that it stands for."""

    pos: int
    size: int
    data: bytes
    reason: str | None


class Encoder:
    """Encodes blocks of one kind into rows of its table."""

    def __init__(self, kind: Kind, store_id: int) -> None:
        self.kind = kind
        self._reader = Reader(kind, field_of, NULL)
        self._store_id = store_id
        self._fields = 3 + len(kind.columns) + 3
        self._nothing = [NULL] * len(kind.columns)

    def encode(self, entry_id: int, block: Block, captures: dict[str, str], reasons: Counter[str]) -> list[bytes]:
        """The rows of a block, to be sent as they are; *reasons* counts those that are raw."""
        if block.entry.form == "log" and block.record is None:
            return self._log(entry_id, block, captures, reasons)
        rows = self.rows(entry_id, block, captures)
        reasons.update(row.reason for row in rows if row.reason is not None)
        return [row.data for row in rows]

    def _log(self, entry_id: int, block: Block, captures: dict[str, str], reasons: Counter[str]) -> list[bytes]:
        """The inner loop of every copy: as ``rows``, without a value a row."""
        bound, read, suspect = self._reader.bind(captures), self._reader.read_bound, suspicious(block.data)
        head, pos = self._head(entry_id), block.offset
        rows: list[bytes] = []
        for line in split_lines(block.data):
            reason, fields = read(line, bound, suspect=suspect)
            if reason is None:
                parts = (head, _BIGINT.pack(8, pos), *fields, NULL, _LENGTH.pack(len(line)), line, NULL)
            else:
                reasons[reason] += 1
                parts = (head, _BIGINT.pack(8, pos), *fields, _text(reason), NULL, _LENGTH.pack(len(line)), line)
            rows.append(b"".join(parts))
            pos += len(line)
        return rows

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
        content = NULL + NULL if reason == "long" else _bytes(data) + NULL if is_json else NULL + _bytes(data)
        why = NULL if reason is None else _text(reason)
        encoded = b"".join((self._head(entry_id), _BIGINT.pack(8, pos), *fields, why, content))
        return Row(pos, len(data), encoded, reason)

    def _head(self, entry_id: int) -> bytes:
        return _HEAD.pack(self._fields, 4, self._store_id, 8, entry_id)

    def bare(self, entry_id: int, row: Row, data: bytes, reason: str) -> Row:
        """The same record as raw bytes without any column: what a server takes when it refused the columns."""
        return self._row(entry_id, row.pos, data, reason, self._nothing)


def chunk(store_id: int, entry_id: int, pos: int, data: bytes) -> bytes:
    """A row of ``chunks``."""
    return _HEAD.pack(4, 4, store_id, 8, entry_id) + _BIGINT.pack(8, pos) + _bytes(data)


def _bytes(value: bytes) -> bytes:
    return _LENGTH.pack(len(value)) + value


def _text(value: str) -> bytes:
    return _bytes(value.encode())


def field_of(column: Column) -> Convert:
    """From a JSON value to a field of a row, None where it does not fit the column."""
    if column.type == "text" and not column.mapping:
        return _text_field
    convert, encode = converter(column), _ENCODERS[column.type]

    def field(value: Any) -> bytes | None:
        found = convert(value)
        return None if found is None else encode(found)

    return field


def _text_field(value: Any) -> bytes | None:
    """As ``columns.text`` and then encoded, for the usual case in one step."""
    if type(value) is str and value.isascii() and len(value) <= TEXT_BYTES_MAX and "\0" not in value:
        return _LENGTHS[len(value)] + value.encode()
    found = text(value)
    return None if found is None else _text(found)


def _int(value: int) -> bytes:
    return _BIGINT.pack(8, value)


def _bool(value: bool) -> bytes:
    return _TRUE if value else _FALSE


_LENGTHS = [_LENGTH.pack(length) for length in range(TEXT_BYTES_MAX + 1)]

_ENCODERS: dict[str, Callable[[Any], bytes]] = {"text": _text, "bigint": _int, "boolean": _bool, "timestamp": _int}
