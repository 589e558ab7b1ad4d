"""The server that every benchmark runs against, and the ways to use it that are compared."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from crossfade.store.backends.embedded import EmbeddedServer, majors


@dataclass(frozen=True)
class Bench:
    """An embedded server with fsync, full_page_writes and synchronous_commit on, as it always has them."""

    place: Path
    conninfo: str

    def run(self, *statements: str) -> list[tuple[object, ...]]:
        """Run statements; the rows of the last."""
        with psycopg.connect(self.conninfo, autocommit=True) as connection:
            for statement in statements:
                cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def checkpoint(self) -> None:
        """Begin with a clean slate: what earlier work left to be written is written."""
        self.run("CHECKPOINT")
        os.sync()

    def psql(self, *commands: str) -> None:
        """Run psql, as somebody without crossfade would."""
        binary = majors()[max(majors())] / "psql"
        arguments = [str(binary), "-X", "-q", "-v", "ON_ERROR_STOP=1", self.conninfo]
        for command in commands:
            arguments += ["-c", command]
        subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL)

    def settings(self) -> dict[str, str]:
        """The settings that matter, as the server reports them."""
        names = ("server_version", "fsync", "full_page_writes", "synchronous_commit", "shared_buffers", "max_wal_size")
        return {name: str(self.run(f"SHOW {name}")[0][0]) for name in names}


@contextmanager
def bench(place: Path) -> Iterator[Bench]:
    """A server in *place*, for as long as the benchmark lasts."""
    directory = place / "pg"
    with EmbeddedServer(directory) as conninfo:
        yield Bench(place, conninfo)
