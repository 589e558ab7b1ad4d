"""From a location to a store: which backend a scheme means, and how a worker opens one of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from crossfade.errors import SourceMissing
from crossfade.model.entries import Entry
from crossfade.model.layouts import Layout
from crossfade.store.backends.file.store import FileStore
from crossfade.store.backends.postgres.fence import Fence
from crossfade.store.backends.postgres.ledger import Ledger
from crossfade.store.backends.postgres.server import Server
from crossfade.store.backends.postgres.store import Claim, PostgresStore
from crossfade.store.layers.marking import Marking
from crossfade.store.location import Location, conninfo
from crossfade.store.port import Refusal


@contextmanager
def serving(location: Location, *, create: bool = False) -> Iterator[Server]:
    """The server behind a database location; an embedded one runs at least as long as this lasts.

    Raises SourceMissing for an embedded one that does not exist, unless it may be created.
    """
    if location.scheme == "postgresql":
        yield Server(conninfo(location), location.url, location.secret)
        return
    if not create and not os.path.isdir(location.path):
        raise SourceMissing(f"{location} does not exist", hint="check the path; a volume may not be mounted")
    from crossfade.store.backends.embedded import EmbeddedServer  # noqa: PLC0415 - only whoever has one needs it

    embedded = EmbeddedServer(os.fsdecode(location.path))
    try:
        yield Server(embedded.acquire(), location.url)
    finally:
        embedded.release()


@dataclass(frozen=True)
class FileRecipe:
    """How to open a tree of files."""

    location: Location
    layout: Layout
    include_transient: bool = False
    skip_unreadable: bool = False
    waits: bool = True

    def open(self, worker: int = 0) -> FileStore:
        """A store for one worker."""
        del worker
        return FileStore(
            self.location,
            self.layout,
            include_transient=self.include_transient,
            skip_unreadable=self.skip_unreadable,
            waits=self.waits,
        )


@dataclass(frozen=True)
class MarkedRecipe:
    """How to open a tree of files as the target of *migration*, whose marks are kept in a database."""

    files: FileRecipe
    server: Server
    schema: str
    migration: str
    epoch: int

    def open(self, worker: int = 0) -> Marking:
        """A store for one worker."""
        ledger = Ledger(self.server, self.schema, f"{self.migration} marks")

        def mark(entries: list[Entry], removed: list[Entry], refusals: list[Refusal]) -> None:
            ledger.mark(self.migration, self.epoch, entries, removed, refusals)

        def intend(intents: list[tuple[bytes, bytes]]) -> None:
            ledger.intend(self.migration, self.epoch, worker, intents)

        files = self.files.open(worker)
        files.fence = Fence(ledger, self.migration, self.epoch)
        return Marking(files, intend, mark, ledger.close)


@dataclass(frozen=True)
class DatabaseRecipe:
    """How to open a tree in a database. With an *epoch*, as the target of *migration*; else to read it.

    The server knows the sessions by the *purpose*.
    """

    location: Location
    server: Server
    store_id: int
    layout: Layout
    migration: str = ""
    epoch: int = 0
    purpose: str = "worker"

    def open(self, worker: int = 0) -> PostgresStore:
        """A store for one worker."""
        claim = Claim(self.migration, self.epoch, worker) if self.epoch else None
        return PostgresStore(
            self.location,
            self.server,
            self.store_id,
            self.layout,
            claim=claim,
            migration=self.migration,
            purpose=self.purpose,
        )
