"""Indexes that a first load left out: it is quicker to build them once than to keep them up to date."""

from __future__ import annotations

from typing import cast

from psycopg import sql

from crossfade.model.kinds import Kind
from crossfade.store.backends.postgres import schema as tables
from crossfade.store.backends.postgres.names import within
from crossfade.store.backends.postgres.server import Connection

_LARGE = 32 << 20
"""Bytes of a table from which on each of its indexes is worth a transaction of its own, beside another."""

_MEMORY = "SET LOCAL maintenance_work_mem = '256MB'"


def long_builds(connection: Connection, schema: str, kind: Kind) -> list[str]:
    """The statements for a large table's indexes, where they are left to build."""
    query = within("SELECT pg_relation_size(to_regclass(%s)) FROM {}.kinds WHERE name = %s AND NOT indexed", schema)
    table = f"{tables.quoted(schema)}.{tables.quoted(kind.name)}"
    found = cast("tuple[int | None] | None", connection.execute(query, [table, kind.name]).fetchone())
    return tables.index_statements(schema, kind) if found is not None and (found[0] or 0) >= _LARGE else []


def build_one(connection: Connection, text: str) -> None:
    """Build one index, if it is not there."""
    connection.execute(_MEMORY)
    connection.execute(text.encode())


def build(connection: Connection, schema: str, kind: Kind) -> bool:
    """Build all that a kind lacks, and tell the planner about its table. False when there was nothing to do."""
    row = connection.execute(
        within("SELECT indexed FROM {}.kinds WHERE name = %s FOR UPDATE", schema), [kind.name]
    ).fetchone()
    if row is None or row[0]:
        return False
    connection.execute(_MEMORY)
    for text in tables.index_statements(schema, kind):
        connection.execute(text.encode())
    connection.execute(within("UPDATE {}.kinds SET indexed = true WHERE name = %s", schema), [kind.name])
    connection.execute(sql.SQL("ANALYZE {}.{}").format(sql.Identifier(schema), sql.Identifier(kind.name)))
    return True


def analyze_entries(connection: Connection, schema: str) -> None:
    """Tell the planner about what every query joins with: after a first load it takes these tables for empty."""
    for table in ("entries", "marks", "segments"):
        connection.execute(sql.SQL("ANALYZE {}.{}").format(sql.Identifier(schema), sql.Identifier(table)))
