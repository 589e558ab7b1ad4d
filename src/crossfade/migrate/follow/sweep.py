"""The two-way look at everything, a slice at a time: the truth, where hints are only hints."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from crossfade.errors import GateShut
from crossfade.migrate.decide import Task
from crossfade.migrate.follow.brake import is_counted
from crossfade.migrate.follow.dirty import Dirty
from crossfade.migrate.inventory import tasks
from crossfade.store.port import Store

_SLICE_SECONDS = 0.02
_REST_SECONDS = 5.0

SHARE = 0.1
"""Of one core, for the sweep."""

SHARE_WHILE_SOUGHT = 0.25
"""While something may have been missed, and is out of step for as long as it takes to find."""

SHARE_IN_A_HURRY = 0.5
_HURRY_SECONDS = 1.0

SHARE_WHILE_SHORT = 0.02
"""While following itself has to wait for its part of the processors: what hints have named goes first."""

_CHECKED = 64

HELD = Task("touch", None, None)
"""For a file that the target holds as it should be."""

_NOTHING = Task("touch", None, None)


class Sweep:
    """Goes through both inventories again and again. *ahead* makes the stream of what differs, for one round.

    *is_short* says that there are fewer processors just now than following could use. ``held`` counts the files that the target holds, as far as the
    round has come.

    ``measure`` comes before a hand-over, in which ``rush`` looks at everything once more.
    """

    def __init__(self, ahead: Callable[[], Iterator[Task | None]], is_short: Callable[[], bool] = lambda: False) -> None:
        self._ahead = ahead
        self._is_short = is_short
        self._round: Iterator[Task | None] | None = None
        self._due = self._hurried_until = 0.0
        self._sought, self._sought_in = 0, -1
        self._takes: float | None = None
        self.rounds = 0
        self.began = 0.0
        self.held = 0

    def make_good(self, dirty: Dirty) -> None:
        """Where *dirty* missed something, a round that begins after that finds it; one at a time."""
        if self.rounds == self._sought_in:
            return
        dirty.made_good = self._sought
        if dirty.missed > self._sought:
            self._sought, self._sought_in = dirty.missed, self.rounds
            self.at_once()

    def hurry(self) -> None:
        """Somebody waits for the whole to be looked at: take more for a moment."""
        self._hurried_until = time.monotonic() + _HURRY_SECONDS

    def at_once(self) -> None:
        """Begin a new round now: something was missed."""
        self._round, self._due = None, 0.0

    def whole(self) -> Iterator[list[Task]]:
        """What one new round finds, bit by bit, without a rest."""
        self.at_once()
        rounds = self.rounds
        while self.rounds == rounds:
            self._due = 0.0
            yield self.slice(time.monotonic())

    def measure(self, hear: Callable[[list[Task]], object], seconds: float, *, is_needed: bool) -> None:
        """Look at everything while nobody waits, where that *is_needed* in a hold of *seconds*. Raises GateShut where they are too few."""
        self._takes = None
        if is_needed:
            began = time.monotonic()
            self._look_at_all(hear, began + seconds)
            self._takes = time.monotonic() - began

    def rush(self, hear: Callable[[list[Task]], object], until: float) -> None:
        """Look at everything while nobody may write, where that is needed. Raises GateShut where that is not done by *until*, and at
        once where it cannot be.
        """
        if self._takes is None:
            return
        if time.monotonic() + self._takes >= until:
            raise _too_much()
        self._look_at_all(hear, until)

    def _look_at_all(self, hear: Callable[[list[Task]], object], until: float) -> None:
        for found in self.whole():
            hear(found)
            if time.monotonic() >= until:
                raise _too_much()

    def slice(self, now: float) -> list[Task]:
        """What a little of the round found. A round's time is spread, so that the sweep keeps to its share."""
        if now < self._due:
            return []
        if self._round is None:
            self._round, self.began, self.held = self._ahead(), now, 0
        began, found = time.thread_time(), []
        for number, task in enumerate(self._round, 1):
            if task is not None and task is not HELD:
                found.append(task)
            self.held += task is HELD or (task is not None and is_counted(task.target))
            if number % _CHECKED == 0 and time.thread_time() - began > _SLICE_SECONDS:
                self._due = now + (time.thread_time() - began) / self._share(now)
                return found
        self._round, self._due = None, now + max(_REST_SECONDS, now - self.began)
        self.rounds += 1
        return found

    def _share(self, now: float) -> float:
        if now < self._hurried_until:
            return SHARE_IN_A_HURRY
        is_sought = self.rounds == self._sought_in
        if self._is_short():
            return SHARE if is_sought else SHARE_WHILE_SHORT
        return SHARE_WHILE_SOUGHT if is_sought else SHARE


def _too_much() -> GateShut:
    return GateShut(
        "all of the tree has to be looked at once more, since other hosts may write into its file system, and that takes"
        " longer; nothing was handed over",
        hint="give the order again, with a longer --hold-max, or --timeout where nobody waits",
    )


def look_over(
    source: Store, target: Store, decide: Callable[..., Task | None], kinds: frozenset[str] | None, *, tombstones: bool
) -> Iterator[Task | None]:
    """One round: a task for each path that differs, HELD for each file that does not, None for anything else.

    Of adjacent removals that the source hides only the first is given: whoever looks there will not believe it.
    """
    found = tasks(
        source.entries(tombstones=tombstones),
        target.entries(tombstones=True),
        lambda one, other: decide(one, other) or (HELD if is_counted(other) else _NOTHING),
        kinds,
    )
    was_hidden = False
    for task in found:
        is_hidden = task.verb == "remove" and source.hides(task.entry.path)
        yield None if task is _NOTHING or (is_hidden and was_hidden) else task
        was_hidden = is_hidden
