"""What is known to be right: when both sides of a migration were proved, and up to when what was applied is verified."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from crossfade.model.entries import Entry
from crossfade.model.paths import key_of, path_of
from crossfade.store.backends.postgres.journal import Line, append
from crossfade.store.backends.postgres.names import within
from crossfade.store.backends.postgres.server import Connection
from crossfade.store.backends.postgres.statements import statement

STALE_SECONDS = 24 * 3600.0
"""A proof of the whole that is older says little: what broke since then would not have been seen, and would be handed over."""

_JITTER_SECONDS = 1.0
"""So far a clock may be set back by whoever keeps it right. Behind more, a proof would be young for as long."""


_AHEAD = (
    "CASE WHEN {0} > clock_timestamp() THEN least(%s, clock_timestamp() - interval '1 minute') ELSE greatest({0}, %s) END"
)
"""The later of two times, as it should be; and where the one that stands is not over yet, one that is, with a moment to spare: what
is applied bears the time of a clock that may have been put back by then.
"""


@dataclass(frozen=True)
class Standing:
    """*proved_at*: both sides were found equal; *verified_at*: what was applied before then was found in its place. *now* is the server's time."""

    proved_at: datetime | None
    verified_at: datetime | None
    now: datetime

    @property
    def at(self) -> datetime | None:
        """Up to when all that was applied is right."""
        return max((time for time in (self.proved_at, self.verified_at) if time is not None), default=None)

    @property
    def is_ahead(self) -> bool:
        """True where the clock was put back since: what was applied then bears an earlier time, and cannot be told by it."""
        return self.at is not None and self.at > self.now

    @property
    def is_stale(self) -> bool:
        """True where the whole was never proved, too long ago, or at a time that is not there yet."""
        age = None if self.proved_at is None else (self.now - self.proved_at).total_seconds()
        return bool(doubted(age))


def doubted(age: float | None) -> str:
    """Why a proof of the whole of that *age*, in seconds, is not enough to hand over; empty where it is. None is no proof at all."""
    if age is None:
        return "the whole was never proven"
    if age < -_JITTER_SECONDS:
        return "the last proof of the whole lies ahead of the server's clock, which was set back: its age is not known"
    return f"the last proof of the whole is {age / 3600:.0f} hours old" if age > STALE_SECONDS else ""


def standing(connection: Connection, schema: str, migration: str) -> Standing:
    """How a migration stands."""
    query = "SELECT proved_at, verified_at, clock_timestamp() FROM {}.migrations WHERE migration_id = %s"
    return Standing(*cast("Any", connection.execute(within(query, schema), [migration]).fetchone()))


def keep(connection: Connection, schema: str, migration: str, at: datetime, reread_at: datetime | None) -> None:
    """All that was applied before *at* is verified; what logs had before *reread_at*, if that is known, was read whole.

    A position that is ahead of the clock, which was put back, goes back with it.
    """
    query = "UPDATE {}.migrations SET verified_at = " + _AHEAD.format("verified_at") + " WHERE migration_id = %s"
    connection.execute(within(query, schema), [at, at, migration])
    if reread_at is not None:
        query = "UPDATE {}.migrations SET reread_at = " + _AHEAD.format("reread_at") + " WHERE migration_id = %s"
        connection.execute(within(query, schema), [reread_at, reread_at, migration])


def renew(connection: Connection, schema: str, migration: str, since: datetime) -> None:
    """Both sides were found equal, as of *since*, and whoever runs the migration goes on."""
    query = (
        "UPDATE {}.migrations SET proved_at = " + _AHEAD.format("proved_at") + ","
        " phase = CASE WHEN phase = 'different' AND NOT reversed THEN 'copied' ELSE phase END WHERE migration_id = %s"
    )
    connection.execute(within(query, schema), [since, since, migration])
    append(connection, schema, migration, Line("proved", {"since": since.isoformat()}))


def withdraw(connection: Connection, schema: str, migration: str) -> None:
    """The two sides were found to differ: no proof holds any more, and a copy is not to be called one."""
    query = (
        "UPDATE {}.migrations SET proved_at = NULL, phase = CASE phase WHEN 'copied' THEN 'different' ELSE phase END"
        " WHERE migration_id = %s"
    )
    connection.execute(within(query, schema), [migration])


def lately(
    connection: Connection,
    schema: str,
    store_id: int,
    migration: str,
    kinds: Sequence[str],
    since: datetime,
    limit: int,
    *,
    marked: bool,
) -> list[Entry]:
    """The entries of *kinds*, directories and links that were written since then, *limit* at most; with *marked*, in the files."""
    values = {"store_id": store_id, "migration": migration, "kinds": ["", *kinds], "since": since, "limit": limit}
    rows = connection.execute(statement("lately_marked" if marked else "lately_changed", schema), values).fetchall()
    return [Entry(path_of(key), kind=kind) for key, kind in cast("list[tuple[bytes, str]]", rows)]


def changed_among(
    connection: Connection, schema: str, store_id: int, paths: Sequence[bytes], since: datetime | None
) -> set[bytes]:
    """Those of *paths* that were written, or removed, since then: all, if nobody knows since when."""
    query = (
        "SELECT key FROM {}.entries WHERE store_id = %s AND sha256(key) = ANY(%s)"
        " AND changed_at >= coalesce(%s, '-infinity'::timestamptz)"
    )
    keys = [hashlib.sha256(key_of(path)).digest() for path in paths]
    rows = connection.execute(within(query, schema), [store_id, keys, since]).fetchall()
    return {path_of(key) for (key,) in cast("list[tuple[bytes]]", rows)}


def unread_since(connection: Connection, schema: str, migration: str) -> datetime:
    """Since when logs may have grown without being read whole: the whole time, where nobody knows, or the clock was put back."""
    query = (
        "SELECT CASE WHEN at > clock_timestamp() THEN created_at ELSE coalesce(at, created_at) END"
        " FROM {}.migrations, coalesce(reread_at, proved_at) at WHERE migration_id = %s"
    )
    (at,) = cast("tuple[datetime]", connection.execute(within(query, schema), [migration]).fetchone())
    return at


def grown(
    connection: Connection,
    schema: str,
    store_id: int,
    kinds: Sequence[str],
    span: tuple[datetime, datetime],
    *,
    after: int,
    limit: int,
) -> list[tuple[int, bytes]]:
    """Logs of *kinds* that were written in that *span*, by their rows, behind that which is called *after*: rows and paths."""
    (since, until), names = span, list(kinds)
    values = {"store_id": store_id, "kinds": names, "since": since, "until": until, "after": after, "limit": limit}
    rows = connection.execute(statement("lately_grown", schema), values).fetchall()
    return [(row, path_of(key)) for row, key in cast("list[tuple[int, bytes]]", rows)]
