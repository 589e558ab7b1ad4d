"""A tree in PostgreSQL, as a store.

One page is one transaction: records, entries, marks and the worker's position commit together or not at all. When a commit
went unheard, the next try asks for the page's name before it writes anything (docs/decisions/0004).
"""

from __future__ import annotations

import errno
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import psycopg
from psycopg import sql
from psycopg.pq import TransactionStatus

from crossfade.errors import TargetUnfit
from crossfade.model.changes import Block, Page
from crossfade.model.digests import Segment
from crossfade.model.entries import Entry, Signature, altered
from crossfade.model.layouts import Layout
from crossfade.model.paths import is_below, key_of, path_of
from crossfade.observe.failpoints import durable
from crossfade.store.backends.postgres.figures import ServerFigures
from crossfade.store.backends.postgres.page import PageWriter
from crossfade.store.backends.postgres.reading import Rows
from crossfade.store.backends.postgres.server import Server
from crossfade.store.backends.postgres.session import SILENCE_SECONDS, Session
from crossfade.store.backends.postgres.statements import statement
from crossfade.store.faults import is_data_error
from crossfade.store.location import Location
from crossfade.store.port import Applied, Capabilities, Reading, Span

_LISTED = 4000


@dataclass(frozen=True)
class Claim:
    """For whom a page is applied: the migration, the runner's epoch, and which of its workers."""

    migration: str
    epoch: int
    worker: int


