"""What was done, one line each, in a chain: every line's hash covers the one before."""

from __future__ import annotations

import getpass
import hashlib
import json
import socket
from datetime import UTC, datetime
from typing import Any, cast

from psycopg import sql

from crossfade.store.backends.postgres.server import Connection

START = hashlib.sha256(b"crossfade journal").digest()


def append(connection: Connection, schema: str, migration: str, event: str, detail: dict[str, Any]) -> bytes:
    """Add a line, in the caller's transaction; the new head of the chain."""
    connection.execute("SELECT pg_advisory_xact_lock(hashtext('crossfade journal'), hashtext(%s))", [migration])
    query = sql.SQL("SELECT seq, hash FROM {}.journal WHERE migration_id = %s ORDER BY seq DESC LIMIT 1")
    row = connection.execute(query.format(sql.Identifier(schema)), [migration]).fetchone()
    seq, previous = (cast("int", row[0]) + 1, cast("bytes", row[1])) if row else (1, START)
    at = datetime.now(UTC)
    line = [migration, seq, at, _actor(), socket.gethostname(), event, json.dumps(detail, sort_keys=True, default=str)]
    head = chain(previous, line)
    insert = sql.SQL("INSERT INTO {}.journal VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)")
    connection.execute(insert.format(sql.Identifier(schema)), [*line, previous, head])
    return head


def chain(previous: bytes, line: list[Any]) -> bytes:
    """The hash of a line that follows *previous*."""
    text = json.dumps([v.astimezone(UTC).isoformat() if isinstance(v, datetime) else v for v in line])
    return hashlib.sha256(previous + text.encode()).digest()


def _actor() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
