"""The side that keeps the control state of a hand-over: its route is the truth, whichever side that names."""

from __future__ import annotations

import shlex
from contextlib import closing
from dataclasses import dataclass

from crossfade.errors import PhaseForbids, Unforeseen
from crossfade.migrate.handover.noting import note_changes, noted
from crossfade.migrate.handover.phases import AT_REST
from crossfade.migrate.prepare import Run
from crossfade.store.backends.postgres import feed, route
from crossfade.store.backends.postgres.ledger import Ledger, MigrationRow
from crossfade.store.backends.postgres.route import Route
from crossfade.store.backends.postgres.server import Connection

_SURE_SECONDS = 10.0


@dataclass(frozen=True)
class Tree:
    """A tree in a database, as a migration finds it there."""

    ledger: Ledger
    store_id: int
    migration: str

    @property
    def schema(self) -> str:
        """The schema that it is in."""
        return self.ledger.schema

    def routes(self) -> dict[str, Route]:
        """Its route as it stands. Raises Unforeseen where it has none."""
        return self._found(self.ledger.ask(lambda c: route.read(c, self.schema, self.store_id)))

    def settled(self) -> dict[str, Route]:
        """Its route, once no decision is on its way. Raises psycopg's errors where that takes too long."""
        return self._found(self.ledger.ask(lambda c: route.settled(c, self.schema, self.store_id, _SURE_SECONDS)))

    def note_changes(self) -> None:
        """Have changes of it noted. Raises GateShut, which names the writer, where one holds on to its transaction."""
        note_changes(self.ledger, self.store_id)

    def is_unread(self) -> bool:
        """True where changes of it are noted that nobody reads, as they are between a preparation and the decision."""
        return self.ledger.ask(lambda c: feed.is_unread(c, self.schema, self.store_id))

    def rest(self) -> None:
        """Note nothing any more, where nobody reads it."""
        self.ledger.change(lambda c: feed.rest(c, self.schema, self.store_id))

    def let_go(self) -> None:
        """Delete what was noted, and nobody reads any more."""
        while self.ledger.change(lambda c: feed.trim(c, self.schema, self.store_id)):
            pass

    def noted(self, connection: Connection, seconds: float) -> list[bytes]:
        """The paths of what it got since the migration read its feed, in transactions that are all over. Raises GateShut."""
        return noted(connection, self.schema, self.store_id, self.migration, seconds)

    def noted_until_now(self, seconds: float) -> list[bytes]:
        """The same, while writers go on: they wait for this look only. Raises GateShut."""
        with closing(self.ledger.server.connect("hand-over")) as connection:
            return self.noted(connection, seconds)

    def begin_feed(self, connection: Connection) -> None:
        """Have the migration read on from here, if it does not read yet."""
        if not feed.keep_on(connection, self.schema, self.store_id):
            feed.turn_on(connection, self.schema, self.store_id)
        if feed.load(connection, self.schema, self.migration, self.store_id) is None:
            feed.save(connection, self.schema, self.migration, self.store_id, feed.position(connection, self.schema))

    def end_feed(self, connection: Connection) -> None:
        """A tree that decides about nothing has nothing more to tell the migration."""
        if all(found.authority == "elsewhere" for found in route.read(connection, self.schema, self.store_id).values()):
            feed.retire(connection, self.schema, self.migration, self.store_id)

    def refuse_others(self) -> None:
        """Raises PhaseForbids where another migration hands this tree over, too: each would take the route for its own."""
        rows = [row for row in self.ledger.migrations() if row.store_id == self.store_id and row.migration != self.migration]
        for row in filter(_hands_over, rows):
            raise PhaseForbids(
                f"migration {row.migration}, of {row.source} and {row.target}, has handed this tree over, and is not finished",
                hint=f"crossfade finish {row.migration} --store {shlex.quote(self.ledger.server.name)}   # or rollback",
            )

    def _found(self, routes: dict[str, Route]) -> dict[str, Route]:
        if not routes:
            raise Unforeseen(
                "the tree has no route", hint=f"crossfade doctor --store {shlex.quote(self.ledger.server.name)}"
            )
        return routes


def control_of(run: Run) -> Tree:
    """The tree where the control state of *run* is."""
    return Tree(run.ledger, run.store_id, run.migration)


def _hands_over(row: MigrationRow) -> bool:
    """True for a migration that may have changed the route of its tree."""
    return row.phase not in AT_REST and (row.reversed or bool(row.cut))
