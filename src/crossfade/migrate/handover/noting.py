"""What a database notes of its changes for the other side: begun before a hand-over, read to its end while writers wait."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from psycopg import errors as pg

from crossfade.errors import GateShut
from crossfade.migrate.follow.feed import by_whom
from crossfade.model.paths import path_of
from crossfade.store.backends.postgres import feed
from crossfade.store.backends.postgres.ledger import Ledger
from crossfade.store.backends.postgres.server import Connection

_LOCK_MS = 250
"""How long new writers of all trees may be held up while those in flight are waited for."""


class _Busy(Exception):
    """Somebody writes, and the lock that excludes all writers was not had at once."""


def note_changes(ledger: Ledger, store_id: int) -> None:
    """Have changes of the tree noted. Raises GateShut, which names the writer, where one holds on to its transaction."""
    try:
        ledger.change(lambda connection: _turn_on(connection, ledger.schema, store_id))
    except _Busy:
        writer = ledger.ask(lambda connection: feed.writing(connection, ledger.schema))
        by = by_whom(writer) if writer is not None else ""
        sentence = f"a writer of the database holds on to its transaction{by}; nothing was handed over"
        raise GateShut(sentence, hint="have it end its transaction, then try again") from None


def _turn_on(connection: Connection, schema: str, store_id: int) -> None:
    """Once is enough: it waits for all who write, whichever tree, and new ones wait for it."""
    if feed.is_on(connection, schema, store_id):
        return
    connection.execute("SELECT set_config('lock_timeout', %s, true)", [f"{_LOCK_MS}ms"])
    try:
        feed.turn_on(connection, schema, store_id)
    except pg.LockNotAvailable:
        raise _Busy from None


def noted(connection: Connection, schema: str, store_id: int, migration: str, seconds: float) -> list[bytes]:
    """The paths of what the database got since *migration* read last, in transactions that are all over. Raises GateShut."""
    cursor = feed.load(connection, schema, migration, store_id)
    if cursor is None:
        raise GateShut("nothing is noted of what the database gets", hint=f"crossfade resume {migration}")
    try:
        with in_time():
            found, _ = feed.drained(connection, schema, store_id, cursor, migration, seconds=seconds)
    except feed.TooMany:
        raise GateShut(
            f"the database has noted more than {feed.MOST:,} changes that are not brought over; nothing was handed over",
            hint=f"crossfade status {migration} --watch   # then again",
        ) from None
    except feed.HistoryDiffers:
        raise GateShut(
            "the database was restored, or another took its place, so everything is being compared; nothing was handed over",
            hint=f"crossfade status {migration} --watch",
        ) from None
    return [path_of(dirty.key) for dirty in found]


@contextmanager
def in_time() -> Iterator[None]:
    """A lock that is not had in time is a gate that is shut."""
    try:
        yield
    except pg.LockNotAvailable:
        raise GateShut(
            "a writer of the database holds on to its transaction; nothing was handed over", hint="try again"
        ) from None
