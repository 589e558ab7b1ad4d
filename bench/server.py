"""The server that every benchmark runs against, and the ways to use it that are compared."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from crossfade.store.backends.embedded import EmbeddedServer, majors, postmaster

_SETTINGS = (
    "server_version",
    "fsync",
    "full_page_writes",
    "synchronous_commit",
    "wal_level",
    "shared_buffers",
    "max_wal_size",
    "checkpoint_timeout",
    "work_mem",
    "maintenance_work_mem",
    "max_parallel_maintenance_workers",
    "autovacuum",
    "jit",
)


@dataclass(frozen=True)
class Bench:
    """An embedded server in *place*, with fsync, full_page_writes and synchronous_commit on, as it always has them."""

    place: Path
    conninfo: str

    def url(self, schema: str) -> str:
        """Where *schema* is, for crossfade."""
        return f"embedded://{self.place}/pg?schema={schema}"

    def run(self, *statements: str) -> list[tuple[object, ...]]:
        """Run statements, each committed by itself; the rows of the last."""
        with psycopg.connect(self.conninfo, autocommit=True) as connection:
            for statement in statements:
                cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def rows(self, query: str) -> Iterator[tuple[object, ...]]:
        """The rows of *query*, as a stream."""
        with psycopg.connect(self.conninfo) as connection, connection.cursor("rows", binary=True) as cursor:
            cursor.itersize = 5_000
            yield from cursor.execute(query.encode())

    def drop(self, *schemas: str) -> None:
        """Away with *schemas*."""
        self.run(*(f"DROP SCHEMA IF EXISTS {schema} CASCADE" for schema in schemas))

    def checkpoint(self) -> None:
        """Begin with a clean slate: what earlier work left to be written is written."""
        self.run("CHECKPOINT")
        os.sync()

    def psql_program(self) -> str:
        """The server's own psql."""
        return str(majors()[max(majors())] / "psql")

    def psql(self, *commands: str) -> None:
        """Run psql, as somebody without crossfade would."""
        subprocess.run(self.psql_command(*commands), check=True, stdout=subprocess.DEVNULL)

    def psql_command(self, *commands: str) -> list[str]:
        """What to type for that."""
        words = [self.psql_program(), "-X", "-q", "-v", "ON_ERROR_STOP=1", self.conninfo]
        return words + [word for command in commands for word in ("-c", command)]

    def settings(self) -> dict[str, str]:
        """The settings that matter, as the server reports them; the same for whoever is compared."""
        return {name: str(self.run(f"SHOW {name}")[0][0]) for name in _SETTINGS}

    def postmaster(self) -> int:
        """The process that all others of the server descend from."""
        found = postmaster.running(str(self.place / "pg"))
        assert found is not None
        return found.pid

    def wal_bytes(self) -> int:
        """How much the server has ever written ahead."""
        return int(str(self.run("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint")[0][0]))


@contextmanager
def bench(place: Path) -> Iterator[Bench]:
    """A server in *place*, for as long as the benchmark lasts. It is on nobody's list of migrations but *place*'s own."""
    with EmbeddedServer(place / "pg") as conninfo:
        yield Bench(place, conninfo)
