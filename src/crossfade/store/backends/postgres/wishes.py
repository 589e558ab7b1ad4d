"""What people want of a migration, whoever runs it: limits, a pause, a hand-over. Written from anywhere, heard by its runner.

A NOTIFY wakes the runner, and is never the message: who missed one reads the same a moment later.
"""

from __future__ import annotations

import json
from typing import Any, cast

from psycopg import sql

from crossfade.errors import GateShut, PhaseForbids
from crossfade.store.backends.postgres import journal
from crossfade.store.backends.postgres.journal import Line
from crossfade.store.backends.postgres.names import within
from crossfade.store.backends.postgres.server import Connection

CHANNEL = "crossfade_wishes"
"""Where a runner is woken; the payload is the migration."""

TAKEN_BACK = "hand-over taken back"
_DECIDED = ("handed over", "hand-over completed")
"""Of an order, in the journal."""


def wish(connection: Connection, schema: str, migration: str, wanted: dict[str, Any], line: Line) -> None:
    """Want *wanted* beside what was wanted before, and have the runner hear of it, in the caller's transaction."""
    query = "UPDATE {}.migrations SET wanted = wanted || %s::jsonb WHERE migration_id = %s"
    connection.execute(within(query, schema), [json.dumps(wanted), migration])
    connection.execute("SELECT pg_notify(%s, %s)", [CHANNEL, migration])
    journal.append(connection, schema, migration, line)


def give(connection: Connection, schema: str, migration: str, name: str, order: dict[str, Any], line: Line) -> None:
    """Want *order* under *name*. Raises GateShut while another one stands there: to take its place would be to end it unheard."""
    _locked(connection, schema, migration, name)
    other = read(connection, schema, migration).get(name)
    if other and other["number"] != order["number"]:
        by = _given_by(connection, schema, migration, other["number"])
        raise GateShut(
            f"a {other['verb']} was asked for{by}, and is not done yet; nothing else was asked for",
            hint="wait for it, or stop it with a Ctrl-C where it was given",
        )
    wish(connection, schema, migration, {name: order}, line)


def _given_by(connection: Connection, schema: str, migration: str, number: str) -> str:
    """Who gave the order *number*, and where, as the journal says."""
    query = "SELECT actor, host FROM {}.journal WHERE migration_id = %s AND position(%s IN detail) > 0 ORDER BY seq LIMIT 1"
    row = connection.execute(within(query, schema), [migration, number]).fetchone()
    return f" by {row[0]} on {row[1]}" if row else ""


def take_back(connection: Connection, schema: str, migration: str, name: str, number: str, line: Line) -> bool:
    """Want the order *number* no more, which stands under *name* or did; and have the runner hear of it.

    False where it is decided: nothing is changed then. A decision that is on its way is waited for.
    """
    if is_decided(connection, schema, migration, name, number):
        return False
    query = "UPDATE {}.migrations SET wanted = wanted - %s WHERE migration_id = %s AND wanted -> %s ->> 'number' = %s"
    connection.execute(within(query, schema), [name, migration, name, number])
    connection.execute("SELECT pg_notify(%s, %s)", [CHANNEL, migration])
    journal.append(connection, schema, migration, line)
    return True


def stands(connection: Connection, schema: str, migration: str, name: str, number: str) -> bool:
    """True unless the order *number* was taken back; nobody can take it back before the caller's transaction ends."""
    return _locked(connection, schema, migration, name) == number


def _locked(connection: Connection, schema: str, migration: str, name: str) -> str | None:
    """The number of what stands under *name*, which nobody changes until the caller's transaction ends."""
    query = "SELECT wanted #>> ARRAY[%s, 'number'] FROM {}.migrations WHERE migration_id = %s FOR NO KEY UPDATE"
    row = connection.execute(within(query, schema), [name, migration]).fetchone()
    return cast("str | None", row[0]) if row else None


def age(connection: Connection, schema: str, migration: str, number: str) -> float:
    """How many seconds ago the order *number* was given, by the server's clock; one that was set back makes none younger than it is."""
    query = (
        "SELECT extract(epoch FROM clock_timestamp() - at)::float8 FROM {}.journal"
        " WHERE migration_id = %s AND position(%s IN detail) > 0 ORDER BY seq LIMIT 1"
    )
    row = connection.execute(within(query, schema), [migration, number]).fetchone()
    return max(cast("float", row[0]), 0.0) if row else 0.0


def is_decided(connection: Connection, schema: str, migration: str, name: str, number: str) -> bool:
    """True where the journal tells that the order *number*, which no other text is like, was carried out.

    A decision that is on its way is waited for, and nobody else decides until the caller's transaction ends.
    """
    _locked(connection, schema, migration, name)
    query = (
        "SELECT EXISTS (SELECT FROM {}.journal WHERE migration_id = %s AND event = ANY(%s) AND position(%s IN detail) > 0)"
    )
    row = connection.execute(within(query, schema), [migration, list(_DECIDED), number]).fetchone()
    return bool(row and row[0])


def read(connection: Connection, schema: str, migration: str) -> dict[str, Any]:
    """All that is wanted."""
    row = connection.execute(
        within("SELECT wanted FROM {}.migrations WHERE migration_id = %s", schema), [migration]
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
