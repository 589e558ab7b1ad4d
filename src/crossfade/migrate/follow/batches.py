"""Bringing over what differs at some paths; what becomes of each: settled, or to be looked at again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from crossfade.migrate.decide import Task
from crossfade.migrate.follow.bring import Bringer, Brought
from crossfade.migrate.follow.dirty import NEVER, Dirt, Dirty
from crossfade.migrate.follow.drifting import Drifting
from crossfade.migrate.follow.look import Look, in_order
from crossfade.migrate.follow.moving import WAIT_SECONDS, Moving
from crossfade.migrate.prepare import Run
from crossfade.migrate.restore import unplaced
from crossfade.model.paths import parent_of

BATCH = 512
"""Paths that are looked at together, and tasks that are brought together."""

_BLURRED_SECONDS = 0.025
_UNREADABLE_SECONDS = 30.0
_TRIES = 12


@dataclass
class _Left:
    """What of a batch is to be looked at again: *unsettled* paths, each with how long to pause, if that is known, and those
    *waiting* for another one, or *hidden* from the look. Of what is *renewed* all was brought that was there when the batch
    *began*. *stopped*: not all of it was carried out.
    """

    began: float
    unsettled: dict[bytes, float | None] = field(default_factory=dict)
    renewed: set[bytes] = field(default_factory=set)
    waiting: list[Dirt] = field(default_factory=list)
    hidden: set[bytes] = field(default_factory=set)
    stopped: bool = False

    def add(self, brought: Brought) -> None:
        """With what became of some more tasks."""
        self.unsettled |= dict.fromkeys([*brought.held, *brought.torn, *brought.moved])
        self.unsettled |= dict.fromkeys(brought.blurred, _BLURRED_SECONDS)
        self.unsettled |= {path: _UNREADABLE_SECONDS for path, _ in brought.unreadable}
        self.renewed.update(brought.torn, brought.blurred)
        self.renewed.difference_update(brought.held, brought.moved)
        self.stopped = brought.stopped


class Batches:
    """Brings over batches of *dirty*. *check* hears of the tasks first, and may raise; *hear* of directories to look at again."""

    def __init__(
        self,
        run: Run,
        dirty: Dirty,
        look: Look,
        bringer: Bringer,
        moving: Moving,
        drift: Drifting,
        check: Callable[[Sequence[Task]], None],
        hear: Callable[[set[bytes]], None],
    ) -> None:
        self._dirty = dirty
        self._look = look
        self._bringer = bringer
        self._moving = moving
        self._drift = drift
        self._check = check
        self._hear = hear
        self._to_files = run.to_files
        self._unplaced = unplaced(run)
        self._tries: dict[bytes, int] = {}
        self.unreadable: dict[bytes, str] = {}

    def is_patient(self, path: bytes) -> bool:
        """True where *path* may be held back once more."""
        return self._tries.get(path, 0) < _TRIES

    def bring(self, batch: list[Dirt]) -> int:
        """Bring over what differs at the paths of *batch*; what is not settled stays dirty. How many tasks there were.

        Where it raises, all of *batch* does: a hand-over that it stopped is tried again, and nobody names its paths again.
        """
        try:
            return self._bring(batch)
        except BaseException:
            self._dirty.put_back()
            raise

    def _bring(self, batch: list[Dirt]) -> int:
        done, left = 0, _Left(time.monotonic())
        ahead = self._drift.ours(self._look.tasks(batch, frozenset(self._drift.anew)), set())
        while tasks := self._next(ahead):
            done += len(tasks)
            tasks, later = self._moving.first(tasks, batch)
            left.waiting += later
            self._carry_out(list(self._drift.ours(iter(tasks), set())), left)
            if left.stopped:
                left.unsettled |= dict.fromkeys(dirt.path for dirt in batch)
                break
        self._settle(batch, left)
        return done

    def _next(self, ahead: Iterator[Task]) -> list[Task]:
        """Some more tasks. What a restore could not place is not gone."""
        found = (task for task in ahead if not (task.verb == "remove" and task.entry.path in self._unplaced))
        return list(islice(found, BATCH))

    def _carry_out(self, tasks: list[Task], left: _Left) -> None:
        self._check(tasks)
        brought = self._bringer.bring(in_order(tasks, to_files=self._to_files))
        left.add(brought)
        full = [task.entry.path for task in tasks if task.verb == "remove" and task.entry.type == "dir"]
        self._look.stayed(set(brought.moved).intersection(full))
        self.unreadable |= dict(brought.unreadable)
        self._drift.saw(brought.foreign)
        if self._to_files:
            self._hear({parent_of(task.entry.path) for task in tasks if task.entry.type != "dir"})

    def _settle(self, batch: Sequence[Dirt], left: _Left) -> None:
        """What is left is looked at again; the rest of *batch* is in step."""
        now = time.monotonic()
        self._keep_hidden(left)
        known = {dirt.path: dirt for dirt in batch}
        first = min((dirt.number for dirt in batch), default=NEVER)
        for path, pause in left.unsettled.items():
            self._look_again(known.get(path, Dirt(path, now, now, number=first)), left, now, pause)
        for dirt in left.waiting:
            self._dirty.again(dirt, now, WAIT_SECONDS)
        settled = known.keys() - left.unsettled.keys() - {dirt.path for dirt in left.waiting}
        for path in settled:
            self._tries.pop(path, None)
            self.unreadable.pop(path, None)
        self._drift.brought(settled)
        self._dirty.settled()

    def _keep_hidden(self, left: _Left) -> None:
        """What could not be looked at stays as it was brought, and nothing is handed over until it can be."""
        left.hidden = set(self._look.hidden)
        left.unsettled |= dict.fromkeys(left.hidden, _UNREADABLE_SECONDS)
        self.unreadable |= dict.fromkeys(self._look.hidden, "it cannot be looked at")
        self._look.hidden.clear()

    def _look_again(self, dirt: Dirt, left: _Left, now: float, pause: float | None) -> None:
        if dirt.path in left.renewed:
            dirt = replace(dirt, since=left.began, tries=0)
        self._tries[dirt.path] = dirt.tries + 1
        number = NEVER if dirt.path in self.unreadable else dirt.number
        self._dirty.again(
            replace(dirt, deep=dirt.deep and (left.stopped or dirt.path in left.hidden), number=number), now, pause
        )
