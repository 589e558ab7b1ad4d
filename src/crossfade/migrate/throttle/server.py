"""Looking at the database server: who waits for us there, how far its replicas and its archive are behind, what it uses.

A role without rights sees less, and so does somebody on another machine; what is not seen is said.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Any, cast

import psycopg

from crossfade.errors import CrossfadeError
from crossfade.migrate.throttle.machine import Process, cpu_seconds_of, process_of, uptime_seconds, waited_seconds_of
from crossfade.migrate.throttle.sample import Health
from crossfade.store.backends.postgres.server import Server
from crossfade.store.backends.postgres.session import Session, opened_here

_FIRST_SECONDS = 0.5
"""What is over sooner is not worth a connection."""

_SECONDS = 2.0
_ANSWER_SECONDS = 5.0

MINE = "^crossfade {migration} (?!validate$)[a-z-]+$"
"""What sessions are called that a run of *migration* has; whoever compares its two sides has names and a terminal of their own.

Sessions for the control state bear no migration's name: they are a run's if its own process has opened them. Who works beside a
session, where a statement of it runs in parallel, bears its name, and a number that nobody here has opened.
"""

_QUERY = b"""
WITH ours AS (
    SELECT coalesce(array_agg(pid), '{}') AS pids,
        coalesce(array_agg(pid) FILTER (WHERE application_name ~ %s OR coalesce(leader_pid, pid) = ANY (%s)), '{}') AS mine
    FROM pg_stat_activity
    WHERE usename = session_user AND application_name ~ '^crossfade ([0-9a-f]+ )?[a-z-]+$'
      AND application_name <> 'crossfade writer' -- a program's own, which may wait for us like any other
), waiting AS MATERIALIZED (
    SELECT DISTINCT pid FROM pg_locks WHERE NOT granted
)
SELECT pids, mine,
    (SELECT count(*) FROM waiting WHERE pid <> ALL(pids) AND pg_blocking_pids(pid) && pids),
    (SELECT count(*) FROM pg_stat_replication),
    (SELECT count(*) FROM pg_stat_replication WHERE state IS NOT NULL),
    (SELECT extract(epoch FROM max(replay_lag))::float8 FROM pg_stat_replication),
    current_setting('archive_mode'),
    (SELECT last_archived_wal FROM pg_stat_archiver),
    CASE WHEN NOT pg_is_in_recovery() THEN (pg_current_wal_lsn() - '0/0')::float8 END,
    pg_size_bytes(current_setting('wal_segment_size'))::float8
FROM ours
"""


def archive_lag(position: float | None, last: str | None, segment: float) -> float | None:
    """Bytes between where the server writes its log and the end of the *last* segment that is archived, by its file's name."""
    match = re.match(r"[0-9A-F]{8}([0-9A-F]{8})([0-9A-F]{8})", last or "")
    if position is None or match is None or segment <= 0:
        return None
    number = int(match[1], 16) * (2**32 / segment) + int(match[2], 16)
    return max(position - (number + 1) * segment, 0.0)


class Ever:
    """What the server's processes that work for us have come to, as *measure* says of each: those that ended keep what they had.

    Of one that began before *since*, what it had when it was met does not count. For any thread.
    """

    def __init__(self, measure: Callable[[int], float], since: float) -> None:
        self._measure = measure
        self._since = since
        self._lock = threading.Lock()
        self._counts: dict[Process, float] = {}
        self._ended = 0.0
        self.has_met = False

    def meet(self, pids: Iterable[int]) -> None:
        """These work for us by now."""
        with self._lock:
            for process in filter(None, map(process_of, pids)):
                self.has_met = True
                if process not in self._counts:
                    known = 0.0 if process.began >= self._since else self._measure(process.pid)
                    self._ended -= known
                    self._counts[process] = known
            self._count()

    def total(self) -> float:
        """All of it, by now."""
        with self._lock:
            self._count()
            return self._ended + sum(self._counts.values())

    def _count(self) -> None:
        """A number may be another process's by now, of which nothing counts."""
        for process, before in list(self._counts.items()):
            now = self._measure(process.pid)
            if process.is_there:
                self._counts[process] = max(now, before)
            else:
                self._ended += self._counts.pop(process)


class ServerWatch:
    """Asks the server every two seconds, through a connection and a thread of its own; ``health`` is what it last heard.

    What it uses of the processors is what it uses for the run of *migration*: not for another one, and not for whoever else looks
    at this one, to validate it for one.
    """

    def __init__(self, server: Server, migration: str) -> None:
        self._server = server
        self._mine = MINE.format(migration=migration)
        self._health = Health(unseen=("the server (not asked yet)",))
        since = uptime_seconds() - 1
        self._used, self._waited = Ever(cpu_seconds_of, since), Ever(waited_seconds_of, since)
        self._is_here = False
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """Start looking; may be called again."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="server watch", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Look no more."""
        self._over.set()
        if self._thread is not None:
            self._thread.join(_ANSWER_SECONDS)

    def health(self) -> Health:
        """How the server was a moment ago, and what its processes have used by now."""
        used = self._used.total() if self._used.has_met else None
        return replace(self._health, cpu_seconds=used, waited_seconds=self._waited.total())

    def _watch(self) -> None:
        connection: Session | None = None
        wait = _FIRST_SECONDS
        while not self._over.wait(wait):
            wait = _SECONDS
            try:
                connection = connection or self._server.connect("governor")
                with connection.within(_ANSWER_SECONDS):
                    self._health = self._ask(connection)
            except (psycopg.Error, CrossfadeError):
                self._health = Health(unseen=("the server (it does not answer)",))
                if connection is not None:
                    connection.close()
                connection = None
        if connection is not None:
            connection.close()

    def _ask(self, connection: Session) -> Health:
        row = cast("tuple[Any, ...]", connection.execute(_QUERY, [self._mine, list(opened_here())]).fetchone())
        connection.rollback()
        pids, mine, blocked, replicas, seen, lag, mode, last, position, segment = row
        unseen = [] if seen == replicas else ["how far replicas are behind (needs pg_monitor)"]
        archived = None if mode == "off" else archive_lag(position, last, segment)
        unseen += ["how far the archive is behind"] if mode != "off" and archived is None else []
        self._is_here = _is_here(connection)
        if self._is_here:
            self._used.meet(mine)
            self._waited.meet(pids)
        else:
            unseen.append("what the server uses of its processors (it is on another machine)")
        return Health(blocked, lag, archived, unseen=tuple(unseen))


def _is_here(connection: Session) -> bool:
    """True where the server runs on this machine, among the processes that can be seen."""
    info = connection.info
    if not info.host.startswith("/") and info.hostaddr not in ("127.0.0.1", "::1"):
        return False
    with suppress(OSError), open(f"/proc/{info.backend_pid}/comm") as file:
        return file.read().startswith("postgres")
    return False
