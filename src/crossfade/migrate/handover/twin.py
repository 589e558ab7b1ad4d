"""A tree of files and its twin in a database: what a hand-over is about, whichever of them decides."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass, replace

from crossfade.errors import Unforeseen
from crossfade.migrate.prepare import Run
from crossfade.store.backends.file.gate import Gate, Marker, Side
from crossfade.store.backends.postgres import route
from crossfade.store.backends.postgres.ledger import Ledger, MigrationRow
from crossfade.store.location import parse


@dataclass(frozen=True)
class Twin:
    """*root* are the files; *database* is a URL without a secret, *store* the tree's name in it. *runner* is the epoch of the lease."""

    ledger: Ledger
    migration: str
    store_id: int
    store: str
    root: bytes
    database: str
    runner: int = 0

    @property
    def gate(self) -> Gate:
        """That of the files."""
        return Gate(self.root)

    def have_marker(self) -> None:
        """Have a marker, if there is none: without one, writers have to ask the database."""
        if self.gate.read() is None:
            self.gate.write(self.marker())

    def marker(self, undecided: Iterable[str] = ()) -> Marker:
        """The marker as the route has it, which is the truth; of the kinds that are *undecided*, that."""
        found = self.ledger.ask(lambda c: route.read(c, self.ledger.schema, self.store_id))
        if not found:
            raise Unforeseen(
                "the tree has no route", hint=f"crossfade doctor --store {shlex.quote(self.ledger.server.name)}"
            )
        sides: dict[str, Side] = {kind: "database" if r.authority == "here" else "files" for kind, r in found.items()}
        open_ones: dict[str, Side] = dict.fromkeys(undecided, "undecided")
        return Marker(self.migration, self.database, self.store, route.epoch_of(found), sides | open_ones, self.runner)


def twin_of(run: Run) -> Twin | None:
    """The twin of a run; None for a pair of databases."""
    found = _twin(run.ledger, run.plan.source, run.plan.target, run.migration, run.store_id, run.plan.store)
    return None if found is None else replace(found, runner=run.epoch)


def twin_in(ledger: Ledger, row: MigrationRow) -> Twin | None:
    """The same, from what is written down."""
    return _twin(ledger, row.source, row.target, row.migration, row.store_id, row.plan["store"])


def _twin(ledger: Ledger, source: str, target: str, migration: str, store_id: int, store: str) -> Twin | None:
    places = parse(source), parse(target)
    if all(place.is_database for place in places):
        return None
    files, database = sorted(places, key=lambda place: place.is_database)
    return Twin(ledger, migration, store_id, store, files.path, database.url)
