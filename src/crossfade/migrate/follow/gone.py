"""What is missing in the files when following begins: it was removed, it moved, or the volume that holds it is not there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from crossfade.migrate.decide import Task
from crossfade.migrate.follow.brake import footing_of, why_to_brake
from crossfade.migrate.follow.lanes import entries_of
from crossfade.migrate.inventory import tasks
from crossfade.migrate.prepare import Run
from crossfade.migrate.renames import Renames, moves_among
from crossfade.migrate.restore import check_restored
from crossfade.store.port import Store


def why_not_gone(run: Run, removals: int) -> str:
    """Why *removals*, all that *run*, one direction, would begin with, are not to be believed; empty where they are."""
    return why_not(removals, entries_of(run), run.request.source.path) if removals else ""


def why_not(removals: int, total: int, root: bytes) -> str:
    """Why *removals* of *total* entries, because the files below *root* lack them, are not to be believed; empty where they are."""
    now = footing_of(root)
    return why_to_brake(removals, total, replace(now, empty=False), now) if now is not None else ""


def removals_of(run: Run, source: Store, target: Store) -> int:
    """How many entries *run* would remove at first, moves left out. Raises Removed where a restore is not finished."""

    def found() -> Iterator[Task]:
        return tasks(source.entries(), target.entries(tombstones=True), run.decide, run.kinds)

    check_restored(run, found)
    removals = sum(task.verb == "remove" for task in found())
    moved = moves_among(found(), Renames(run, source, target)) if removals and target.can.moves else ()
    return removals - sum(map(len, moved))
