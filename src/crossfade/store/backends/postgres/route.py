"""The route of a tree: on which side its authority is, kind by kind, and since which epoch.

Writers that go through the functions of the schema hold a shared lock until their transaction ends (``functions/route.sql``).
Who wants to hand the authority over closes the gate: takes that lock exclusively, which waits for the writers in flight and
has new ones wait. A gate that is waited for stalls new writers, too, so the wait has a limit, and is tried again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from crossfade.store.backends.postgres.names import quoted, within
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
    connection.execute(within(query, schema), [store_id, authority])


def read(connection: Connection, schema: str, store_id: int) -> dict[str, Route]:
    """The routes of a tree, by kind; that of ``EVERY`` holds for all others."""
    query = "SELECT kind, epoch, authority FROM {}.routes WHERE store_id = %s ORDER BY kind"
    rows = connection.execute(within(query, schema), [store_id]).fetchall()
    return {str(row[0]): Route(*cast("Any", row)) for row in rows}


def settled(connection: Connection, schema: str, store_id: int, seconds: float) -> dict[str, Route]:
    """As ``read``, once whoever holds the gate is through with it: a decision that is on its way stands by then, or never will.

    Raises LockNotAvailable after *seconds*.
    """
    _lock_timeout(connection, seconds)
    connection.execute(
        "SELECT pg_advisory_xact_lock_shared(hashtext(%s), %s)", [f"crossfade route {quoted(schema)}", store_id]
    )
    return read(connection, schema, store_id)


def wait(connection: Connection, schema: str, name: str | None) -> None:
    """Wait until no decision about the tree *name* is on its way. None stands for all trees of the schema."""
    query = "SELECT pg_advisory_xact_lock_shared(hashtext(%s), store_id) FROM {}.stores WHERE name = %s OR %s::text IS NULL"
    connection.execute(within(query, schema), [f"crossfade route {quoted(schema)}", name, name])


def side_of(routes: dict[str, Route], kind: str) -> Authority:
    """Where writers of *kind* belong."""
    return (routes.get(kind) or routes[EVERY]).authority


def astray(mine: dict[str, Route], truth: dict[str, Route], *, is_ours: bool) -> dict[str, Authority]:
    """What has to be set right in *mine*, kind by kind, for it to be the opposite of *truth*, the route in the other database.

    Where neither has the authority, it is given back only if whoever asks has taken it: *is_ours*.
    """
    found: dict[str, Authority] = {}
    for kind in mine.keys() | truth.keys():
        both = side_of(mine, kind), side_of(truth, kind)
        if both == ("here", "here"):
            found[kind] = "elsewhere"
        elif both == ("elsewhere", "elsewhere") and is_ours:
            found[kind] = "here"
    return found


def close_gate(connection: Connection, schema: str, store_id: int, seconds: float) -> None:
    """Keep writers out until the caller's transaction ends; those in flight are waited for, at most *seconds*.

    Raises LockNotAvailable (55P03), which ends the transaction and lets everybody go on.
    """
    _lock_timeout(connection, seconds)
    connection.execute("SELECT pg_advisory_xact_lock(hashtext(%s), %s)", [f"crossfade route {quoted(schema)}", store_id])


def _lock_timeout(connection: Connection, seconds: float) -> None:
    connection.execute("SELECT set_config('lock_timeout', %s, true)", [f"{max(int(seconds * 1000), 1)}ms"])


def limit_silence(connection: Connection, seconds: float) -> None:
    """Have the server end the caller's transaction, and open its gate, after so long without a word; not sooner, and not later."""
    limit = f"{max(int(seconds * 1000), 1)}ms"
    connection.execute("SELECT set_config('idle_in_transaction_session_timeout', %s, true)", [limit])


def switch(
    connection: Connection, schema: str, store_id: int, kinds: Iterable[str], authority: Authority, expected_epoch: int
) -> bool:
    """Hand *kinds* over, in the caller's transaction: the authority, and the next epoch, which the whole tree has then. False,
    and nothing done, where it has another epoch than *expected_epoch* by now, or where one of them is on that side already.

    A kind without a route of its own gets one. ``EVERY`` takes along those that were on its side.
    """
    wanted, present = set(kinds), _locked(connection, schema, store_id)
    if not wanted or epoch_of(present) != expected_epoch:
        return False
    if any(side_of(present, kind) == authority for kind in wanted):
        return False
    if EVERY in wanted:
        wanted |= {kind for kind, found in present.items() if found.authority == present[EVERY].authority}
    set_sides(connection, schema, store_id, dict.fromkeys(wanted, authority), expected_epoch)
    return True


def set_sides(connection: Connection, schema: str, store_id: int, sides: Mapping[str, Authority], epoch: int) -> None:
    """Have each kind of *sides* on its side, and the whole tree in the epoch after *epoch*."""
    query = (
        "INSERT INTO {}.routes (store_id, kind, epoch, authority) SELECT %s, k, %s, a FROM unnest(%s::text[], %s::text[]) AS s (k, a)"
        " ON CONFLICT (store_id, kind) DO UPDATE SET authority = excluded.authority, changed_at = clock_timestamp()"
    )
    connection.execute(within(query, schema), [store_id, epoch, list(sides), list(sides.values())])
    connection.execute(within("UPDATE {}.routes SET epoch = %s WHERE store_id = %s", schema), [epoch + 1, store_id])


def epoch_of(routes: dict[str, Route]) -> int:
    """The tree's; 0 where it has no route."""
    return max((found.epoch for found in routes.values()), default=0)


def _locked(connection: Connection, schema: str, store_id: int) -> dict[str, Route]:
    query = "SELECT kind, epoch, authority FROM {}.routes WHERE store_id = %s ORDER BY kind FOR UPDATE"
    rows = connection.execute(within(query, schema), [store_id]).fetchall()
    return {str(row[0]): Route(*cast("Any", row)) for row in rows}
