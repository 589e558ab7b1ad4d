"""What a database says of a live tree: its change feed, read through a connection of its own. Only hints, as a file system's.

How far the feed is read is written down once nothing that was named up to there is out of step any more. So whoever starts
next goes on from there, and what nobody has applied is named again.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

import psycopg
from psycopg import errors as pg

from crossfade.errors import CrossfadeError
from crossfade.migrate.follow.dirty import Dirty
from crossfade.migrate.prepare import Run
from crossfade.migrate.workers import fault_of
from crossfade.model.paths import path_of
from crossfade.observe.failpoints import durable
from crossfade.store.backends.postgres import feed
from crossfade.store.backends.postgres.feed import Cursor, HistoryDiffers, Holder
from crossfade.store.backends.postgres.server import Server
from crossfade.store.backends.postgres.session import Session
from crossfade.store.registry import DatabaseRecipe

Tell = Callable[[str, dict[str, Any], str], None]
"""Hears of an event for the journal: its name, its detail, its reason."""

_ROWS = 2_000
_ENOUGH = 50_000
"""So many paths that wait are enough: the rest can wait in the feed."""

_KEPT = 1_000
_ANSWER_SECONDS = 20.0
_AGAIN_SECONDS = 0.5
_POLL_SECONDS = 1.0
_WOKEN_SECONDS = 0.1
"""Readers are woken ten times a second at most (functions/feed.sql), so whoever was woken looks again after this."""

_SAVE_SECONDS = 1.0
_QUIET_SECONDS = 60.0
_LONG_SECONDS = 1.0
"""How long a change may wait before it is said what for."""

_LOCK_MS = 250
"""How long the feed's beginning may hold new writers up while it waits for those in flight."""


@dataclass(frozen=True)
class Place:
    """The feed of one tree, and the migration that reads it: its cursor has that name, and its own changes are passed over."""

    server: Server
    schema: str
    store_id: int
    migration: str

    def connect(self) -> Session:
        """A connection where each statement commits."""
        connection = self.server.connect(f"{self.migration} feed")
        connection.autocommit = True
        return connection


def place_of(run: Run) -> Place:
    """The feed of the database that *run* reads."""
    source = run.source
    assert isinstance(source, DatabaseRecipe)
    return Place(source.server, source.location.schema, source.store_id, run.migration)


def begin(place: Place, stop: threading.Event, tell: Callable[[str], None]) -> bool:
    """Have changes noted, and a cursor from before now; False where both were there. To be done before anything is copied.

    Waits for writers in flight, and tells whom it waits for. Raises psycopg's errors.
    """
    with closing(place.connect()) as connection:
        while not stop.is_set():
            try:
                with durable("feed.cursor"), connection.transaction():
                    return _begin(connection, place)
            except pg.LockNotAvailable:
                writer = feed.writing(connection, place.schema)
                tell(f"waiting for a writer before changes are noted{by_whom(writer) if writer else ''}")
            stop.wait(_AGAIN_SECONDS)
    return False


def _begin(connection: Session, place: Place) -> bool:
    is_on = feed.is_on(connection, place.schema, place.store_id)
    if is_on and feed.load(connection, place.schema, place.migration, place.store_id) is not None:
        return False
    connection.execute("SELECT set_config('lock_timeout', %s, true)", [f"{_LOCK_MS}ms"])
    if not feed.keep_on(connection, place.schema, place.store_id):
        feed.turn_on(connection, place.schema, place.store_id)
    feed.drop_foreign(connection, place.schema, place.store_id)
    feed.save(connection, place.schema, place.migration, place.store_id, feed.position(connection, place.schema))
    return True


