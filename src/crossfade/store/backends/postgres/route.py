"""The route of a tree: on which side its authority is, kind by kind, and since which epoch.

Writers that go through the functions of the schema hold a shared lock until their transaction ends (``functions/route.sql``).
Who wants to hand the authority over closes the gate: takes that lock exclusively, which waits for the writers in flight and
has new ones wait. A gate that is waited for stalls new writers, too, so the wait has a limit, and is tried again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, cast

from psycopg import sql

from crossfade.store.backends.postgres.names import quoted
from crossfade.store.backends.postgres.server import Connection

Authority = Literal["here", "elsewhere"]

EVERY = ""
"""The kind that stands for every kind without a route of its own."""


@dataclass(frozen=True)
class Route:
    """Where writers of one kind belong. *epoch* goes up with every hand-over."""

    kind: str
    epoch: int
    authority: Authority


def open_route(connection: Connection, schema: str, store_id: int, authority: Authority) -> None:
    """Give a new tree its route. One that it has stays."""
    query = "INSERT INTO {}.routes (store_id, authority) VALUES (%s, %s) ON CONFLICT DO NOTHING"
    connection.execute(_sql(query, schema), [store_id, authority])


def read(connection: Connection, schema: str, store_id: int) -> dict[str, Route]:
    """The routes of a tree, by kind; that of ``EVERY`` holds for all others."""
    query = "SELECT kind, epoch, authority FROM {}.routes WHERE store_id = %s ORDER BY kind"
    rows = connection.execute(_sql(query, schema), [store_id]).fetchall()
    return {str(row[0]): Route(*cast("Any", row)) for row in rows}


def close_gate(connection: Connection, schema: str, store_id: int, seconds: float) -> None:
    """Keep writers out until the caller's transaction ends; those in flight are waited for, at most *seconds*.

    Raises LockNotAvailable (55P03), which ends the transaction and lets everybody go on.
    """
    connection.execute("SELECT set_config('lock_timeout', %s, true)", [f"{max(int(seconds * 1000), 1)}ms"])
    connection.execute("SELECT pg_advisory_xact_lock(hashtext(%s), %s)", [f"crossfade route {quoted(schema)}", store_id])


def switch(
    connection: Connection, schema: str, store_id: int, kinds: Iterable[str], authority: Authority, expected_epoch: int
) -> bool:
    """Hand *kinds* over, in the caller's transaction: the authority, and the next epoch, which the whole tree has then. False,
    and nothing done, where it has another epoch than *expected_epoch* by now.

    A kind without a route of its own gets one. ``EVERY`` takes along those that were on its side.
    """
    wanted, present = set(kinds), _locked(connection, schema, store_id)
    if not wanted or {found.epoch for found in present.values()} != {expected_epoch}:
        return False
    if EVERY in wanted:
        wanted |= {kind for kind, found in present.items() if found.authority == present[EVERY].authority}
    query = (
        "INSERT INTO {}.routes (store_id, kind, epoch, authority) SELECT %s, unnest(%s::text[]), %s, %s"
        " ON CONFLICT (store_id, kind) DO UPDATE SET authority = excluded.authority, changed_at = clock_timestamp()"
    )
    connection.execute(_sql(query, schema), [store_id, sorted(wanted), expected_epoch, authority])
    connection.execute(_sql("UPDATE {}.routes SET epoch = epoch + 1 WHERE store_id = %s", schema), [store_id])
    return True


def _locked(connection: Connection, schema: str, store_id: int) -> dict[str, Route]:
    query = "SELECT kind, epoch, authority FROM {}.routes WHERE store_id = %s ORDER BY kind FOR UPDATE"
    rows = connection.execute(_sql(query, schema), [store_id]).fetchall()
    return {str(row[0]): Route(*cast("Any", row)) for row in rows}


def _sql(text: str, schema: str) -> sql.Composed:
    return sql.SQL(cast("Any", text)).format(sql.Identifier(schema))
