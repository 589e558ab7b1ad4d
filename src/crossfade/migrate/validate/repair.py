"""Mending differences: the side that is not the authority is made what the other side is, path by path.

Before a cut-over the source is the authority, and is never written. The mending is an ordinary run of carried tasks, under
the migration's lease and fenced by its epoch, from inventories taken under that lease. Programs know nothing of leases, so
each path is written only while it is what the inventory showed: what somebody writes meanwhile stays.
"""

from __future__ import annotations

import shlex
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

import msgspec

from crossfade.errors import PhaseForbids, Removed
from crossfade.migrate.carry import Carrier
from crossfade.migrate.decide import Task, Verb, toward_database
from crossfade.migrate.follow.brake import footing_of
from crossfade.migrate.follow.gone import Census, lost_volumes
from crossfade.migrate.inventory import merge, tasks
from crossfade.migrate.known import tree_option
from crossfade.migrate.obstacles import Obstacles
from crossfade.migrate.phases import RESTORING
from crossfade.migrate.plan import Limits, name_option
from crossfade.migrate.prepare import Request, Run, refuse_empty
from crossfade.migrate.to_type import refilling
from crossfade.migrate.validate.differences import Difference
from crossfade.migrate.validate.sides import Sides
from crossfade.migrate.validate.strays import remove_strays
from crossfade.model.changes import Page, Put
from crossfade.model.entries import Entry
from crossfade.model.paths import is_below
from crossfade.store.backends.postgres.feed import announce
from crossfade.store.backends.postgres.ledger import MigrationRow
from crossfade.store.backends.postgres.server import Connection
from crossfade.store.location import parse
from crossfade.store.port import Applied, Recipe, Store

MENDABLE = ("missing", "extra", "content", "metadata", "column")

_HOLDERS = (("dir", "file"), ("dir", "link"))
"""A directory where something else belongs: it may hold a stranger's files."""


@dataclass(frozen=True)
class Mended:
    """How many paths were mended; those that were *left*, since somebody else wrote there meanwhile; records that were *strays*."""

    paths: int
    left: tuple[bytes, ...] = ()
    strays: int = 0


def check_mendable(sides: Sides) -> None:
    """Raises PhaseForbids where the target may be what decides: of a pair that never met, or of files that another reads."""
    rows = sides.ledger.migrations()
    if sides.migration is None:
        raise PhaseForbids(
            f"no migration of {sides.source} to {sides.target} is known, so that neither is known to decide",
            hint=_way_on(sides, rows),
        )
    reader = next((row for row in rows if row.source == sides.target.url and not row.reversed), None)
    if reader is not None and not sides.target.is_database:
        raise PhaseForbids(
            f"{sides.target} is the source of migration {reader.migration}, which is never written",
            hint=f"{_repair(sides, reader)}   # mends {reader.target}",
        )


def _way_on(sides: Sides, rows: Sequence[MigrationRow]) -> str:
    """The command with its words exchanged, where that is what was meant."""
    one, other = sides.source.url, sides.target.url
    turned = next((row for row in rows if (row.source, row.target) == (other, one)), None)
    if turned is not None:
        return way_to_mend(turned) or _repair(sides, turned)
    both = sides.source.is_database and sides.target.is_database
    name = [] if both else name_option(sides.source, sides.target, sides.store)
    return shlex.join(["crossfade", "start", one, other, *name, "--once"])


def _repair(sides: Sides, row: MigrationRow) -> str:
    """What mends the two sides of *row*, which stands where *sides* have their control state."""
    name = tree_option(sides.ledger, parse(row.source), parse(row.target), row.plan["store"])
    return shlex.join(["crossfade", "validate", row.source, row.target, *name, "--repair"])


def way_to_mend(row: MigrationRow | None) -> str:
    """What mends the sides of a migration that is being restored: its files are filled first. Empty for any other."""
    return refilling(row.source, row.target, row.plan["store"]) if row is not None and row.phase == RESTORING else ""


def check_believed(sides: Sides, request: Request, removals: int) -> None:
    """Raises what speaks against mending by *request*, where so many entries would be removed because the source lacks them.

    Files that are not there may not be gone: a restore may be half done, or the volume that holds them not be mounted.
    """
    if request.manner.allow_removals:
        return
    refuse_empty(replace(request, source=sides.source, target=sides.target), sides.recipes[0], "--allow-removals")
    if sides.source.is_database:
        return
    if restoring := way_to_mend(sides.migration):
        raise Removed(
            f"a restore of {sides.source} was begun and not proven: nothing was mended from it",
            hint=f"{restoring}; --allow-removals if the files are right as they are",
        )
    if removals and (why := _census_of(sides).why_not(footing_of(sides.source.path), sides.source.path)):
        raise Removed(
            f"{why}: nothing was removed from the target", hint="mount the volume; --allow-removals if it is meant"
        )


def _census_of(sides: Sides) -> Census:
    """What the target holds, and how much of it the files lack."""
    with closing(sides.recipes[0].open(0)) as source, closing(sides.recipes[1].open(0)) as target:
        lost = lost_volumes(sides.ledger, sides.name, sides.source.path)
        census = Census(toward_database, source.hides, lost)
        met = census.met(source.entries(), sides.kinds)
        deque(tasks(met, target.entries(), census.decide, sides.kinds), maxlen=0)
    return census


