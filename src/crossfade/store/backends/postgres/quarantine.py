"""What becomes of items in quarantine, once somebody has decided."""

from __future__ import annotations

from psycopg import sql

from crossfade.store.backends.postgres.server import Connection

_NAMED = 100
"""How many items a line of the journal names, at most; it counts them all."""


def settle(connection: Connection, schema: str, migration: str, items: list[int], state: str) -> int:
    """Move *items* to another state; how many there were."""
    query = sql.SQL("UPDATE {}.quarantine SET state = %s WHERE migration_id = %s AND item_id = ANY(%s)")
    return connection.execute(query.format(sql.Identifier(schema)), [state, migration, items]).rowcount


def named(items: list[int]) -> list[int]:
    """Those that a line of the journal names."""
    return items[:_NAMED]
