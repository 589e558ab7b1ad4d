"""Where it is written what a migration could not place: in the database that it was brought to.

Of a pair of databases that is either one, once the authority has changed hands: what comes back to the source is refused there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace

from crossfade.migrate.handover.phases import is_of_databases, may_have_turned
from crossfade.model import layouts
from crossfade.model.layouts import Layout
from crossfade.store.backends.postgres import journal, pointer, quarantine
from crossfade.store.backends.postgres.journal import Line
from crossfade.store.backends.postgres.ledger import Item, Ledger, MigrationRow
from crossfade.store.backends.postgres.server import Connection, Server
from crossfade.store.location import Location, conninfo, parse
from crossfade.store.registry import serving

FAR = "source:"
"""Before the number of an item that stands in the other database: each counts by itself."""


@dataclass(frozen=True)
class Books:
    """What *migration* has brought to one database, where its tree has the number *store_id*. *control* has its journal."""

    migration: str
    ledger: Ledger
    store_id: int
    control: Ledger

    @property
    def is_far(self) -> bool:
        """True for the source of a pair of databases, which keeps no control state."""
        return self.ledger is not self.control

    def held(self) -> list[Item]:
        """The items that are held, oldest first."""
        return self.ledger.quarantine(self.migration)

    def name(self, item: Item) -> str:
        """What people call *item*."""
        return f"{FAR if self.is_far else ''}{item.item}"

    def layout(self) -> Layout:
        """That of the tree."""
        row = next(store for store in self.ledger.stores() if store.store_id == self.store_id)
        return layouts.parse(row.layout, source=row.layout_name)

    def settle(self, items: Sequence[Item], state: str) -> int:
        """Move *items* to another state, with a line of the journal; how many there were."""
        numbers = sorted(item.item for item in items)
        line = Line(f"quarantine {state}", {"count": len(items), "items": quarantine.named(numbers)})

        def work(connection: Connection) -> int:
            count = quarantine.settle(connection, self.ledger.schema, self.migration, numbers, state)
            if not self.is_far:
                journal.append(connection, self.ledger.schema, self.migration, line)
            return count

        count = self.ledger.change(work)
        if self.is_far:
            self.control.note(self.migration, line.event, {**line.detail, "side": "source"})
        return count


@contextmanager
def books_of(ledger: Ledger, row: MigrationRow) -> Iterator[list[Books]]:
    """Every place where something of *row* may be held, that with the control state first. Raises what speaks against a look."""
    near = Books(row.migration, ledger, row.store_id, ledger)
    if not (is_of_databases(row) and may_have_turned(ledger, row)):
        yield [near]
        return
    place = _as_reached(parse(row.source), ledger.server)
    with serving(place) as server, closing(Ledger(server, place.schema)) as origin:
        found = origin.ask(lambda c: pointer.find(c, origin.schema, row.migration))
        yield [near] if found is None else [near, Books(row.migration, origin, found.store_id, ledger)]


def of_direction(every: Sequence[Books], *, backwards: bool) -> Books:
    """Of *every*, those of the database that is brought to; *backwards* is toward the plan's source."""
    return next((books for books in every if books.is_far == backwards), every[0])


def counted(every: Sequence[Books]) -> dict[str, int]:
    """How many items are held in all, by kind."""
    return dict(sum((Counter(books.ledger.quarantined(books.migration)) for books in every), Counter()))


def _as_reached(place: Location, server: Server) -> Location:
    """*place*, with the secret by which *server* was reached, if it is that one."""
    is_same = place.scheme == "postgresql" and conninfo(place) == server.conninfo
    return replace(place, secret=server.secret) if is_same else place
