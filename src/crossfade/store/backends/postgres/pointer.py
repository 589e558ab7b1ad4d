"""A pointer in a database that is the source of a migration into another one, which keeps the control state.

Where the control state is, and of which tree it has handed the authority over. The epoch of the migration's runner stands
beside it (``leases.follow``), so that the pages of the way back are fenced here as any others are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from crossfade.store.backends.postgres import leases
from crossfade.store.backends.postgres.names import within
from crossfade.store.backends.postgres.server import Connection


@dataclass(frozen=True)
class Pointer:
    """*control* is a URL without a secret. *route_epoch* is the epoch of the tree's route that *migration* has made last, if any."""

    migration: str
    store_id: int
    control: str
    route_epoch: int | None = None


def read(connection: Connection, schema: str) -> list[Pointer]:
    """All that stand here."""
    query = "SELECT migration_id, store_id, control, route_epoch FROM {}.pointers ORDER BY made_at, migration_id"
    return [Pointer(*cast("Any", row)) for row in connection.execute(within(query, schema)).fetchall()]


def find(connection: Connection, schema: str, migration: str) -> Pointer | None:
    """That of a migration."""
    return next((found for found in read(connection, schema) if found.migration == migration), None)


def make(connection: Connection, schema: str, pointer: Pointer, epoch: int) -> bool:
    """Have it, and have pages of the runner with *epoch* pass here. False, and nothing done, for a runner who was replaced."""
    query = "INSERT INTO {}.pointers (migration_id, store_id, control) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING"
    if not leases.follow(connection, schema, pointer.migration, epoch):
        return False
    connection.execute(within(query, schema), [pointer.migration, pointer.store_id, pointer.control])
    return True


def retake(connection: Connection, schema: str, migration: str, epoch: int) -> bool:
    """Where there is one, have pages of the runner with *epoch* pass, and those of earlier ones no more. False as for ``make``."""
    return find(connection, schema, migration) is None or leases.follow(connection, schema, migration, epoch)


def note(connection: Connection, schema: str, migration: str, route_epoch: int) -> None:
    """The tree's route has an epoch by now that the migration has made."""
    query = "UPDATE {}.pointers SET route_epoch = %s WHERE migration_id = %s"
    connection.execute(within(query, schema), [route_epoch, migration])


def remove(connection: Connection, schema: str, migration: str) -> None:
    """The migration has ended, and no page of it passes here any more."""
    lease = "DELETE FROM {0}.leases WHERE migration_id IN (SELECT migration_id FROM {0}.pointers WHERE migration_id = %s)"
    connection.execute(within(lease, schema), [migration])
    connection.execute(within("DELETE FROM {}.pointers WHERE migration_id = %s", schema), [migration])
