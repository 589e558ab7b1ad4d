"""The change feed of a schema: which entries are dirty since a cursor, and how far its readers are.

A statement that touches ``entries`` notes them in ``changes`` (``functions/feed.sql``), with the transaction's number and
the origin that the session announced. The reader applies an entry *as it stands in its own snapshot*, never a payload, so
that neither the order inside the feed nor a row that it sees twice can hurt.

Numbers are given out before their transactions commit, so a reader that asked for "everything after the last number" would
miss the one that commits late. A row is therefore read only when its transaction is older than every one that still runs
(``pg_snapshot_xmin``): then all that could stand before it is visible, or never will be.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from crossfade.store.backends.postgres.names import quoted, within
from crossfade.store.backends.postgres.server import Connection
from crossfade.store.backends.postgres.statements import statement

MOST = 50_000
"""So many rows are read while all writers wait; who has more before it reads on first, beside them."""

CHANNEL = "crossfade"
"""Where a NOTIFY says that there is something to read; its payload is the schema. Only ever a wake-up."""


@dataclass(frozen=True, order=True)
class Cursor:
    """A place in the feed: everything up to transaction *xid*, number *seq*, is read.

    It holds in one history only: that of the server with this *system* identifier, on this *timeline*, whose table
    ``changes`` has the number *feed* (a dump that is restored makes another one).
    """

    xid: int
    seq: int
    system: int
    timeline: int
    feed: int

    @property
    def history(self) -> tuple[int, int, int]:
        """What must not differ between a cursor and the server that it is shown to."""
        return self.system, self.timeline, self.feed


@dataclass(frozen=True)
class Dirty:
    """An entry that was touched. *since* is the time of the oldest change of it that was not read yet."""

    entry_id: int
    key: bytes
    since: datetime


@dataclass(frozen=True)
class Backlog:
    """What a reader has before it: rows of the feed, and the age of the oldest, None where there is none."""

    count: int
    oldest_seconds: float | None


@dataclass(frozen=True)
class Holder:
    """The oldest transaction that still runs on the server, in whichever database: the feed is read up to its beginning.

    ``pid`` is None for a prepared one. ``seconds`` is None where the role may not see how old another's transaction is
    (``GRANT pg_read_all_stats``) and the feed does not tell either.
    """

    pid: int | None
    database: str
    user: str
    application: str
    seconds: float | None


class TooMany(Exception):
    """More is before a reader than may be read while all writers wait."""


class HistoryDiffers(Exception):
    """A cursor belongs to another server, timeline or schema: take a new :func:`position`, compare all by digest, follow on."""


def announce(connection: Connection, origin: str) -> None:
    """Say, until the transaction ends, who writes: the guard lets it pass, and the feed notes it."""
    connection.execute("SELECT set_config('crossfade.origin', %s, true)", [origin])


def turn_on(connection: Connection, schema: str, store_id: int) -> None:
    """Note changes of a tree from now on, in the caller's transaction. Raises LockNotAvailable after the session's lock_timeout.

    Waits for the writers in flight, and has new ones wait, so that no transaction writes partly before and partly after.
    """
    _exclude_writers(connection, schema)
    connection.execute(within("UPDATE {}.stores SET fed = true WHERE store_id = %s", schema), [store_id])


def is_on(connection: Connection, schema: str, store_id: int) -> bool:
    """True where changes of a tree are noted."""
    row = connection.execute(within("SELECT fed FROM {}.stores WHERE store_id = %s", schema), [store_id]).fetchone()
    return row is not None and bool(row[0])


def keep_on(connection: Connection, schema: str, store_id: int) -> bool:
    """Have nobody let go of a feed that is on before the caller's transaction ends; False where it is off.

    For a reader that begins: as long as its cursor is not committed, it is one that nobody else sees.
    """
    query = "SELECT FROM {}.stores WHERE store_id = %s AND fed FOR NO KEY UPDATE"
    return connection.execute(within(query, schema), [store_id]).rowcount == 1


def position(connection: Connection, schema: str) -> Cursor:
    """Where the feed is now. What is read after this call holds everything before it."""
    row = connection.execute(statement("feed_position", schema), {"feed": f"{quoted(schema)}.changes"}).fetchone()
    return Cursor(*cast("tuple[int, int, int, int, int]", row))


def dirty(
    connection: Connection, schema: str, store_id: int, cursor: Cursor, origin: str, limit: int
) -> tuple[list[Dirty], Cursor]:
    """The entries that the next *limit* rows of the feed name, each once, without those of *origin*; and where to go on.

    The cursor may be saved once these entries are applied as they stood at any time after this call. It moves on even where
    nothing is named. Raises HistoryDiffers.
    """
    rows, now = _read(connection, schema, store_id, cursor, origin, limit, committed=False)
    if len(rows) < limit:
        return _entries(rows), now
    return _entries(rows), Cursor(rows[-1][1], rows[-1][2], *now.history)


def drained(
    connection: Connection, schema: str, store_id: int, cursor: Cursor, origin: str, *, seconds: float
) -> tuple[list[Dirty], Cursor]:
    """Every entry that is dirty, however long a transaction of somebody else's runs: none of ours does when this returns.

    Waits for our writers at most *seconds*, and keeps new ones out until the caller's transaction ends. The cursor that comes
    back may be saved; it stays behind foreign transactions, so that some entries may be named again. Raises LockNotAvailable,
    HistoryDiffers, and TooMany beyond ``MOST`` rows. The transaction must be READ COMMITTED, or it would look with a snapshot from before it waited.
    """
    level = connection.execute("SELECT current_setting('transaction_isolation')").fetchone()
    assert level == ("read committed",), "the last look must come after the wait"
    connection.execute("SELECT set_config('lock_timeout', %s, true)", [f"{max(int(seconds * 1000), 1)}ms"])
    _check_count(connection, schema, store_id, cursor, origin)  # before anybody has to wait
    _exclude_writers(connection, schema)
    _check_count(connection, schema, store_id, cursor, origin)
    rows, now = _read(connection, schema, store_id, cursor, origin, None, committed=True)
    return _entries(rows), now


def _check_count(connection: Connection, schema: str, store_id: int, cursor: Cursor, origin: str) -> None:
    """Raises TooMany where more than ``MOST`` rows are to be read."""
    query = (
        "SELECT FROM {}.changes WHERE store_id = %s AND (xid, seq) > (%s::text::xid8, %s::bigint) AND origin <> %s"
        " ORDER BY xid, seq LIMIT 1 OFFSET %s"
    )
    values = [store_id, str(cursor.xid), cursor.seq, origin, MOST]
    if connection.execute(within(query, schema), values).rowcount:
        raise TooMany(f"more than {MOST:,} rows")


def backlog(connection: Connection, schema: str, store_id: int, cursor: Cursor, origin: str) -> Backlog:
    """What *origin*'s reader has before it, rows that it cannot read yet among them."""
    values = {"store_id": store_id, "xid": str(cursor.xid), "seq": cursor.seq, "origin": origin}
    row = connection.execute(statement("feed_backlog", schema), values).fetchone()
    return Backlog(*cast("tuple[int, float | None]", row))


