"""What was done, one line each, in a chain: every line's hash covers the one before. Lines are added, never changed."""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import socket
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

from psycopg import sql

from crossfade.store.backends.postgres.server import Connection

START = hashlib.sha256(b"crossfade journal").digest()
"""What the first line of every journal follows."""

_READ = 1000


def actor() -> str:
    """Who does it: the account's name, or its number where it has none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.geteuid()}"


@dataclass(frozen=True)
class Line:
    """What is to be written: *event*, why, and the figures that belong to it; never a secret, never a record's content.

    However often the same ``line`` is sent, it stands in the journal once. ``said_at`` is None for a line that is said and
    appended at once.
    """

    event: str
    detail: dict[str, Any] = field(default_factory=dict)
    reason: str = ""
    said_at: datetime | None = None
    line: str = field(default_factory=lambda: str(uuid.uuid4()))
    actor: str = field(default_factory=actor)
    host: str = field(default_factory=socket.gethostname)

    def values(self) -> dict[str, Any]:
        """As it waits in a file."""
        return {**asdict(self), "said_at": self.said_at and self.said_at.isoformat()}


def line_of(values: dict[str, Any]) -> Line:
    """The line that ``Line.values`` was. Raises TypeError or ValueError for anything else."""
    return Line(**{**values, "said_at": values["said_at"] and datetime.fromisoformat(values["said_at"])})


@dataclass(frozen=True)
class Written:
    """A line as it stands: ``seq`` counts from 1, ``migration`` is the plan's id, ``detail`` is JSON, ``hash`` covers all of it."""

    migration: str
    seq: int
    line: str
    said_at: datetime
    at: datetime
    actor: str
    host: str
    event: str
    reason: str
    detail: str
    previous: bytes
    hash: bytes

    def details(self) -> dict[str, Any]:
        """The figures that belong to it."""
        return cast("dict[str, Any]", json.loads(self.detail))

    def hash_after(self, previous: bytes, seq: int | None = None) -> bytes:
        """What its hash has to be behind a line with the hash *previous*; with *seq*, if it stood there."""
        number = self.seq if seq is None else seq
        times = [moment.astimezone(UTC).isoformat() for moment in (self.said_at, self.at)]
        texts = [self.actor, self.host, self.event, self.reason, self.detail]
        text = json.dumps([self.migration, number, self.line, *times, *texts])
        return hashlib.sha256(previous + text.encode()).digest()


def append(connection: Connection, schema: str, migration: str, line: Line) -> bytes:
    """Add *line*, in the caller's transaction; the head of the chain, which is the last line's hash.

    A line that stands there already, because its commit was not heard, is not added again.
    """
    connection.execute("SELECT pg_advisory_xact_lock(hashtext('crossfade journal'), hashtext(%s))", [migration])
    now, seq, previous, is_there = _last(connection, schema, migration, line)
    if is_there:
        return previous
    said = now if line.said_at is None else line.said_at
    who, host, event, reason = (_plain(text) for text in (line.actor, line.host, line.event, line.reason))
    detail = json.dumps(line.detail, sort_keys=True, default=str)
    written = Written(migration, seq + 1, line.line, said, now, who, host, event, reason, detail, previous, b"")
    head = written.hash_after(previous)
    insert = sql.SQL("INSERT INTO {}.journal ({}) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)")
    connection.execute(insert.format(sql.Identifier(schema), _COLUMNS), [*list(vars(written).values())[:-1], head])
    return head


def _last(connection: Connection, schema: str, migration: str, line: Line) -> tuple[datetime, int, bytes, bool]:
    """The server's time, the last line's number and hash, and whether *line* is there already."""
    query = sql.SQL(
        "SELECT clock_timestamp(), last.seq, last.hash,"
        " EXISTS (SELECT FROM {0}.journal WHERE migration_id = %(migration)s AND line = %(line)s)"
        " FROM (VALUES (1)) AS one LEFT JOIN LATERAL"
        " (SELECT seq, hash FROM {0}.journal WHERE migration_id = %(migration)s ORDER BY seq DESC LIMIT 1) AS last ON true"
    ).format(sql.Identifier(schema))
    row = connection.execute(query, {"migration": migration, "line": line.line}).fetchone()
    now, seq, head, is_there = cast("tuple[datetime, int | None, bytes, bool]", row)
    return now, seq or 0, head if seq else START, is_there


def _plain(text: str) -> str:
    """*text* as a server takes it: a name from a command line may hold bytes that are no text."""
    return text.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()


def head(connection: Connection, schema: str, migration: str) -> bytes:
    """The hash of the last line."""
    query = sql.SQL("SELECT hash FROM {}.journal WHERE migration_id = %s ORDER BY seq DESC LIMIT 1")
    row = connection.execute(query.format(sql.Identifier(schema)), [migration]).fetchone()
    return cast("bytes", row[0]) if row else START


def tells_of(connection: Connection, schema: str, migration: str, events: tuple[str, ...]) -> bool:
    """True where one of *events* has happened to the migration."""
    query = sql.SQL("SELECT EXISTS (SELECT FROM {}.journal WHERE migration_id = %s AND event = ANY(%s))")
    row = connection.execute(query.format(sql.Identifier(schema)), [migration, list(events)]).fetchone()
    return bool(row and row[0])


def last(connection: Connection, schema: str, migration: str, event: str) -> Written | None:
    """The last line of that kind; None where there is none."""
    query = sql.SQL("SELECT {} FROM {}.journal WHERE migration_id = %s AND event = %s ORDER BY seq DESC LIMIT 1")
    row = connection.execute(query.format(_COLUMNS, sql.Identifier(schema)), [migration, event]).fetchone()
    return Written(*_typed(row)) if row else None


def read(connection: Connection, schema: str, migration: str, *, after: int = 0) -> Iterator[Written]:
    """The lines behind number *after*, in order, a thousand at a time."""
    query = sql.SQL("SELECT {} FROM {}.journal WHERE migration_id = %s AND seq > %s ORDER BY seq LIMIT %s")
    text = query.format(_COLUMNS, sql.Identifier(schema))
    while True:
        rows = connection.execute(text, [migration, after, _READ]).fetchall()
        yield from (Written(*_typed(row)) for row in rows)
        if len(rows) < _READ:
            return
        after = cast("int", rows[-1][1])


def count(connection: Connection, schema: str, migration: str, *, since: datetime | None = None) -> int:
    """How many lines there are; with *since*, how many were appended before that."""
    query = sql.SQL(
        "SELECT coalesce(max(seq), 0) FROM {}.journal WHERE migration_id = %s AND (%s::timestamptz IS NULL OR at < %s)"
    )
    row = connection.execute(query.format(sql.Identifier(schema)), [migration, since, since]).fetchone()
    return cast("int", row[0]) if row else 0


_COLUMNS = sql.SQL(
    "migration_id, seq, line, said_at, at, actor, host, event, reason, detail, previous, hash",
)


def _typed(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return (*row[:2], str(row[2]), *row[3:])
