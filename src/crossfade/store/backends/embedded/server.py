"""Join or start, leave or stop: one user's hold on the server of a directory.

Lock order: a user takes its shared hold first, then ``start.lock``. Whoever wants to stop takes ``start.lock`` first and
only *tries* for the exclusive hold. So they cannot wait for one another, and a decision to stop cannot meet a new user.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from crossfade.errors import EmbeddedFailed
from crossfade.store.backends.embedded import postmaster
from crossfade.store.backends.embedded.account import account_for
from crossfade.store.backends.embedded.cluster import SUPERUSER, Cluster
from crossfade.store.backends.embedded.home import claim, major_of, open_log
from crossfade.store.backends.embedded.postmaster import EXCLUSIVE, SERVER, SHARED, START, USERS, WATCH, Postmaster
from crossfade.store.backends.embedded.programs import majors, programs_for
from crossfade.store.refusals import refused

START_SECONDS_MAX = 300.0  # crash recovery of a large log takes its time
LEAVE_SECONDS_MAX = 10.0
MAJOR_DEFAULT = 18
DATABASE = "crossfade"

_ALOOF = dict.fromkeys(("hostaddr", "options", "requirepeer", "sslrootcert"), "") | {
    "target_session_attrs": "any",
    "sslmode": "disable",
    "gssencmode": "disable",
    "channel_binding": "disable",
    **({"require_auth": ""} if psycopg.pq.version() >= 160000 else {}),
}
"""What PG... variables and services say of other servers is not for ours: PGHOSTADDR would lead to another one."""


class EmbeddedServer:
    """One user's hold on the server of *directory*; the last one out stops it.

    The hold is a lock of the kernel: it ends with the process, however that ends. Any number of holds, in any number of
    processes, share one server. *major* is needed only to choose for a new directory (16 or 18; default 18), or to
    insist on what an old one has.
    """

    def __init__(self, directory: str | os.PathLike[str], *, major: int | None = None) -> None:
        self.directory = os.path.realpath(os.fspath(directory))
        self.major = major
        self._hold: int | None = None
        self._holder = 0
        self._conninfo = ""

    def acquire(self) -> str:
        """Start the server, or join it; return how to connect (a libpq conninfo, without password).

        Raises :class:`EmbeddedFailed`, and then holds nothing.
        """
        if self._hold is None:
            with _explained(self.directory):
                self._acquire(time.monotonic() + START_SECONDS_MAX)
        return self._conninfo

    def release(self) -> None:
        """Let go; stop the server if nobody else holds it. Letting go twice is no mistake."""
        hold, self._hold = self._hold, None
        if hold is None:
            return
        if self._holder == os.getpid():  # in a forked child this lock is the parent's
            fcntl.flock(hold, fcntl.LOCK_UN)
        os.close(hold)
        with _explained(self.directory):
            stop_if_unused(self.directory)

    def __enter__(self) -> str:
        return self.acquire()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.release()

    def _acquire(self, deadline: float) -> None:
        claim(self.directory)
        self._hold, self._holder = postmaster.open_lock(self.directory, USERS), os.getpid()
        try:
            self._conninfo = self._connectable(deadline)
        except BaseException:  # also a Ctrl-C while it starts: a hold that nobody knows of would keep the server up
            self.release()
            raise

    def _connectable(self, deadline: float) -> str:
        assert self._hold is not None
        postmaster.wait_lock(self._hold, SHARED, deadline)
        with postmaster.lock_file(self.directory, START) as start:
            postmaster.wait_lock(start, EXCLUSIVE, deadline)
            # Critical section: only we decide whether a server is started.
            self._refuse_other_major()
            _watch(self.directory)
            return self._serving(deadline)

    def _serving(self, deadline: float) -> str:
        """How to connect, tried. A server that was killed this instant still looks alive: look again, not away."""
        while True:
            conninfo = _conninfo(self.directory, self._up(deadline))
            try:
                _ensure_database(conninfo)
            except psycopg.OperationalError as error:
                if _final(error):
                    raise
                postmaster.pause(deadline)
            else:
                return conninfo

    def _up(self, deadline: float) -> Postmaster:
        """The server, ready; started if none runs. One that is starting, or dying, is waited for."""
        while True:
            with postmaster.lock_file(self.directory, SERVER) as server:
                if postmaster.try_lock(server, EXCLUSIVE):
                    self._start(server, deadline)
            found = postmaster.running(self.directory)
            if found and found.ready:
                return found
            postmaster.pause(deadline)

    def _start(self, server_lock: int, deadline: float) -> None:
        have = major_of(self.directory)
        account = account_for(self.directory)
        programs = programs_for(have or self.major or MAJOR_DEFAULT, account)
        with open_log(self.directory) as log:
            cluster = Cluster(self.directory, account, programs, log)
            if have is None:
                cluster.create(server_lock, deadline)
            cluster.start(server_lock, deadline)

    def _refuse_other_major(self) -> None:
        have, shipped = major_of(self.directory), sorted(majors())
        if have and shipped and have not in shipped:
            raise EmbeddedFailed(
                f"{self.directory} holds a PostgreSQL {have}; the embedded versions are {shipped}",
                hint="use the release of crossfade that made it, or dump it with that PostgreSQL's pg_dump",
            )
        if have and self.major and have != self.major:
            raise EmbeddedFailed(
                f"{self.directory} holds a PostgreSQL {have}, not the {self.major} that was asked for",
                hint=f"use it with {have}, or copy its store to embedded:// with another, empty directory",
            )


def stop_if_unused(directory: str) -> bool:
    """Stop the server of *directory* unless somebody holds it; tell whether nobody does."""
    with postmaster.lock_file(directory, START) as start, postmaster.lock_file(directory, USERS) as users:
        try:
            postmaster.wait_lock(start, EXCLUSIVE, time.monotonic() + LEAVE_SECONDS_MAX)
        except TimeoutError:
            return False  # whoever starts it for that long holds it, and whoever stops it does so for us
        if not postmaster.try_lock(users, EXCLUSIVE):
            return False
        with postmaster.lock_file(directory, SERVER) as server:
            postmaster.stop(directory, server, time.monotonic() + postmaster.STOP_SECONDS_MAX)
        return True


@contextmanager
def _explained(directory: str) -> Iterator[None]:
    """Failures of the machine as errors of ours."""
    try:
        yield
    except (TimeoutError, subprocess.TimeoutExpired) as error:
        raise EmbeddedFailed(
            f"the PostgreSQL in {directory} did not get ready, or did not stop, in time",
            hint=f"read {os.path.join(directory, 'server.log')}, then: crossfade doctor",
        ) from error
    except subprocess.CalledProcessError as error:
        raise EmbeddedFailed(
            f"the watchdog of {directory} did not start", hint=f"read {os.path.join(directory, 'server.log')}"
        ) from error
    except psycopg.Error as error:
        raise EmbeddedFailed(
            f"the PostgreSQL in {directory} runs, but does not serve: {str(error).strip()}",
            hint=f"read {os.path.join(directory, 'server.log')}",
        ) from error
    except OSError as error:
        place = error.filename or directory
        raise EmbeddedFailed(
            f"{directory} cannot hold an embedded PostgreSQL: {os.fsdecode(place)}: {error.strerror}",
            hint="name a directory that you can write, on a file system with room",
        ) from error


def _watch(directory: str) -> None:
    """See to it that a watchdog runs, before there is anything to watch. The caller holds ``start.lock``."""
    with postmaster.lock_file(directory, WATCH) as watch:
        needed = postmaster.try_lock(watch, EXCLUSIVE)
    if not needed:
        return
    with open_log(directory) as log:
        subprocess.run(
            [sys.executable, "-I", "-S", postmaster.__file__, directory],
            check=True,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _conninfo(directory: str, server: Postmaster) -> str:
    owner = os.stat(os.path.join(directory, "data")).st_uid
    if not os.path.lexists(server.socket_dir) or not postmaster.owner_only(server.socket_dir, owner):
        raise EmbeddedFailed(
            f"{server.socket_dir}, which holds the socket of the server in {directory}, is gone or not its own any more",
            hint="end the programs that use this directory: when the last has gone, the server stops and can start anew",
        )
    return make_conninfo(host=server.socket_dir, port=server.port, user=SUPERUSER, dbname=DATABASE, **_ALOOF)


def _ensure_database(conninfo: str) -> None:
    """At every join, because whoever started the server may have been killed before it came to this."""
    with psycopg.connect(conninfo, dbname="postgres", autocommit=True, connect_timeout=30) as connection:
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,)).fetchone():
            create = "CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'"
            connection.execute(sql.SQL(create).format(sql.Identifier(DATABASE)))


def _final(error: psycopg.OperationalError) -> bool:
    """True when the server itself said no, for another reason than that it starts or recovers at the moment; or libpq did."""
    said = str(error)
    return ("FATAL" in said and "the database system is" not in said) or refused(said, "") is not None
