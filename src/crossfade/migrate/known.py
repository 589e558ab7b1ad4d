"""What a schema knows of a plan already: the migration, if it was begun, its kinds, its tree, and the layout of that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crossfade.errors import PhaseForbids, PlanDiffers, SourceMissing, TargetTaken
from crossfade.migrate.audit.record import refused
from crossfade.migrate.plan import Plan, differences, name_option
from crossfade.model import layouts
from crossfade.model.layouts import Layout
from crossfade.store.backends.postgres.ledger import Ledger, MigrationRow, StoreRow
from crossfade.store.location import Location

if TYPE_CHECKING:
    from crossfade.migrate.prepare import Request


def layout_of(ledger: Ledger, source: Location, name: str) -> Layout | None:
    """The layout that a tree of *source* was begun with, so that it need not be named again."""
    if ledger.version() is None:
        return None
    row = next((row for row in ledger.stores() if row.name == name and row.origin == source.url), None)
    return None if row is None else layouts.parse(row.layout, source=row.layout_name)


def chosen_kinds(request: Request, layout: Layout, before: MigrationRow | None) -> frozenset[str] | None:
    """The kinds to move: as asked for, as begun, and as added. None for all. Raises PlanDiffers."""
    for name in (*request.only, *request.without, *request.add):
        layout.kind(name)
    every = frozenset(kind.name for kind in layout.kinds)
    asked = frozenset(request.only or every) - set(request.without)
    first = asked if before is None else every if before.kinds is None else frozenset(before.kinds)
    repeated = asked | set(request.add)  # what the command came to that began with some kinds and added others
    if before is not None and (request.only or request.without) and first not in (asked, repeated):
        raise PlanDiffers(
            f"migration {before.migration} moves the kinds {', '.join(sorted(first))}",
            hint="leave --only and --except out; --add KIND lets it grow",
        )
    chosen = first | set(request.add)
    return None if chosen == every else chosen


def kinds_to_move(request: Request, layout: Layout, before: MigrationRow | None, ledger: Ledger) -> frozenset[str] | None:
    """The same; what speaks against them is written down."""
    try:
        return chosen_kinds(request, layout, before)
    except PlanDiffers as error:
        assert before is not None
        raise refused(ledger, before.migration, error) from None


def find_store(ledger: Ledger, location: Location, name: str) -> StoreRow:
    """The tree that a database source means. Raises SourceMissing, naming those that there are."""
    if ledger.version() is None:
        raise SourceMissing(
            f"{location} holds no crossfade schema {location.schema!r}", hint="name the schema with ?schema=NAME"
        )
    stores = ledger.stores()
    wanted = name or location.store
    found = [row for row in stores if row.name == wanted or not wanted]
    if len(found) == 1:
        return found[0]
    names = ", ".join(row.name for row in stores) or "none"
    raise SourceMissing(
        f"{location} holds {'no store of that name' if wanted else 'several stores'}: {names}"
        if stores
        else f"{location} holds no store yet",
        hint="choose one with --store-name NAME",
    )


def tree_option(ledger: Ledger, source: Location, target: Location, store: str) -> list[str]:
    """What names the tree *store* to a verb that finds it by its pair, where the pair alone could mean another one, too."""
    if source.is_database and target.is_database:
        return name_option(source, target, store)
    database = source if source.is_database else target
    alone = len(ledger.stores() if source.is_database else came_from(ledger, source)) == 1
    return [] if alone or database.store == store else ["--store-name", store]


def came_from(ledger: Ledger, source: Location) -> list[StoreRow]:
    """The trees that *source* was brought to, by name."""
    return [row for row in ledger.stores() if row.origin == source.url]


def begun(ledger: Ledger, plan: Plan, *, to_database: bool) -> MigrationRow | None:
    """The migration of this plan, if it was begun. Raises PlanDiffers or TargetTaken where another stands in its place."""
    stores = {row.name: row for row in ledger.stores()}
    rows = ledger.migrations()
    for row in rows:
        if row.migration == plan.migration:
            refuse_finished(row)
            return row
    for row in rows:
        if row.source == plan.source and row.target == plan.target and row.plan["store"] == plan.store:
            differing = PlanDiffers(
                f"migration {row.migration} of this pair was started with another plan; what differs: "
                + ", ".join(differences(plan, row.plan)),
                hint="repeat the original command, or give the new plan its own --store-name",
            )
            raise refused(ledger, row.migration, differing)
    taken = stores.get(plan.store)
    if to_database and taken is not None and plan.source != taken.origin:
        raise TargetTaken(
            f"{plan.target} already holds a store {plan.store!r}, from {taken.origin}",
            hint="choose another name with --store-name NAME",
        )
    if to_database and taken is not None and plan.fingerprint != taken.fingerprint:
        raise PlanDiffers(
            f"{plan.target} holds the store {plan.store!r} in another layout, {taken.layout_name!r}",
            hint="leave --layout out, or give the new plan its own --store-name",
        )
    return None


def refuse_finished(row: MigrationRow) -> None:
    """Raises PhaseForbids where nothing goes on any more."""
    if row.phase == "finished":
        raise PhaseForbids(
            f"migration {row.migration} is finished: {row.target if row.reversed else row.source} stands alone",
            hint="choose another target, or another --store-name, for a new migration",
        )


def tree_of(ledger: Ledger, plan: Plan, layout: Layout) -> int:
    """The number of the tree that *plan* fills; made where there is none."""
    for row in ledger.stores():
        if row.name == plan.store:
            return row.store_id
    return ledger.add_store(plan.store, plan.source, layout.name, layout.text(), layout.fingerprint)
