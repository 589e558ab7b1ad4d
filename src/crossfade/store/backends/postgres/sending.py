"""Sending a page's records: one COPY a kind, and what to do when the server refuses one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import cast

import msgspec
import psycopg
from psycopg import sql

from crossfade.model.changes import Put
from crossfade.model.entries import Entry
from crossfade.model.layouts import Layout
from crossfade.store.backends.postgres.encode import SIGNATURE, TRAILER, Encoder, Row, chunk
from crossfade.store.backends.postgres.server import Connection
from crossfade.store.backends.postgres.watching import Watch
from crossfade.store.faults import is_data_error
from crossfade.store.port import Refusal

_SENT_AT_ONCE = 1 << 18
"""Bytes of records that are gathered before they are sent."""


class Draft(msgspec.Struct):
    """One entry of a page, while its puts are written; counts of the records that it gained. ``new``: no table has it yet."""

    entry: Entry
    puts: list[Put] = []
    new: bool = False
    records: int = 0
    raws: defaultdict[str, int] = msgspec.field(default_factory=lambda: defaultdict(int))

    def count(self, records: int, raws: Iterable[str]) -> None:
        """So many records are written, some of them raw, for these reasons."""
        self.records += records
        for reason in raws:
            self.raws[reason] += 1


class Sender:
    """Encodes and sends the records of drafts."""

    def __init__(self, schema: str, store_id: int, layout: Layout) -> None:
        self._schema = schema
        self._store_id = store_id
        self._layout = layout
        self._encoders: dict[str, Encoder] = {}

    def send(
        self, connection: Connection, drafts: list[Draft], *, careful: bool, watch: Watch | None = None
    ) -> list[Refusal]:
        """Send the records of *drafts*, and the pieces of long ones. *careful* takes refused records apart, unwatched."""
        refusals: list[Refusal] = []
        chunks: list[bytes] = []
        files = sorted((d for d in drafts if d.puts), key=lambda d: d.entry.kind)
        for kind, group in groupby(files, key=lambda d: d.entry.kind):
            members = list(group)
            if careful:
                if watch is not None:
                    watch.miss(kind)
                for draft in members:
                    refusals += self._send_carefully(connection, draft, chunks)
            else:
                self._send_kind(connection, kind, members, watch)
            chunks += [piece for draft in members for piece in self._pieces(draft)]
        if chunks:
            self._copy(connection, "chunks", chunks)
        return refusals

    def _send_kind(self, connection: Connection, kind: str, drafts: list[Draft], watch: Watch | None) -> None:
        with connection.cursor() as cursor, cursor.copy(self._statement(kind)) as copy:
            copy.write(SIGNATURE)
            for are_whole, group in groupby(drafts, key=_is_whole):
                for data in (self._documents if are_whole else self._rows)(kind, group, watch):
                    copy.write(data)
            copy.write(TRAILER)

    def _rows(self, kind: str, drafts: Iterable[Draft], watch: Watch | None) -> Iterator[bytes]:
        """The rows of *drafts*, some at a time."""
        encoder, held, size = self._encoder(kind), list[bytes](), 0
        for draft in drafts:
            captures = self._layout.place(draft.entry.path).captures
            for put in draft.puts:
                for encoded in encoder.encode(draft.entry.row, put.block, captures):
                    draft.count(len(encoded.sheet), encoded.raws)
                    if watch is not None:
                        watch.take(kind, draft.entry.path, encoded, put.digest)
                    held += encoded.rows
                    size += encoded.size
                    if size >= _SENT_AT_ONCE:
                        yield b"".join(held)
                        held, size = [], 0
        yield b"".join(held)

    def _documents(self, kind: str, drafts: Iterable[Draft], watch: Watch | None) -> Iterator[bytes]:
        """As ``_rows``, of documents that are whole: many small ones are dear one by one."""
        for members in _few(drafts):
            paths = [draft.entry.path for draft in members]
            captures = [self._layout.place(path).captures for path in paths]
            contents = [draft.puts[0].block.data for draft in members]
            encoded = self._encoder(kind).documents([draft.entry.row for draft in members], contents, captures)
            for draft, reason in zip(members, encoded.reasons, strict=True):
                draft.count(1, () if reason is None else (reason,))
            if watch is not None:
                digests = [cast("bytes", draft.puts[0].digest) for draft in members]
                watch.take_documents(kind, paths, encoded.sheet, digests)
            yield encoded.rows

    def _send_carefully(self, connection: Connection, draft: Draft, chunks: list[bytes]) -> list[Refusal]:
        """As ``_send_kind``, but halving what the server refuses until single records are left."""
        refusals: list[Refusal] = []
        kind = draft.entry.kind
        captures = self._layout.place(draft.entry.path).captures
        for put in draft.puts:
            rows = self._encoder(kind).rows(draft.entry.row, put.block, captures)
            for row, code in self._bisect(connection, kind, rows):
                rows.remove(row)
                data = put.block.data[row.pos - put.block.offset :][: row.size]
                bare = self._encoder(kind).bare(draft.entry.row, row, data, f"server {code}")
                if code.startswith("22") and not self._bisect(connection, kind, [bare]):
                    rows.append(bare)
                else:
                    chunks.append(chunk(self._store_id, draft.entry.row, row.pos, data))
                    refusals.append(Refusal(draft.entry, row.pos, row.size, code))
            draft.count(len(rows), (row.reason for row in rows if row.reason is not None))
        return refusals

    def _bisect(self, connection: Connection, kind: str, rows: list[Row]) -> list[tuple[Row, str]]:
        """Send *rows*; return those that the server refuses, with its SQLSTATE."""
        if not rows:
            return []
        try:
            with connection.transaction():
                self._copy(connection, kind, [row.data for row in rows])
        except psycopg.Error as error:
            if not is_data_error(error):
                raise
            if len(rows) == 1:
                return [(rows[0], error.sqlstate or "")]
        else:
            return []
        half = len(rows) // 2
        return self._bisect(connection, kind, rows[:half]) + self._bisect(connection, kind, rows[half:])

    def _pieces(self, draft: Draft) -> Iterable[bytes]:
        for put in draft.puts:
            if put.block.record is not None and put.block.data:
                yield chunk(self._store_id, draft.entry.row, put.block.offset, put.block.data)

    def _copy(self, connection: Connection, table: str, rows: list[bytes]) -> None:
        with connection.cursor() as cursor, cursor.copy(self._statement(table)) as copy:
            copy.write(SIGNATURE)
            for row in rows:
                copy.write(row)
            copy.write(TRAILER)

    def _statement(self, table: str) -> sql.Composed:
        columns = ["store_id", "entry_id", "pos"]
        promoted = [] if table == "chunks" else [column.name for column in self._layout.kind(table).columns]
        columns += ["data"] if table == "chunks" else [*promoted, "reason", "body", "raw"]
        names = sql.SQL(", ").join(map(sql.Identifier, columns))
        return sql.SQL("COPY {}.{} ({}) FROM STDIN (FORMAT binary)").format(
            sql.Identifier(self._schema), sql.Identifier(table), names
        )

    def _encoder(self, kind: str) -> Encoder:
        if kind not in self._encoders:
            self._encoders[kind] = Encoder(self._layout.kind(kind), self._store_id)
        return self._encoders[kind]


def _is_whole(draft: Draft) -> bool:
    """True for a document in one piece, which is one record, and the only one that the page has of it."""
    block = draft.puts[0].block
    is_one = len(draft.puts) == 1 and block.record is None and block.last
    return is_one and block.entry.form == "document" and bool(block.data)


def _few(drafts: Iterable[Draft]) -> Iterator[list[Draft]]:
    """*drafts* in groups of about as many bytes as are sent at once."""
    held, size = list[Draft](), 0
    for draft in drafts:
        held.append(draft)
        size += len(draft.puts[0].block.data)
        if size >= _SENT_AT_ONCE:
            yield held
            held, size = [], 0
    if held:
        yield held
