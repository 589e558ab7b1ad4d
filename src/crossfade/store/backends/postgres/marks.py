"""Marks of a target that is files: what the file system said of an entry when it was last in step.

A mark belongs to a path. It is kept with the row that stands there, and goes with the path when entries are moved
(functions/moving.sql); so whoever marks looks for the row anew, and has moves wait.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from crossfade.model.entries import Entry, altered
from crossfade.model.paths import key_of, path_of
from crossfade.store.backends.postgres.arrays import numbers
from crossfade.store.backends.postgres.leases import fence
from crossfade.store.backends.postgres.names import within
from crossfade.store.backends.postgres.page import insert_refusal, mark_values
from crossfade.store.backends.postgres.server import Connection
from crossfade.store.backends.postgres.statements import statement
from crossfade.store.port import Refusal

_LOOKS = 5
"""How often to look for the row at a path that is moved about; what stands there then is looked at once more anyway."""

_LOCK_MS = 500
"""How long a program that moves things is waited for: less than the server takes to look for a deadlock, so that in a circle
of waits the page is what is tried again, and not the program's transaction what fails."""


Intents = Sequence[tuple[bytes, bytes]]
"""Paths, each with the digest of what it is about to hold."""


def intend(connection: Connection, *, schema: str, migration: str, epoch: int, worker: int, intents: Intents) -> None:
    """What a page of *worker* is about to have files hold, in the caller's transaction. Raises Fenced."""
    fence(connection, schema, migration, epoch)
    query = (
        "INSERT INTO {}.intents AS i (migration_id, worker, keys, digests) VALUES (%s, %s, %s, %s)"
        " ON CONFLICT (migration_id, worker) DO UPDATE SET keys = excluded.keys, digests = excluded.digests"
    )
    keys, digests = [key_of(path) for path, _ in intents], [digest for _, digest in intents]
    connection.execute(within(query, schema), [migration, worker, keys, digests])


def intended(connection: Connection, schema: str, migration: str) -> list[tuple[bytes, bytes]]:
    """What pages were about to have files hold, and have not marked."""
    query = "SELECT k, d FROM {}.intents, unnest(keys, digests) AS page (k, d) WHERE migration_id = %s"
    rows = connection.execute(within(query, schema), [migration]).fetchall()
    return [(path_of(cast("bytes", key)), cast("bytes", digest)) for key, digest in rows]


def settle(connection: Connection, *, schema: str, migration: str, epoch: int, entries: Sequence[Entry]) -> None:
    """Of all that was intended, *entries* came to be; the rest did not. Raises Fenced."""
    mark(connection, schema=schema, migration=migration, epoch=epoch, entries=entries, removed=[], refusals=[])
    connection.execute(within("DELETE FROM {}.intents WHERE migration_id = %s", schema), [migration])


def mark(
    connection: Connection,
    *,
    schema: str,
    migration: str,
    epoch: int,
    entries: Sequence[Entry],
    removed: Sequence[Entry],
    refusals: Sequence[Refusal],
) -> None:
    """What a page wrote, removed and refused, in the caller's transaction. Raises Fenced for a runner that was replaced."""
    fence(connection, schema, migration, epoch)
    rows = _rows_at(connection, schema, migration, [*entries, *removed])
    marked = [altered(entry, row=rows[entry.path]) for entry in entries if entry.path in rows]
    if marked:
        connection.execute(statement("marks_upsert", schema), mark_values(migration, marked))
    gone = [rows.get(entry.path, entry.row) for entry in removed]
    if gone:
        query = "DELETE FROM {}.marks WHERE migration_id = %s AND entry_id = ANY(%s)"
        connection.execute(within(query, schema), [migration, gone])
    if placed := [*(entry.row for entry in marked), *gone]:
        query = "DELETE FROM {}.quarantine WHERE migration_id = %s AND pos IS NULL AND entry_id = ANY(%s::bigint[])"
        connection.execute(within(query, schema), [migration, numbers(placed)])
    for refusal in refusals:
        insert_refusal(connection, schema, migration, refusal)


def _rows_at(connection: Connection, schema: str, migration: str, entries: Sequence[Entry]) -> dict[bytes, int]:
    """The row that stands at the path of each of *entries* by now; it stays there until the caller's transaction ends."""
    found: dict[bytes, int] = {}
    connection.execute("SELECT set_config('lock_timeout', %s, true)", [f"{_LOCK_MS}ms"])
    for _ in range(_LOOKS):
        keys = [key_of(entry.path) for entry in entries if entry.path not in found]
        if not keys:
            break
        values = {"migration": migration, "keys": keys}
        rows = connection.execute(statement("entries_hold", schema), values).fetchall()
        found |= {path_of(cast("bytes", key)): cast("int", row) for row, key in rows}
    return found
