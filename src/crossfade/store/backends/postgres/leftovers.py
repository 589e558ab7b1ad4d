"""What a runner that vanished has left in the middle of things."""

from __future__ import annotations

from typing import cast

from psycopg import sql

from crossfade.model.paths import path_of
from crossfade.store.backends.postgres.server import Connection


def cut_short(connection: Connection, schema: str, store_id: int) -> list[bytes]:
    """The paths of a tree that were being brought, page by page, and are not all there."""
    query = sql.SQL("SELECT key FROM {}.entries WHERE store_id = %s AND type = 'file' AND NOT complete ORDER BY key")
    rows = connection.execute(query.format(sql.Identifier(schema)), [store_id]).fetchall()
    return [path_of(cast("bytes", key)) for (key,) in rows]
