"""Telling the journal what happens in a run, from beside it: whoever tells never waits for the database.

Lines go to the database while it answers. Once it does not, they go to the spool, and from there into the journal when it is
back, with the time at which they were said. What decides something does not pass here: its line commits with what it says.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import psycopg

from crossfade.errors import CrossfadeError
from crossfade.migrate.audit.gathering import Gathering
from crossfade.migrate.audit.spool import Spool
from crossfade.observe.failpoints import durable
from crossfade.store.backends.postgres import journal
from crossfade.store.backends.postgres.journal import Line
from crossfade.store.backends.postgres.server import Server
from crossfade.store.backends.postgres.session import Session

_TICK_SECONDS = 0.5
_ANSWER_SECONDS = 3.0
"""How long the database may think about a line before it counts as away."""

_AGAIN_SECONDS = 2.0
_FLUSH_SECONDS = 12.0


class Scribe:
    """The journal of one migration, for everything that happens while it runs. For use by any thread."""

    def __init__(self, server: Server, schema: str, migration: str) -> None:
        self._server = server
        self._schema = schema
        self._migration = migration
        self._gathering = Gathering()
        self._waiting: list[Line] = []
        self._spool = Spool(migration)
        self._connection: Session | None = None
        self._again_at = 0.0
        self._told = threading.Lock()
        self._delivery = threading.Lock()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def say(self, event: str, detail: dict[str, Any], reason: str = "") -> None:
        """One line, as it is."""
        self._tell(lambda: self._gathering.say(Line(event, detail, reason)))

    def retry(self, fault: str) -> None:
        """*fault*, a class and a code, is being tried again. A burst becomes one line with a count."""
        self._tell(lambda: self._gathering.retry(fault, time.monotonic()))

    def throttle(self, reason: str, seconds: float) -> None:
        """The work waits *seconds* because of *reason*. The beginning and the end become lines."""
        self._tell(lambda: self._gathering.throttle(reason, seconds, time.monotonic()))

    def quarantined(self, kind: str, items: int) -> None:
        """A page left items in quarantine: their number, and nothing of them."""
        self._tell(lambda: self._gathering.quarantined(kind, items))

    def flush(self) -> None:
        """Have everything that was told in the journal, or on disk. Ends bursts and throttles."""
        if self._thread is None:
            return
        self._collect(ending=True)
        if self._delivery.acquire(timeout=_FLUSH_SECONDS):
            try:
                self._deliver()
            finally:
                self._delivery.release()
        else:
            self._keep()

    def close(self) -> None:
        """Flush; what the database did not take stays in the spool for whoever works on the migration next."""
        self._over.set()
        if self._thread is not None:
            self._thread.join(_FLUSH_SECONDS)
        self.flush()
        if self._connection is not None:
            self._connection.close()
        self._spool.close()

    # Beside the run

    def _tell(self, note: Callable[[], None]) -> None:
        with self._told:
            note()
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="scribe", daemon=True)
                self._thread.start()

    def _work(self) -> None:
        while not self._over.wait(_TICK_SECONDS):
            self._collect(ending=False)
            with self._delivery:
                self._deliver()

    def _collect(self, *, ending: bool) -> None:
        now, said_at = time.monotonic(), datetime.now(UTC)
        with self._told:
            said = self._gathering.end(now) if ending else self._gathering.due(now)
            self._waiting += [replace(line, said_at=said_at) for line in said]

    def _deliver(self) -> None:
        """Append what waits, oldest first; or have it on disk."""
        if self._again_at:
            self._keep()
        if not (self._waiting or self._spool.lines) or time.monotonic() < self._again_at:
            return
        lines = [*self._spool.lines, *(replace(line, said_at=None) for line in self._waiting)]
        try:
            self._append(lines)
        except (psycopg.Error, CrossfadeError):
            self._again_at = time.monotonic() + _AGAIN_SECONDS
            self._keep()
        else:
            self._again_at = 0.0
            self._forget({line.line for line in lines})

    def _forget(self, appended: set[str]) -> None:
        """What is in the journal need not wait any more."""
        with self._told:
            self._waiting = [line for line in self._waiting if line.line not in appended]
            if appended.issuperset(line.line for line in self._spool.lines):
                self._spool.clear()

    def _keep(self) -> None:
        """Have what waits on disk. Where no disk takes it, it waits in memory."""
        with self._told:
            if not self._waiting:
                return
            try:
                self._spool.keep(self._waiting)
            except OSError:
                return
            self._waiting = []

    def _append(self, lines: Sequence[Line]) -> None:
        connection = self._connection
        if connection is None or connection.closed:
            connection = self._connection = self._server.connect(f"{self._migration} journal")
        try:
            with durable("postgres.ledger"), connection.within(_ANSWER_SECONDS), connection.transaction():
                for line in lines:
                    journal.append(connection, self._schema, self._migration, line)
        except psycopg.Error:
            connection.close()
            raise
