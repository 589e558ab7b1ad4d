"""Connections, and what a server's errors mean.

A server's own message may quote the row (DETAIL, CONTEXT), so only SQLSTATE, constraint and table ever leave this module.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg
from psycopg import errors as pg

from crossfade.errors import (
    CrossfadeError,
    DiskFull,
    ServerRefused,
    TargetDenied,
    TargetUnfit,
    TargetUnreachable,
    TargetUnwritable,
)
from crossfade.store.backends.postgres.session import Session
from crossfade.store.faults import is_transient
from crossfade.store.refusals import LOGIN, refused

Connection = psycopg.Connection[tuple[object, ...]]

OLDEST = 140000

NO_DATABASE = "there is no such database"
"""How the sentence ends that says so."""

logging.getLogger("psycopg").addHandler(logging.NullHandler())  # what it would say on stderr, where nobody listens


_SESSION = b"""
SET lock_timeout = '30s';
SET search_path = pg_catalog;
SET DateStyle = 'ISO, MDY'; SET bytea_output = 'hex'; SET standard_conforming_strings = on; -- whatever a role or PG... says
SET default_transaction_isolation = 'read committed'; -- what is looked at behind a lock is to be what it is by then
SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'; -- heard is kept
SET statement_timeout = 0; -- an index of a large table takes as long as it takes
SET idle_session_timeout = 0; -- whoever pauses, or follows what rests, comes back
SET idle_in_transaction_session_timeout = '60s'; -- a client that vanished holds its worker's lock until the server notices:
SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3 -- soon, not after two hours
"""
_SESSION_OF_17 = b"SET transaction_timeout = 0"
"""What a session of ours needs, whatever the server, the database, the role or the environment says of sessions.

What is left as it is: default_transaction_read_only, by which a database is kept from being written on purpose (CF206 tells
it), and a synchronous_commit of ``local`` and above, which all outlast a crash of the server.
"""


@dataclass(frozen=True)
class Server:
    """How to reach a server: picklable, handed to workers; the password stays out of every rendering."""

    conninfo: str
    name: str
    secret: str = field(default="", repr=False)

    def connect(self, purpose: str) -> Session:
        """A connection that commits nothing by itself. Raises a coded error, with the password in no part of it."""
        with plain_errors(self.name):
            options = {"password": self.secret} if self.secret else {}
            connection = Session.connect(
                self.conninfo,
                application_name=f"crossfade {purpose}",
                client_encoding="UTF8",
                connect_timeout=10,
                keepalives_idle=10,
                keepalives_interval=5,
                keepalives_count=3,
                tcp_user_timeout=30_000,
                **options,  # type: ignore[arg-type]
            )
        with plain_errors(self.name):
            self._fit(connection)
        return connection.known()

    def _fit(self, connection: Connection) -> None:
        """Refuse a server that could not keep what it is given; set what a session of ours needs."""
        info = connection.info
        if info.server_version < OLDEST:
            found = info.server_version // 10000
            raise TargetUnfit(f"{self.name} runs PostgreSQL {found}", hint="use PostgreSQL 14 or newer")
        encoding = info.parameter_status("server_encoding")
        if encoding != "UTF8":
            raise TargetUnfit(
                f"the database of {self.name} has the encoding {encoding}",
                hint="make one that can hold every name: createdb --encoding=UTF8 --template=template0 NAME",
            )
        connection.execute(_SESSION)
        if info.server_version >= 170000:
            connection.execute(_SESSION_OF_17)
        connection.commit()


@contextmanager
def plain_errors(name: str) -> Iterator[None]:
    """Turn a driver's error into one of ours, for *name*'s reader."""
    try:
        yield
    except psycopg.Error as error:
        raise translate(error, name) from None


def translate(error: psycopg.Error, name: str) -> CrossfadeError:
    """The coded error for a driver's. Never quotes the server's DETAIL, CONTEXT or QUERY."""
    state = error.sqlstate or ""
    where = _where(error)
    if isinstance(error, pg.DiskFull) or state == "53100":
        return DiskFull(
            f"no space is left on the server of {name}", hint="free some space there, then give the same command again"
        )
    if not state and (found := refused(str(error), name)):
        return found
    if state.startswith("28"):
        return TargetDenied(f"{name} refused the login", hint=LOGIN)
    if state == "3D000" or (not state and "does not exist" in str(error) and "database" in str(error)):
        return TargetUnreachable(f"{name}: {NO_DATABASE}", hint="createdb --encoding=UTF8 --template=template0 NAME")
    if state == "42501":
        return TargetDenied(
            f"{name} does not allow this role what it needs ({where})",
            hint="crossfade schema --sql   # prints the DDL and the GRANTs for a DBA",
        )
    if state == "25006":
        return TargetUnwritable(f"{name} is read-only", hint="connect to the primary, or end default_transaction_read_only")
    if is_transient(error):
        return TargetUnreachable(
            f"{name} does not answer ({where})", hint="start the server or check the address, then repeat the command"
        )
    return ServerRefused(
        f"{name} refused a statement ({where})", hint="crossfade doctor   # looks at the schema and the server"
    )


def _where(error: psycopg.Error) -> str:
    """SQLSTATE, table and constraint; nothing that could hold a record's content. A trigger may say what it likes."""
    diagnosis = error.diag
    parts = [f"SQLSTATE {error.sqlstate}" if error.sqlstate else type(error).__name__]
    if (diagnosis.source_file or "").startswith("pl"):  # RAISE, and its like in other languages
        return parts[0]
    parts += [f"table {diagnosis.table_name}"] if diagnosis.table_name else []
    parts += [f"constraint {diagnosis.constraint_name}"] if diagnosis.constraint_name else []
    return ", ".join(parts)
