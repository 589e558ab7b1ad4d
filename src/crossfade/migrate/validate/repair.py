"""Mending differences: the side that is not the authority is made what the other side is, path by path.

Before a cut-over the source is the authority, and is never written. The mending is an ordinary run of carried tasks, under
the migration's lease and fenced by its epoch, from inventories taken under that lease; so nobody writes in between.
"""

from __future__ import annotations

from collections.abc import Iterator

from psycopg import sql

from crossfade.migrate.carry import Carrier
from crossfade.migrate.decide import Task, Verb
from crossfade.migrate.inventory import merge
from crossfade.migrate.obstacles import Obstacles
from crossfade.migrate.plan import Limits
from crossfade.migrate.prepare import Run
from crossfade.migrate.validate.differences import Difference
from crossfade.model.changes import Page
from crossfade.model.entries import Entry
from crossfade.store.backends.postgres.feed import announce
from crossfade.store.backends.postgres.server import Connection
from crossfade.store.port import Recipe, Store

MENDABLE = ("missing", "extra", "content", "metadata", "column")

_HOLDERS = (("dir", "file"), ("dir", "link"))
"""A directory where something else belongs: it may hold a stranger's files."""


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


def mend(run: Run, tasks: list[Task]) -> int:
    """Carry out *tasks*, what is in the way of files first, directories last; how many paths were mended."""
    source, target = run.source.open(0), run.target.open(0)
    carrier = Carrier(source, target, Limits(), ready=lambda *_: None, done=lambda _: None, stop=lambda: False)
    count = len(tasks)
    try:
        if run.to_files:
            tasks = _cleared(target, tasks)
        carrier.carry([task for task in tasks if task.entry.type != "dir"])
        carrier.carry([task for task in reversed(tasks) if task.entry.type == "dir"])
    finally:
        source.close()
        target.close()
    return count


def _cleared(target: Store, tasks: list[Task]) -> list[Task]:
    """*tasks* for a directory, once everything is gone that stands where something of another type belongs."""
    obstacles = Obstacles()
    for task in tasks:
        obstacles.look(task)
    removals = tuple(obstacles.removals)
    if removals:
        target.apply(Page(removals))
    gone = {removal.entry.path for removal in removals}
    left = [task for task in tasks if task.verb != "remove" or task.entry.path not in gone]
    return [Task(task.verb, task.source, None) if task.replaces else task for task in left]


def mend_orphans(run: Run) -> int:
    """Delete records that belong to no entry of the tree; how many there were. Nobody's file is made of them."""
    if run.to_files:
        return 0

    def work(connection: Connection) -> int:
        announce(connection, "crossfade repair")
        count = 0
        for kind in run.layout.kinds:
            query = sql.SQL(
                "DELETE FROM {} k WHERE store_id = %s AND NOT EXISTS"
                " (SELECT FROM {}.entries e WHERE e.store_id = k.store_id AND e.entry_id = k.entry_id AND e.kind = %s"
                " AND e.type = 'file')"
            )
            table = sql.Identifier(run.ledger.schema, kind.name)
            cursor = connection.execute(query.format(table, sql.Identifier(run.ledger.schema)), [run.store_id, kind.name])
            count += cursor.rowcount
        return count

    return run.ledger.change(work)
