"""The direction of a migration in its row, and what a hand-over asks of it. Each works in the caller's transaction."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import cast

from crossfade.store.backends.postgres.names import within
from crossfade.store.backends.postgres.server import Connection


def turn(
    connection: Connection,
    schema: str,
    migration: str,
    *,
    is_reversed: bool,
    cut: Iterable[str],
    phase: str,
    wish: str,
    number: str,
) -> None:
    """Who decides from here on, about which kinds; what was wished by *number* is done."""
    query = "UPDATE {}.migrations SET reversed = %s, cut = %s, phase = %s, updated_at = clock_timestamp() WHERE migration_id = %s"
    kinds = json.dumps(sorted(cut))
    connection.execute(within(query, schema), [is_reversed, kinds, phase, migration])
    forget_wish(connection, schema, migration, wish, number)


def end(connection: Connection, schema: str, migration: str, phase: str, wish: str, number: str) -> None:
    """Enter a phase in which nobody follows; what was wished by *number* is done."""
    query = "UPDATE {}.migrations SET phase = %s, updated_at = clock_timestamp() WHERE migration_id = %s"
    connection.execute(within(query, schema), [phase, migration])
    forget_wish(connection, schema, migration, wish, number)


def forget_wish(connection: Connection, schema: str, migration: str, wish: str, number: str) -> None:
    """What was wished by *number* is no more. Another one's, who has wished since, stands."""
    query = (
        "UPDATE {}.migrations SET wanted = wanted - %s::text WHERE migration_id = %s AND wanted #>> ARRAY[%s, 'number'] = %s"
    )
    connection.execute(within(query, schema), [wish, migration, wish, number])


def proof_age(connection: Connection, schema: str, migration: str) -> float | None:
    """How long ago both sides were found equal, in seconds on the server's clock; None for never."""
    query = "SELECT extract(epoch FROM clock_timestamp() - proved_at)::float8 FROM {}.migrations WHERE migration_id = %s"
    row = connection.execute(within(query, schema), [migration]).fetchone()
    return cast("float | None", row[0]) if row else None
