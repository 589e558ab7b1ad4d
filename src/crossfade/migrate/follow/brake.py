"""An unmounted or emptied volume is not a deletion: removals beyond a measure stop, and ask."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

from crossfade.errors import SourceMissing
from crossfade.migrate.decide import Task

_WINDOW_SECONDS = 60.0
_FEW = 100
_SHARE = 0.5


@dataclass(frozen=True)
class Footing:
    """What the root of a tree stands on: its device; and whether there is anything in it."""

    device: int
    empty: bool


def why_to_brake(removals: int, total: int, before: Footing, now: Footing | None) -> str:
    """Why *removals*, within a minute, of *total* entries are not to be believed; empty where they are.

    *before* is what the root stood on when following began, *now* what it does; None where there is no root at all.
    """
    if now is None:
        return "the source's root is gone"
    if now.device != before.device:
        return "the source's root is another volume than before"
    if now.empty and not before.empty:
        return "the source's root is empty"
    if removals > max(_FEW, total * _SHARE):
        return f"{removals:,} of {total:,} entries are gone within a minute"
    return ""


class Braked(Exception):
    """Removals that are not to be believed: a person decides."""


class Removals:
    """How many removals there were within the last minute."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def with_more(self, count: int, now: float) -> int:
        """Those of the last minute, if *count* more happen now."""
        while self._seen and self._seen[0][0] < now - _WINDOW_SECONDS:
            self._seen.popleft()
        return count + sum(number for _, number in self._seen)

    def add(self, count: int, now: float) -> None:
        """*count* more happened."""
        if count:
            self._seen.append((now, count))


class Brake:
    """Watches over the removals of a follower whose *root* stood on *footing* before any of it was copied; None for no tree of files.

    *total* is how many entries there are. Where there are some, a root that is empty was not always so: whoever begins anew on an
    empty volume finds it empty from the first. With ``is_off`` everything is believed.
    """

    def __init__(self, root: bytes, footing: Footing | None, total: int) -> None:
        self._root = root
        self._footing = replace(footing, empty=footing.empty and not total) if footing is not None else None
        self._removals = Removals()
        self.total = total
        self.is_off = False

    def check(self, tasks: Sequence[Task]) -> None:
        """Raises Braked where what *tasks* remove is not to be believed."""
        count = sum(task.verb == "remove" for task in tasks)
        if not count or self._footing is None or self.is_off:
            return
        now = time.monotonic()
        why = why_to_brake(self._removals.with_more(count, now), self.total, self._footing, footing_of(self._root))
        if why:
            raise Braked(why)
        self._removals.add(count, now)


def footing_of(root: bytes) -> Footing | None:
    """What the directory *root* stands on; None where there is none."""
    try:
        with os.scandir(root) as found:
            return Footing(os.stat(root).st_dev, next(found, None) is None)
    except (FileNotFoundError, NotADirectoryError, SourceMissing):
        return None