class PostgresStore:
    """The tree *store_id* in a schema. With a *claim*, pages are fenced by its epoch and leave marks behind."""

    can = Capabilities(atomic=True, digests=True, signatures=False, any_path=True, moves=True)

    def __init__(
        self,
        location: Location,
        server: Server,
        store_id: int,
        layout: Layout,
        *,
        claim: Claim | None = None,
        migration: str = "",
        purpose: str = "worker",
    ) -> None:
        self.location = location
        self.layout = layout
        self._server = server
        self._store_id = store_id
        self._claim = claim
        self._migration = claim.migration if claim else migration
        self._purpose = f"{self._migration} {purpose}".lstrip()
        self._connection: Session | None = None
        self._writer = PageWriter(location.schema, store_id, layout, claim)
        self._last: uuid.UUID | None = None
        self._heard = False
        self._said = Applied()

    def entries(
        self, *, after: bytes | None = None, tombstones: bool = False, under: bytes = b"", directories: bool = False
    ) -> Iterator[Entry]:
        """See the port. Each entry comes with its mark as signature. Reads a few thousand at a time, in short transactions."""
        start = after if after is not None else under or None
        last = None if start is None else key_of(start)
        query = statement("entries_list", self.location.schema)
        values = {"store_id": self._store_id, "migration": self._migration, "gone": tombstones, "limit": _LISTED}
        values["directories"] = directories
        while True:
            connection = self._open()
            with connection.cursor(binary=True) as cursor:
                rows = cursor.execute(query, {**values, "after": last}).fetchall()
            connection.rollback()
            found = [entry for entry in map(_entry, rows) if not under or is_below(entry.path, under)]
            yield from found
            if len(rows) < _LISTED or len(found) < len(rows):
                return
            last = cast("bytes", rows[-1][1])

    def look(self, paths: Sequence[bytes]) -> Iterator[Entry]:
        """See the port."""
        connection = self._open()
        found = self._standing(connection, paths)
        connection.rollback()
        yield from found

    def _standing(self, connection: Session, paths: Sequence[bytes]) -> list[Entry]:
        values = {"store_id": self._store_id, "migration": self._migration, "keys": [key_of(path) for path in paths]}
        with connection.cursor(binary=True) as cursor:
            return list(map(_entry, cursor.execute(statement("entries_look", self.location.schema), values)))

    def read(self, readings: Sequence[Reading]) -> Iterator[Block]:
        """See the port. Each entry comes as it stands, in one snapshot with its bytes, whatever it was when it was listed."""
        connection = self._open()
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        try:
            for start in range(0, len(readings), _LISTED):
                yield from self._read(connection, readings[start : start + _LISTED])
        finally:
            if not connection.closed:
                connection.rollback()

    def _read(self, connection: Session, readings: Sequence[Reading]) -> Iterator[Block]:
        standing = {entry.path: entry for entry in self._standing(connection, [each.entry.path for each in readings])}
        there = list(_as_they_stand(readings, standing))
        yield from Rows(connection, self.location.schema, self._store_id).blocks(there)
        if len(there) < len(readings):
            raise FileNotFoundError(errno.ENOENT, "it is gone, or being written anew", readings[len(there)].entry.path)

    def segments(self, entry: Entry) -> tuple[Segment, ...]:
        """See the port."""
        query = sql.SQL(
            "SELECT number, pos, size, digest FROM {}.segments WHERE store_id = %s AND entry_id = %s ORDER BY number"
        )
        connection = self._open()
        cursor = connection.execute(query.format(sql.Identifier(self.location.schema)), [self._store_id, entry.row])
        found = [Segment(*row) for row in cast("list[tuple[int, int, int, bytes]]", cursor.fetchall())]
        torn = self._torn(connection, entry, [s.offset + s.size for s in found]) if not entry.complete else set()
        connection.rollback()
        while found and (end := found[-1].offset + found[-1].size) in torn and (entry.within is None or end <= entry.within):
            found.pop()
        return tuple(found)

    def _torn(self, connection: Session, entry: Entry, ends: list[int]) -> set[int]:
        """Those of *ends* at which a long record goes on: there is a piece of it, and no record starts."""
        values = {"store_id": self._store_id, "entry": entry.row, "ends": ends}
        rows = connection.execute(statement("pieces_at", self.location.schema, entry.kind), values).fetchall()
        return {cast("int", row[0]) for row in rows}

    def digest(self, entries: Sequence[Entry]) -> Iterator[tuple[Entry, bytes]]:
        """See the port. One aggregate a segment, inside the server."""
        yield from self._rows().digests(entries)
        self._open().rollback()

    def weigh(self, spans: Sequence[Span]) -> Iterator[tuple[int, bytes]]:
        """See the port. One aggregate a span, inside the server."""
        yield from self._rows().weights(spans)
        self._open().rollback()

    def apply(self, page: Page) -> Applied:
        """See the port. Raises psycopg's own errors, so that a layer above can tell the transient ones."""
        if self._last == page.name and (self._heard or self._was_applied(page)):
            return self._heard_of()
        try:
            return self._commit(page, careful=False)
        except psycopg.Error as error:
            if not is_data_error(error):
                self._reset()
                raise
        return self._commit(page, careful=True)

    def _commit(self, page: Page, *, careful: bool) -> Applied:
        connection = self._open()
        with connection.within(SILENCE_SECONDS), connection.transaction():
            self._said = self._writer.write(connection, page, careful=careful)
            self._last, self._heard = page.name, False
            ending = durable("postgres.page")
            ending.__enter__()
        ending.__exit__(None, None, None)
        return self._heard_of()

    def _heard_of(self) -> Applied:
        """The last page is known to be committed."""
        self._heard = True
        self._writer.keep()
        return self._said

    def _was_applied(self, page: Page) -> bool:
        """Ask, after a commit that nobody heard: is this page the worker's last?

        The commit may still be on its way to the server: the worker's lock is waited for, which that transaction holds.
        """
        assert self._claim is not None
        query = sql.SQL("SELECT 1 FROM {}.positions WHERE migration_id = %s AND worker = %s AND page = %s")
        connection = self._open()
        self._writer.lock(connection)
        found = connection.execute(
            query.format(sql.Identifier(self.location.schema)), [self._claim.migration, self._claim.worker, page.name]
        ).fetchone()
        connection.rollback()
        return found is not None

    def figures(self) -> ServerFigures:
        """For validation: figures of this tree's entries, computed in the server."""
        return ServerFigures(self._open(), self.location.schema, self._store_id)

    def rollback(self) -> None:
        """End a look at the tree."""
        self._open().rollback()

    def hides(self, path: bytes, *, looked: bool = False) -> bool:
        """See the port. All is seen here."""
        del path, looked
        return False

    def close(self) -> None:
        """See the port."""
        self._reset()

    def _rows(self) -> Rows:
        return Rows(self._open(), self.location.schema, self._store_id)

    def _open(self) -> Session:
        if self._connection is None or self._connection.closed:
            self._connection = self._server.connect(self._purpose)
        elif self._connection.info.transaction_status is not TransactionStatus.IDLE:
            self._connection.rollback()  # a read that failed, or that nobody wanted to the end: its snapshot is of the past
        return self._connection

    def _reset(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None


def _as_they_stand(readings: Sequence[Reading], standing: dict[bytes, Entry]) -> Iterator[Reading]:
    """*readings* of the entries as they are now, up to the first that is not there any more."""
    for reading in readings:
        entry = standing.get(reading.entry.path)
        if entry is None or not _is_still(entry, reading.entry):
            return
        form = (
            reading.entry.form if entry.digest == reading.entry.digest else entry.form
        )  # whoever asks may read it otherwise
        yield Reading(altered(entry, form=form), reading.offset, reading.within)


def _is_still(entry: Entry, asked: Entry) -> bool:
    """True where *entry* is the one that was *asked* for, grown or rewritten perhaps, and not being written anew."""
    return entry.type == "file" and entry.row == asked.row and (entry.complete or not asked.complete)


def _entry(row: tuple[Any, ...]) -> Entry:
    if b"/" in row[1]:
        raise TargetUnfit(
            f"entry {row[0]} of the database has a slash in its key, which no path gives",
            hint=f"somebody edited it by SQL: SET crossfade.origin = 'by hand', then set it right, or DELETE FROM entries WHERE entry_id = {row[0]}",
        )
    signature = Signature(*row[16:20]) if row[16] is not None else None
    return Entry(
        path=path_of(row[1]),
        type=row[2],
        kind=row[3],
        form=row[4],
        generation=row[5],
        size=row[6],
        records=row[7],
        raws=row[8],
        mode=row[9],
        mtime_ns=row[10],
        link=row[11],
        digest=row[12],
        within=row[13],
        complete=row[14],
        unstable=row[15],
        signature=signature,
        marked=row[20],
        row=row[0],
    )