class FeedWatch:
    """Tells *dirty* of the entries that the feed of *place* names. *tell* hears what the journal should.

    ``trouble`` says why nothing is heard, or why what is known may not be all. ``unread`` changes wait in the feed, the
    oldest since ``unread_since``.
    """

    def __init__(self, place: Place, dirty: Dirty, tell: Tell) -> None:
        self._place = place
        self._dirty = dirty
        self._tell = tell
        self._at: Cursor | None = None
        self._saved: Cursor | None = None
        self._saved_at = time.monotonic()
        self._read: deque[tuple[int, Cursor]] = deque()
        self._sought = 0
        self._is_anew = self._has_more = self._was_read = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="feed", daemon=True)
        self.is_shared = False
        self.trouble = ""
        self.unread = 0
        self.unread_since: float | None = None

    @property
    def hears_all(self) -> bool:
        """True once it was read: what was not yet stands in the feed, and how old that is is known from then on. A cursor that
        does not lead there has everything looked at.
        """
        return self._was_read

    def __enter__(self) -> FeedWatch:
        self._sought = self._dirty.miss()  # what was left undone before the cursor's place is found by a look at everything
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(timeout=5)

    def _watch(self) -> None:
        """Read until it is over; a connection that breaks is made again, and goes on from what is written down.

        What is only in memory may be ahead of a server that crashed: it gives the numbers out again of which nothing was on disk.
        """
        while not self._over.is_set():
            try:
                with closing(self._place.connect()) as connection:
                    self._listen(connection)
            except (psycopg.Error, CrossfadeError) as error:
                self.trouble = f"no hints from the change feed ({fault_of(error)})"
            self._over.wait(_AGAIN_SECONDS)

    def _listen(self, connection: Session) -> None:
        with connection.within(_ANSWER_SECONDS):
            connection.execute(f"LISTEN {feed.CHANNEL}")
            self._read.clear()
            self._at = self._load(connection)
        woken = False
        while not self._over.is_set():
            with connection.within(_ANSWER_SECONDS):
                more = self._take(connection)
                self._save(connection)
            if not more:
                seconds = _WOKEN_SECONDS if woken or self._read else _POLL_SECONDS
                woken = any(True for _ in connection.notifies(timeout=seconds, stop_after=1))

    def _load(self, connection: Session) -> Cursor:
        place = self._place
        self._saved = feed.load(connection, place.schema, place.migration, place.store_id)
        return self._saved or self._anew(connection, "it had no place in the change feed")

    def _take(self, connection: Session) -> bool:
        """Read on; True where there is more."""
        if len(self._dirty) >= _ENOUGH:
            return False
        place, at = self._place, cast("Cursor", self._at)
        try:
            found, cursor = feed.dirty(connection, place.schema, place.store_id, at, place.migration, _ROWS)
        except HistoryDiffers:
            self._at = self._anew(connection, "the server was restored, or another one took its place")
            return True
        if found:
            self._read.append((self._hear(connection, found), cursor))
        elif self._read:
            self._read[-1] = self._read[-1][0], cursor
        elif cursor != self._saved and time.monotonic() - self._saved_at >= _QUIET_SECONDS:
            self._read.append((0, cursor))  # nothing was named: others' changes, or our own
        self._at, had_more, self._has_more = cursor, self._has_more, cursor.seq != 0
        if found and self._has_more:
            self._tell_of_more(connection, found[-1].since)
        self._look_back(connection, is_behind=not found or (had_more and not self._has_more))
        self._was_read = True
        return self._has_more

    def _hear(self, connection: Session, found: list[feed.Dirty]) -> int:
        """Pass on what was named, each with the time of its change; the number of this news."""
        now, clock = time.monotonic(), feed.clock(connection)
        since = {path_of(dirt.key): now - max((clock - dirt.since).total_seconds(), 0.0) for dirt in found if dirt.key}
        if len(self._read) >= _KEPT:
            del self._read[-1]  # what comes next stands for it, too
        return self._dirty.add(dict.fromkeys(since, False), now, since)

    def _tell_of_more(self, connection: Session, since: datetime) -> None:
        """The next rows are about as old as those that were read last: until they are read, it is behind by so much at least."""
        self.unread = max(self.unread, 1)
        self.unread_since = time.monotonic() - max((feed.clock(connection) - since).total_seconds(), 0.0)

    def _anew(self, connection: Session, why: str) -> Cursor:
        """The feed does not lead from the cursor to here: go on from now, once everything was compared."""
        place = self._place
        feed.drop_foreign(connection, place.schema, place.store_id)
        cursor = feed.position(connection, place.schema)
        self._read.clear()
        self._sought, self._is_anew = self._dirty.miss(), True
        self._read.append((0, cursor))
        self._tell("feed began anew", {}, why)
        return cursor

    def _save(self, connection: Session) -> None:
        """Write down how far nothing is out of step any more, and let go of what every reader has behind it."""
        is_late = time.monotonic() - self._saved_at >= _SAVE_SECONDS
        if not self._read or not is_late or self._dirty.made_good < self._sought:
            return
        first, cursor = self._dirty.first_unsettled(), None
        while self._read and self._read[0][0] < first:
            cursor = self._read.popleft()[1]
        if cursor is None:
            return
        place = self._place
        with durable("feed.cursor"), connection.transaction():
            self._keep(connection, cursor)
            feed.trim(connection, place.schema, place.store_id)
        self._saved, self._saved_at = cursor, time.monotonic()

    def _keep(self, connection: Session, cursor: Cursor) -> None:
        """A reader that a hand-over has retired meanwhile stays so: nobody would ever take its place away again."""
        place = self._place
        if self._saved is None:
            feed.save(connection, place.schema, place.migration, place.store_id, cursor)
        else:
            feed.move(connection, place.schema, place.migration, place.store_id, cursor)

    def _look_back(self, connection: Session, *, is_behind: bool) -> None:
        """Say what the feed holds that cannot be read yet, and who is the reason."""
        if not is_behind:
            return
        place, at = self._place, cast("Cursor", self._at)
        left = feed.backlog(connection, place.schema, place.store_id, at, place.migration)
        self.unread = left.count
        self.unread_since = None if left.oldest_seconds is None else time.monotonic() - left.oldest_seconds
        is_long = (left.oldest_seconds or 0.0) > _LONG_SECONDS
        holder = feed.holding_back(connection, place.schema) if is_long else None
        self._is_anew = self._is_anew and self._dirty.made_good < self._sought
        if self._is_anew:
            self.trouble = "the feed began anew, so everything is being compared"
        else:
            self.trouble = f"{left.count:,} changes cannot be read yet{by_whom(holder)}" if holder else ""


def by_whom(holder: Holder) -> str:
    """Who holds something up, for people."""
    who = f"process {holder.pid}" if holder.pid is not None else "a prepared transaction"
    named = ", ".join(filter(None, (holder.application, f"user {holder.user}", f"database {holder.database}")))
    age = f" for {holder.seconds:.0f} s" if holder.seconds is not None else ""
    return f": a transaction of {who} ({named}) runs{age}"
