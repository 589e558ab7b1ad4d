"""Files that move while they are followed: first their entries go where they went, then the rest is done.

A removal waits for a moment, as the file may turn up elsewhere: the file system tells of both at about the same time.
"""

from __future__ import annotations

from collections.abc import Sequence

from crossfade.migrate.decide import Task
from crossfade.migrate.follow.bring import Bringer
from crossfade.migrate.follow.dirty import Dirt
from crossfade.migrate.follow.look import Look
from crossfade.migrate.prepare import Run
from crossfade.migrate.renames import Renames
from crossfade.model.paths import ancestors_of
from crossfade.store.port import Store

WAIT_SECONDS = 0.15
"""How long a removal waits, at least. What was heard before it comes first."""


class Moving:
    """Does it for a follower of *run*, whose sides are *source* and *target*. Nothing, where the target takes no moves."""

    def __init__(self, run: Run, source: Store, target: Store, *, look: Look, bringer: Bringer) -> None:
        self._renames = Renames(run, source, target) if run.from_files and target.can.moves else None
        self._look = look
        self._bringer = bringer

    def first(self, tasks: list[Task], batch: Sequence[Dirt]) -> tuple[list[Task], list[Dirt]]:
        """Move what moved. What is left of *tasks* to be done now, and those of *batch* whose removals wait."""
        if self._renames is None:
            return tasks, []
        return _without_fresh_removals(self._moved(self._renames, tasks), {dirt.path: dirt for dirt in batch})

    def _moved(self, renames: Renames, tasks: list[Task]) -> list[Task]:
        moves = renames.among(tasks)
        if not moves:
            return tasks
        self._bringer.move(moves)
        paths = dict.fromkeys(path for move in moves for path in (move.before.path, move.entry.path))
        again = self._look.tasks([Dirt(path, 0.0, 0.0) for path in paths])
        return [*(task for task in tasks if task.entry.path not in paths), *again]


def _without_fresh_removals(tasks: list[Task], known: dict[bytes, Dirt]) -> tuple[list[Task], list[Dirt]]:
    """*tasks* without removals that are heard of for the first time; and the dirt that brought them."""
    now: list[Task] = []
    later: dict[bytes, Dirt] = {}
    for task in tasks:
        dirt = _why(task.entry.path, known) if task.verb == "remove" else None
        if dirt is None or dirt.tries:
            now.append(task)
        else:
            later[dirt.path] = dirt
    return now, list(later.values())


def _why(path: bytes, known: dict[bytes, Dirt]) -> Dirt | None:
    """The dirt that *path* was looked at for: its own, or that of a directory above with all that is below."""
    above = (known[directory] for directory in ancestors_of(path) if directory in known and known[directory].deep)
    return known.get(path) or next(above, None)
