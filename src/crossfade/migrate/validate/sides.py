"""Two sides to compare: how to open them, whose bytes are read, and who is asked for figures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime

from crossfade.errors import MigrationUnknown, SourceMissing
from crossfade.migrate.known import came_from, find_store
from crossfade.migrate.plan import keeps_strangers
from crossfade.migrate.prepare import check_pair
from crossfade.migrate.to_type import start_again
from crossfade.model import layouts
from crossfade.model.layouts import Layout
from crossfade.store.backends.postgres.ledger import Ledger, MigrationRow, StoreRow
from crossfade.store.backends.postgres.schema import quoted
from crossfade.store.location import Location
from crossfade.store.port import Recipe
from crossfade.store.registry import DatabaseRecipe, FileRecipe, serving

_SILENT_SECONDS = 5.0
"""Who follows says once a second how far it is."""


@dataclass(frozen=True)
class Sides:
    """A pair that can be compared. ``asks`` is a database; ``reads`` the other side. ``migration`` is None for strangers.

    After a cut-over ``source`` is the plan's target, which has the authority. ``ledger`` keeps the control state; ``asked`` is
    that of the database that is asked.
    """

    source: Location
    target: Location
    layout: Layout
    ledger: Ledger
    store_id: int
    store: str
    reads: Recipe
    asks: DatabaseRecipe
    asked: Ledger
    migration: MigrationRow | None

    @property
    def reads_source(self) -> bool:
        """True where the source's bytes are read, and the target is asked."""
        return self.target.is_database

    @property
    def kinds(self) -> frozenset[str] | None:
        """The kinds that were to be moved; None for all."""
        named = self.migration.kinds if self.migration else None
        return None if named is None else frozenset(named)

    @property
    def keeps_strangers(self) -> bool:
        """True where the migration was begun with ``--merge``: what a stranger has in the target does not count."""
        row = self.migration
        if row is None:
            return False
        return keeps_strangers(merge=bool(row.wanted.get("merge")), target=self.target, planned=row.target)

    @property
    def recipes(self) -> tuple[Recipe, Recipe]:
        """How to open the source, and the target."""
        return (self.reads, self.asks) if self.reads_source else (self.asks, self.reads)

    @property
    def name(self) -> str:
        """The migration's id; empty for strangers."""
        return self.migration.migration if self.migration else ""

    def is_alive(self) -> bool:
        """True while somebody brings changes over."""
        return self.migration is not None and self.ledger.runner(self.name) is not None

    def changed_kinds(self, since: datetime) -> frozenset[str]:
        """The kinds of which something came over *since*, by the server's clock."""
        query = f"SELECT DISTINCT kind FROM {quoted(self.asked.schema)}.entries WHERE store_id = %s AND changed_at >= %s"
        rows = self.asked.ask(lambda c: c.execute(query.encode(), [self.asks.store_id, since]).fetchall())
        return frozenset(str(kind) for (kind,) in rows)

    def lag_seconds(self) -> float | None:
        """How far behind the target was, when whoever follows looked last; None where nobody follows, or says so."""
        row = next((row for row in self.ledger.migrations() if row.migration == self.name), None)
        if row is None or row.progress is None or (self.ledger.now() - row.updated_at).total_seconds() > _SILENT_SECONDS:
            return None
        found = (row.progress.get("lag") or {}).get("seconds")
        return None if found is None else float(found)

    def is_followed(self, lag_max: float) -> bool:
        """True where somebody follows, and is not farther behind than that."""
        lag = self.lag_seconds()
        return lag is not None and lag <= lag_max


@contextmanager
def sides(source: Location, target: Location, store_name: str, *, skip_unreadable: bool = False) -> Iterator[Sides]:
    """Open a pair for comparison. Raises what speaks against it."""
    check_pair(source, target)
    with ExitStack() as held:
        database = target if target.is_database else source
        ledger = Ledger(held.enter_context(serving(database)), database.schema)
        held.callback(ledger.close)
        row = _store(ledger, database, source, store_name)
        layout = layouts.parse(row.layout, source=row.layout_name)
        migration = _migration(ledger, source, target, row)
        name = migration.migration if migration else ""
        own = DatabaseRecipe(database, ledger.server, row.store_id, layout, name, purpose="validate")
        is_turned = migration is not None and migration.reversed
        reads, asks = _recipes(source, target, store_name, own, migration, held, skip_unreadable=skip_unreadable)
        if is_turned:
            source, target = target, source
        asked = ledger if asks is own else Ledger(asks.server, asks.location.schema)
        held.callback(asked.close)
        yield Sides(source, target, layout, ledger, row.store_id, row.name, reads, asks, asked, migration)


def _store(ledger: Ledger, database: Location, source: Location, store_name: str) -> StoreRow:
    """The tree in *database* that is meant; where several are there, the one that came from *source*.

    Between two databases a name is the source's, where the target's URL has one of its own.
    """
    if source.is_database and database is not source and database.store:
        store_name = ""
    if not store_name and not database.store and database is not source and ledger.version() is not None:
        rows = came_from(ledger, source)
        if len(rows) > 1:
            raise _several(database, source, rows)
        if rows:
            return rows[0]
    return find_store(ledger, database, store_name)


def _several(database: Location, source: Location, rows: list[StoreRow]) -> SourceMissing:
    """Any of *rows* would be a guess, and what is said of one would be taken for a word about another."""
    names = ", ".join(row.name for row in rows)
    return SourceMissing(
        f"{database} holds several stores that came from {source}: {names}", hint="choose one with --store-name NAME"
    )


def _migration(ledger: Ledger, source: Location, target: Location, store: StoreRow) -> MigrationRow | None:
    found = [
        r for r in ledger.migrations() if (r.source, r.target) == (source.url, target.url) and r.store_id == store.store_id
    ]
    return found[-1] if found else None


def _recipes(
    source: Location,
    target: Location,
    store_name: str,
    own: DatabaseRecipe,
    migration: MigrationRow | None,
    held: ExitStack,
    *,
    skip_unreadable: bool,
) -> tuple[Recipe, DatabaseRecipe]:
    """The side whose bytes are read: the files, or, between two databases, that which decides; and the one that is asked."""
    is_turned = migration is not None and migration.reversed
    if source.is_database and target.is_database:
        other = _database(source, store_name, held)
        return (own, other) if is_turned else (other, own)
    pair = (target, source) if is_turned else (source, target)
    return _files(*pair, own.layout, migration, skip_unreadable=skip_unreadable), own


def _database(source: Location, store_name: str, held: ExitStack) -> DatabaseRecipe:
    server = held.enter_context(serving(source))
    row = find_store(Ledger(server, source.schema), source, "" if source.store else store_name)
    layout = layouts.parse(row.layout, source=row.layout_name)
    return DatabaseRecipe(source, server, row.store_id, layout, purpose="validate")


def _files(
    source: Location, target: Location, layout: Layout, migration: MigrationRow | None, *, skip_unreadable: bool
) -> FileRecipe:
    """The files of a pair, as they stand to one another by now."""
    files = target if source.is_database else source
    transient = bool(migration and migration.plan.get("include_transient"))
    is_copy = files is target and not (migration and migration.reversed)
    recipe = FileRecipe(files, layout, transient or is_copy, skip_unreadable)
    try:
        recipe.open().close()
    except SourceMissing:
        if files is source or migration is None:
            raise
        raise MigrationUnknown(f"{files} is not there to be validated", hint=_bringing(migration)) from None
    return recipe


def _bringing(migration: MigrationRow) -> str:
    """The command that brings its files."""
    return f"crossfade resume {migration.migration}" if migration.reversed else start_again(migration)