def holding_back(connection: Connection, schema: str) -> Holder | None:
    """Who holds the feed back, if anybody: a transaction in any database of the server, or a prepared one."""
    row = connection.execute(statement("feed_holder", schema)).fetchone()
    return None if row is None else Holder(*cast("Any", row))


def writing(connection: Connection, schema: str) -> Holder | None:
    """Who has written entries, and holds up whoever waits for all writers: the oldest of them."""
    row = connection.execute(statement("feed_writer", schema), {"name": _writers(schema)}).fetchone()
    return None if row is None else Holder(*cast("Any", row))


def clock(connection: Connection) -> datetime:
    """The server's clock, which the changes' times are told by."""
    row = connection.execute("SELECT clock_timestamp()").fetchone()
    assert row is not None
    return cast("datetime", row[0])


def save(connection: Connection, schema: str, migration: str, store_id: int, cursor: Cursor) -> None:
    """Write down how far a reader is, in the transaction that makes it true."""
    values = {"migration": migration, "store_id": store_id, "xid": str(cursor.xid), "seq": cursor.seq}
    history = {"system": cursor.system, "timeline": cursor.timeline, "feed": cursor.feed}
    connection.execute(statement("feed_save", schema), values | history)


def move(connection: Connection, schema: str, migration: str, store_id: int, cursor: Cursor) -> bool:
    """As ``save``, for a reader that has a place. False, and nothing is done, where it was retired."""
    query = (
        "UPDATE {}.cursors SET xid = %s::text::xid8, seq = %s, system = %s, timeline = %s, feed = %s, moved_at = clock_timestamp()"
        " WHERE migration_id = %s AND store_id = %s"
    )
    values = [str(cursor.xid), cursor.seq, cursor.system, cursor.timeline, cursor.feed, migration, store_id]
    return connection.execute(within(query, schema), values).rowcount == 1


