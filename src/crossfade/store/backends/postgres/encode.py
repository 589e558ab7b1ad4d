"""Records as rows of COPY … (FORMAT binary).

Binary, because it needs no escaping on this side and no parsing on the other: a json body travels as its own bytes.
Fields: store_id, entry_id, pos, the promoted columns, reason, body, raw.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from crossfade.model.changes import Block
from crossfade.model.kinds import Kind
from crossfade.model.records import Reader, split_lines, suspicious

SIGNATURE = b"PGCOPY\n\xff\r\n\x00" + struct.pack("!ii", 0, 0)
TRAILER = struct.pack("!h", -1)

NULL = struct.pack("!i", -1)
_LENGTH = struct.Struct("!i")
_BIGINT = struct.Struct("!iq")
_PLACE = struct.Struct("!hiiiqiq")
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
        self._store_id = store_id
        self._reader = Reader(kind)
        self._fields = 3 + len(kind.columns) + 3
        self._encode = [_ENCODERS[column.type] for column in kind.columns]
        self._nothing = NULL * len(kind.columns)

    def rows(self, entry_id: int, block: Block, captures: dict[str, str]) -> Iterator[Row]:
        """The rows for a block. A long record has one, for its first piece, without content: that goes to ``chunks``."""
        if not block.data:
            return
        if block.record is not None:
            if block.record == block.offset:
                yield self._row(entry_id, block.offset, len(block.data), "long", self._reader.nothing(captures), NULL + NULL)
        elif block.entry.form == "blob":
            yield self._blob(entry_id, block, captures)
        else:
            yield from self._lines(entry_id, block, captures)

    def _blob(self, entry_id: int, block: Block, captures: dict[str, str]) -> Row:
        reason = None if self.kind.form == "blob" else "compressed"
        content = NULL + _bytes(block.data)
        return self._row(entry_id, block.offset, len(block.data), reason, self._reader.nothing(captures), content)

    def _lines(self, entry_id: int, block: Block, captures: dict[str, str]) -> Iterator[Row]:
        suspect = suspicious(block.data)
        pos = block.offset
        whole = block.entry.form == "document"
        for line in (block.data,) if whole else split_lines(block.data):
            reason, values = self._reader.read(line, captures, suspect=suspect)
            content = _bytes(line) + NULL if reason is None else NULL + _bytes(line)
            yield self._row(entry_id, pos, len(line), reason, values, content)
            pos += len(line)

    def _row(self, entry_id: int, pos: int, size: int, reason: str | None, values: list[Any], content: bytes) -> Row:
        place = _PLACE.pack(self._fields, 4, self._store_id, 8, entry_id, 8, pos)
        columns = b"".join([NULL if v is None else e(v) for e, v in zip(self._encode, values, strict=True)])
        return Row(pos, size, place + columns + (NULL if reason is None else _text(reason)) + content, reason)

    def bare(self, entry_id: int, row: Row, data: bytes, reason: str) -> Row:
        """The same record as raw bytes without any column: what a server takes when it refused the columns."""
        place = _PLACE.pack(self._fields, 4, self._store_id, 8, entry_id, 8, row.pos)
        return Row(row.pos, row.size, place + self._nothing + _text(reason) + NULL + _bytes(data), reason)


def chunk(store_id: int, entry_id: int, pos: int, data: bytes) -> bytes:
    """A row of ``chunks``."""
    return _PLACE.pack(4, 4, store_id, 8, entry_id, 8, pos) + _bytes(data)


def _bytes(value: bytes) -> bytes:
    return _LENGTH.pack(len(value)) + value


def _text(value: str) -> bytes:
    return _bytes(value.encode())


def _int(value: int) -> bytes:
    return _BIGINT.pack(8, value)


def _bool(value: bool) -> bytes:
    return _TRUE if value else _FALSE


_ENCODERS: dict[str, Callable[[Any], bytes]] = {"text": _text, "bigint": _int, "boolean": _bool, "timestamp": _int}
