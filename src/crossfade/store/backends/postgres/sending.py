"""Sending a page's records: one COPY a kind, and what to do when the server refuses one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import groupby

import psycopg
from psycopg import sql

from crossfade.model.changes import Put
from crossfade.model.entries import Entry
from crossfade.model.layouts import Layout
from crossfade.store.backends.postgres.encode import SIGNATURE, TRAILER, Encoder, Row, chunk
from crossfade.store.backends.postgres.server import Connection
from crossfade.store.faults import is_data_error
from crossfade.store.port import Refusal

_SENT_AT_ONCE = 1 << 18
"""Bytes of records that are gathered before they are sent."""


@dataclass
class Draft:
    """One entry of a page, while its puts are written; counts of the records that it gained. ``new``: no table has it yet."""

    entry: Entry
    puts: list[Put] = field(default_factory=list)
    new: bool = False
    records: int = 0
    raws: Counter[str] = field(default_factory=Counter)

    def count(self, rows: list[Row]) -> None:
        """Take *rows* as written."""
        self.records += len(rows)
        for row in rows:
            if row.reason is not None:
                self.raws[row.reason] += 1


class Sender:
    """Encodes and sends the records of drafts."""

    def __init__(self, schema: str, store_id: int, layout: Layout) -> None:
        self._schema = schema
        self._store_id = store_id
        self._layout = layout
        self._encoders: dict[str, Encoder] = {}

    def send(self, connection: Connection, drafts: list[Draft], *, careful: bool) -> list[Refusal]:
        """Send the records of *drafts*, and the pieces of long ones. *careful* takes refused records apart."""
        refusals: list[Refusal] = []
        chunks: list[bytes] = []
        files = sorted((d for d in drafts if d.puts), key=lambda d: d.entry.kind)
        for kind, group in groupby(files, key=lambda d: d.entry.kind):
            members = list(group)
            if careful:
                for draft in members:
                    refusals += self._send_carefully(connection, draft, chunks)
            else:
                self._send_kind(connection, kind, members)
            chunks += [piece for draft in members for piece in self._pieces(draft)]
        if chunks:
            self._copy(connection, "chunks", chunks)
        return refusals

    def _send_kind(self, connection: Connection, kind: str, drafts: list[Draft]) -> None:
        encoder = self._encoder(kind)
        with connection.cursor() as cursor, cursor.copy(self._statement(kind)) as copy:
            held, size = [SIGNATURE], 0
            for draft in drafts:
                captures = self._layout.place(draft.entry.path).captures
                for put in draft.puts:
                    rows = encoder.encode(draft.entry.row, put.block, captures, draft.raws)
                    draft.records += len(rows)
                    held += rows
                    size += len(put.block.data)
                    if size >= _SENT_AT_ONCE:
                        copy.write(b"".join(held))
                        held, size = [], 0
            copy.write(b"".join([*held, TRAILER]))

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
            draft.count(rows)
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