def tasks_for(
    source: Recipe, target: Recipe, differences: list[Difference], *, to_files: bool, delete_extra: bool
) -> list[Task]:
    """What would mend *differences*; strangers in a directory are left alone unless they may be deleted."""
    wanted = {d.path: d for d in differences if d.klass in MENDABLE}
    one, other = source.open(0), target.open(0)
    try:
        pairs = merge(one.entries(tombstones=to_files), other.entries(tombstones=True))
        return list(_tasks(pairs, wanted, may_delete=not to_files or delete_extra))
    finally:
        one.close()
        other.close()


def _tasks(
    pairs: Iterator[tuple[Entry | None, Entry | None]], wanted: dict[bytes, Difference], *, may_delete: bool
) -> Iterator[Task]:
    for one, other in pairs:
        entry = one or other
        if entry is None or entry.path not in wanted:
            continue
        verb = _verb(one, other, wanted[entry.path], may_delete=may_delete)
        if verb is not None:
            yield Task(verb, one if one is None or one.type != "gone" else None, other)


def _verb(source: Entry | None, target: Entry | None, difference: Difference, *, may_delete: bool) -> Verb | None:
    if source is None or source.type == "gone":
        return "remove" if target is not None and target.type != "gone" and may_delete else None
    if target is not None and (target.type, source.type) in _HOLDERS and not may_delete:
        return None
    if source.type != "file" or difference.klass == "metadata":
        return "touch"
    return "put"


def mend(run: Run, tasks: list[Task], stop: Callable[[], bool]) -> Mended:
    """Carry out *tasks*, what is in the way of files first, directories last; then take away what belongs to nobody.

    Once *stop* is true no page is begun any more.
    """
    source, target = run.source.open(0), run.target.open(0)
    mender = _Mender(source, target, stop=stop, skip_unreadable=run.request.manner.skip_unreadable)
    try:
        left = mender.mend(mender.cleared(tasks) if run.to_files else tasks)
    finally:
        source.close()
        target.close()
    return Mended(len(mender.mended - left), tuple(sorted(left)), 0 if stop() else _without_strays(run))


class _Mender(Carrier):
    """Carries what mends, as long as the target is what it was when it was looked at. ``mended`` are the paths that are done."""

    def __init__(self, source: Store, target: Store, *, stop: Callable[[], bool], skip_unreadable: bool) -> None:
        super().__init__(
            source,
            target,
            Limits(),
            ready=lambda *_: None,
            done=lambda _: None,
            stop=stop,
            skip_unreadable=skip_unreadable,
        )
        self._seen: dict[bytes, Entry | None] = {}
        self._left: set[bytes] = set()
        self.mended: set[bytes] = set()

    def cleared(self, tasks: Sequence[Task]) -> list[Task]:
        """*tasks* for a directory, once everything is gone that stands where something of another type belongs."""
        obstacles = Obstacles()
        for task in tasks:
            obstacles.look(task)
        removals = tuple(obstacles.removals)
        if removals:
            seen = {removal.entry.path: removal.entry for removal in removals if removal.entry.type != "dir"}
            self._left.update(self._target.apply(Page(removals, seen=dict(seen))).left)
        gone = {removal.entry.path for removal in removals}
        self.mended |= gone
        rest = [task for task in tasks if not self._is_blocked(task)]
        rest = [task for task in rest if task.verb != "remove" or task.entry.path not in gone]
        return [Task(task.verb, task.source, None) if task.replaces else task for task in rest]

    def _is_blocked(self, task: Task) -> bool:
        """True for what cannot come to stand where it belongs, because of what was left."""
        path = task.entry.path
        return any(path == left or is_below(path, left) or (task.replaces and is_below(left, path)) for left in self._left)

    def mend(self, tasks: Sequence[Task]) -> set[bytes]:
        """Do all of them; the paths that were left."""
        self._seen = {task.entry.path: task.target for task in tasks if task.entry.type != "dir"}
        for some in (
            [task for task in tasks if task.entry.type != "dir"],
            [task for task in reversed(tasks) if task.entry.type == "dir"],
        ):
            if self.carry(some).stopped:
                break
        return self._left

    def _apply(self, page: Page, records: int) -> Applied:
        changes = tuple(change for change in page.changes if change.entry.path not in self._left)
        seen = {c.entry.path: self._seen[c.entry.path] for c in changes if c.entry.path in self._seen}
        applied = super()._apply(msgspec.structs.replace(page, changes=changes, seen=seen), records)
        self.mended.update(c.entry.path for c in changes if not isinstance(c, Put) or c.block.last)
        return applied

    def _overtaken(self, paths: Sequence[bytes]) -> None:
        self._left.update(paths)


def _without_strays(run: Run) -> int:
    """Delete records that belong to no entry of the tree; how many there were. Nobody's file is made of them."""
    if run.to_files:
        return 0
    books, store_id = run.books

    def work(connection: Connection) -> int:
        announce(connection, "crossfade repair")
        return remove_strays(connection, books.schema, store_id, [kind.name for kind in run.layout.kinds])

    return books.change(work)
