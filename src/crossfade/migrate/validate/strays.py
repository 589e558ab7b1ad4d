"""What no tree should hold: rows that belong to no file, and entries that go by another name than their own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

from psycopg import sql

from crossfade.model.paths import path_of
from crossfade.store.backends.postgres.server import Connection
from crossfade.store.backends.postgres.statements import statement

PIECES = "chunks"
"""Where the bytes of any kind may stand."""


def strays(connection: Connection, schema: str, store_id: int, kinds: Sequence[str]) -> dict[str, int]:
    """How many rows belong to no file of their kind, by table; those without any are left out."""
    counts = {}
    for table, where, values in _tables(schema, store_id, kinds):
        row = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(where), values).fetchone()
        counts[table] = cast("int", row[0]) if row else 0
    return {table: count for table, count in counts.items() if count}


def remove_strays(connection: Connection, schema: str, store_id: int, kinds: Sequence[str]) -> int:
    """Delete them; how many there were. Nobody's file is made of them."""
    tables = _tables(schema, store_id, kinds)
    return sum(connection.execute(sql.SQL("DELETE FROM {}").format(where), values).rowcount for _, where, values in tables)


def _tables(schema: str, store_id: int, kinds: Sequence[str]) -> Iterator[tuple[str, sql.Composed, list[object]]]:
    """The tables that hold records, each with the rows of it that belong to no file."""
    for table in (*kinds, PIECES):
        of_kind = sql.SQL("" if table == PIECES else " AND e.kind = %s")
        where = sql.SQL(
            "{} k WHERE store_id = %s AND NOT EXISTS (SELECT FROM {} e"
            " WHERE e.store_id = k.store_id AND e.entry_id = k.entry_id AND e.type = 'file'{})"
        ).format(sql.Identifier(schema, table), sql.Identifier(schema, "entries"), of_kind)
        yield table, where, [store_id] if table == PIECES else [store_id, table]


def misnamed(connection: Connection, schema: str, store_id: int) -> list[tuple[bytes, str]]:
    """Entries whose path in words, which people query by, is not their path; each with its kind. No more than anybody looks at."""
    rows = connection.execute(statement("entries_misnamed", schema), {"store_id": store_id}).fetchall()
    return [(path_of(cast("bytes", key)), str(kind)) for key, kind in rows]
