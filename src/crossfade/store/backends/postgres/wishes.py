"""What people want of a migration, whoever runs it: limits, a pause, a hand-over. Written from anywhere, heard by its runner.

A NOTIFY wakes the runner, and is never the message: who missed one reads the same a moment later.
"""

from __future__ import annotations

import json
from typing import Any, cast

from psycopg import sql

from crossfade.errors import PhaseForbids
from crossfade.store.backends.postgres import journal
from crossfade.store.backends.postgres.journal import Line
from crossfade.store.backends.postgres.server import Connection

CHANNEL = "crossfade_wishes"
"""Where a runner is woken; the payload is the migration."""

TAKEN_BACK = "hand-over taken back"
_DECIDED = ("handed over", "hand-over completed")
"""Of an order, in the journal."""


def wish(connection: Connection, schema: str, migration: str, wanted: dict[str, Any], line: Line) -> None:
    """Want *wanted* beside what was wanted before, and have the runner hear of it, in the caller's transaction."""
    query = "UPDATE {}.migrations SET wanted = wanted || %s::jsonb WHERE migration_id = %s"
    connection.execute(_sql(query, schema), [json.dumps(wanted), migration])
    connection.execute("SELECT pg_notify(%s, %s)", [CHANNEL, migration])
    journal.append(connection, schema, migration, line)


def take_back(connection: Connection, schema: str, migration: str, name: str, number: str, line: Line) -> bool:
    """Want the order *number* no more, which stands under *name* or did; and have the runner hear of it.

    False where it is decided: nothing is changed then. A decision that is on its way is waited for.
    """
    _locked(connection, schema, migration, name)
    if _is_told(connection, schema, migration, _DECIDED, number):
        return False
    query = "UPDATE {}.migrations SET wanted = wanted - %s WHERE migration_id = %s AND wanted -> %s ->> 'number' = %s"
    connection.execute(_sql(query, schema), [name, migration, name, number])
    connection.execute("SELECT pg_notify(%s, %s)", [CHANNEL, migration])
    journal.append(connection, schema, migration, line)
    return True


def stands(connection: Connection, schema: str, migration: str, name: str, number: str) -> bool:
    """True unless the order *number* was taken back; until the caller's transaction ends it is not.

    Another one that was given since, under the same *name*, takes its place and not its right: it is heard afterwards.
    """
    there = _locked(connection, schema, migration, name)
    return there == number or (there is not None and not _is_told(connection, schema, migration, (TAKEN_BACK,), number))


def _locked(connection: Connection, schema: str, migration: str, name: str) -> str | None:
    """The number of what stands under *name*, which nobody changes until the caller's transaction ends."""
    query = "SELECT wanted #>> ARRAY[%s, 'number'] FROM {}.migrations WHERE migration_id = %s FOR NO KEY UPDATE"
    row = connection.execute(_sql(query, schema), [name, migration]).fetchone()
    return cast("str | None", row[0]) if row else None


def _is_told(connection: Connection, schema: str, migration: str, events: tuple[str, ...], number: str) -> bool:
    """True where the journal tells one of *events* of the order *number*, which no other text is like."""
    query = (
        "SELECT EXISTS (SELECT FROM {}.journal WHERE migration_id = %s AND event = ANY(%s) AND position(%s IN detail) > 0)"
    )
    row = connection.execute(_sql(query, schema), [migration, list(events), number]).fetchone()
    return bool(row and row[0])


def read(connection: Connection, schema: str, migration: str) -> dict[str, Any]:
    """All that is wanted."""
    row = connection.execute(
        _sql("SELECT wanted FROM {}.migrations WHERE migration_id = %s", schema), [migration]
    ).fetchone()
    return cast("dict[str, Any]", row[0]) if row else {}


def listen(connection: Connection) -> None:
    """Be woken from now on, as long as *connection* lasts."""
    connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(CHANNEL)))
    connection.commit()


def heard(connection: Connection, migration: str, seconds: float) -> bool:
    """Wait so long at most to be woken; whether it was for *migration*."""
    return any(found.payload == migration for found in connection.notifies(timeout=seconds, stop_after=1))


def order(connection: Connection, schema: str, migration: str, state: str, line: Line) -> None:
    """Want the migration to be ``paused``, or to ``run``: with who says so, why, and since when by the server's clock."""
    row = connection.execute("SELECT clock_timestamp() AT TIME ZONE 'UTC'").fetchone()
    at = f"{row[0]:%Y-%m-%d %H:%M:%S}" if row else ""
    said = {"actor": line.actor, "host": line.host, "at": at, "reason": line.reason}
    wish(connection, schema, migration, {"state": state, "state_by": said}, line)


def paused_by(wanted: dict[str, Any]) -> str:
    """Who wants it to be paused, since when, and why; empty where nobody does."""
    if wanted.get("state") != "paused":
        return ""
    said = wanted["state_by"]
    why = f": {said['reason']}" if said["reason"] else ""
    return f"paused by {said['actor']} on {said['host']} at {said['at']} UTC{why}"


def refuse_paused(wanted: dict[str, Any], migration: str) -> None:
    """Raises PhaseForbids where somebody wants the migration to be paused."""
    if text := paused_by(wanted):
        raise PhaseForbids(f"migration {migration} is {text}", hint=f"crossfade resume {migration}")


def _sql(text: str, schema: str) -> sql.Composed:
    return sql.SQL(cast("Any", text)).format(sql.Identifier(schema))