def load(connection: Connection, schema: str, migration: str, store_id: int) -> Cursor | None:
    """How far a reader is; None for one that never saved."""
    query = "SELECT xid::text::bigint, seq, system, timeline, feed FROM {}.cursors WHERE migration_id = %s AND store_id = %s"
    row = connection.execute(within(query, schema), [migration, store_id]).fetchone()
    return None if row is None else Cursor(*cast("Any", row))


def forget(connection: Connection, schema: str, migration: str, store_id: int) -> None:
    """A reader that will not come again holds nothing up."""
    query = "DELETE FROM {}.cursors WHERE migration_id = %s AND store_id = %s"
    connection.execute(within(query, schema), [migration, store_id])


def retire(connection: Connection, schema: str, migration: str, store_id: int) -> None:
    """A reader will not come again; where it was the last one, nothing is noted any more. What was is left to ``trim``."""
    forget(connection, schema, migration, store_id)
    rest(connection, schema, store_id)


def rest(connection: Connection, schema: str, store_id: int) -> None:
    """Note nothing any more of a tree that has no reader.

    One that begins is waited for. What it has committed by then only a statement sees that is begun afterwards.
    """
    connection.execute(within("SELECT FROM {}.stores WHERE store_id = %s FOR NO KEY UPDATE", schema), [store_id])
    query = (
        "UPDATE {0}.stores SET fed = false WHERE store_id = %s AND NOT EXISTS (SELECT FROM {0}.cursors WHERE store_id = %s)"
    )
    connection.execute(within(query, schema), [store_id, store_id])


def is_unread(connection: Connection, schema: str, store_id: int) -> bool:
    """True where changes of a tree are noted that nobody will read."""
    query = "SELECT fed AND NOT EXISTS (SELECT FROM {0}.cursors WHERE store_id = %s) FROM {0}.stores WHERE store_id = %s"
    row = connection.execute(within(query, schema), [store_id, store_id]).fetchone()
    return row is not None and bool(row[0])


def trim(connection: Connection, schema: str, store_id: int, limit: int = 50_000) -> int:
    """Delete up to *limit* rows that every reader of the tree has behind it; how many there were. None without a reader."""
    return connection.execute(statement("feed_trim", schema), {"store_id": store_id, "limit": limit}).rowcount


def drop_foreign(connection: Connection, schema: str, store_id: int) -> int:
    """Delete rows of transactions that this server has not had: a dump brought them, and nobody would ever have them behind."""
    query = "DELETE FROM {}.changes WHERE store_id = %s AND xid >= pg_snapshot_xmax(pg_current_snapshot())"
    return connection.execute(within(query, schema), [store_id]).rowcount


_Row = tuple[int, int, int, bytes, datetime]
"""Entry, transaction, number, key, time. Where the entry's row is gone, by hand, the key comes with the change that says so."""


def _read(
    connection: Connection,
    schema: str,
    store_id: int,
    cursor: Cursor,
    origin: str,
    limit: int | None,
    *,
    committed: bool,
) -> tuple[list[_Row], Cursor]:
    """Rows behind *cursor*, and the place behind which everything is still to come."""
    values = {"store_id": store_id, "xid": str(cursor.xid), "seq": cursor.seq, "origin": origin, "limit": limit}
    options = {"committed": committed, "feed": f"{quoted(schema)}.changes"}
    found = cast("list[Any]", connection.execute(statement("feed_read", schema), values | options).fetchall())
    now = Cursor(*found[0][:5])
    if now.history != cursor.history or cursor.xid > now.xid:
        raise HistoryDiffers("the cursor belongs to another server, timeline or schema")
    return [row[5:] for row in found if row[5] is not None], now


def _entries(rows: Iterable[_Row]) -> list[Dirty]:
    """Each entry once, in the order in which they were touched first."""
    found: dict[int, Dirty] = {}
    for entry_id, _, _, key, at in rows:
        known = found.get(entry_id)
        found[entry_id] = (
            Dirty(entry_id, key, at) if known is None else Dirty(entry_id, known.key or key, min(known.since, at))
        )
    return list(found.values())


def _exclude_writers(connection: Connection, schema: str) -> None:
    """Wait for every transaction that has written entries, and keep others out until the caller's ends."""
    connection.execute("SELECT pg_advisory_xact_lock(hashtext(%s), 0)", [_writers(schema)])


def _writers(schema: str) -> str:
    """The name of the lock that writers share (functions/guard.sql)."""
    return f"crossfade writers {quoted(schema)}"
