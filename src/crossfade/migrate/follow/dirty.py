"""Paths that may be out of step, each with since when. Bounded: beyond that, only that something is out of step is known."""

from __future__ import annotations

import heapq
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from crossfade.errors import GateShut

MOST = 100_000
_FIRST_PAUSE = 0.02
_LONGEST_PAUSE = 2.0

NEVER = sys.maxsize
"""The number of news that holds up nothing."""


@dataclass(frozen=True)
class Dirt:
    """One path: *since* when it may be out of step, when it is *due* to be looked at, *deep* with all below, *tries* so far.

    *number* is that of the first news that named it. Times are ``time.monotonic()``, in seconds.
    """

    path: bytes
    since: float
    due: float
    deep: bool = False
    tries: int = 0
    number: int = NEVER


class Dirty:
    """The paths to look at. Hints come from other threads; one thread takes them, and says when it has settled them.

    ``missed`` counts the times that something was lost of which no path is known; ``made_good`` is how many of them a look
    at everything has made good since. What such a look would not find, *must* says, is kept however many wait.
    """

    def __init__(self, most: int = MOST, must: Callable[[bytes], bool] = lambda _: False) -> None:
        self._most = most
        self._must = must
        self._lock = threading.Lock()
        self._found: dict[bytes, Dirt] = {}
        self._taken: dict[bytes, Dirt] = {}
        self._heap: list[tuple[float, bytes]] = []
        self._woken = threading.Event()
        self._news = 0
        self.missed = 0
        self.made_good = 0

    def add(self, paths: Mapping[bytes, bool], now: float, since: Mapping[bytes, float] | None = None) -> int:
        """*paths* were hinted at: look at once; those that map to True with all that is below. The number of this news."""
        since = since or {}
        with self._lock:
            self._news += 1
            for path, deep in paths.items():
                self._add(Dirt(path, since.get(path, now), now, deep, number=self._news))
            number = self._news
        self._woken.set()
        return number

    def found(self, paths: Sequence[bytes], now: float) -> bool:
        """A look at everything came upon *paths*: no news names them, so until they are settled none is.

        True where one of them was not known to be out of step.
        """
        with self._lock:
            is_news = any(path not in self._found and path not in self._taken for path in paths)
            for path in paths:
                self._add(Dirt(path, now, now, number=0))
            return is_news

    def again(self, dirt: Dirt, now: float, pause: float | None = None) -> None:
        """*dirt* was looked at, and is not in step yet: look again, a little later each time. Its lag goes on."""
        seconds = min(_FIRST_PAUSE * 2**dirt.tries, _LONGEST_PAUSE) if pause is None else pause
        with self._lock:
            self._add(replace(dirt, due=now + seconds, tries=dirt.tries + 1))

    def _add(self, dirt: Dirt) -> None:
        there = self._found.get(dirt.path)
        if there is None and len(self._found) >= self._most and not self._must(dirt.path):
            self.missed += 1
            return
        if there is not None:
            dirt = replace(
                dirt,
                since=min(dirt.since, there.since),
                due=min(dirt.due, there.due),
                deep=dirt.deep or there.deep,
                number=min(dirt.number, there.number),
            )
        self._found[dirt.path] = dirt
        if (
            there is None or dirt.due != there.due
        ):  # else the heap would grow with every hint, for as long as nobody takes any
            heapq.heappush(self._heap, (dirt.due, dirt.path))

    def take(self, now: float, most: int) -> list[Dirt]:
        """Up to *most* that are due, the longest due first. They are the caller's, until it has ``settled`` or ``put_back``."""
        taken: list[Dirt] = []
        with self._lock:
            while self._heap and len(taken) < most and self._heap[0][0] <= now:
                due, path = heapq.heappop(self._heap)
                dirt = self._found.get(path)
                if dirt is not None and dirt.due == due:
                    taken.append(self._found.pop(path))
            self._taken = {dirt.path: dirt for dirt in taken}
            self._woken.clear()
        return taken

    def settled(self) -> None:
        """What was taken last is in step, or was put back with ``again``."""
        with self._lock:
            self._taken = {}

    def put_back(self) -> None:
        """What was taken last was not dealt with: it waits as before."""
        with self._lock:
            taken, self._taken = self._taken, {}
            for dirt in taken.values():
                self._add(dirt)

    def miss(self) -> int:
        """Something was lost of which no path is known: everything has to be looked at. What ``made_good`` will reach."""
        with self._lock:
            self.missed += 1
            return self.missed

    @property
    def knows_all(self) -> bool:
        """True where all was looked at since something was missed."""
        return self.made_good >= self.missed

    def first_unsettled(self) -> int:
        """The number of the oldest news of which something may still be out of step; that of the next one where none is."""
        with self._lock:
            return min(
                (dirt.number for held in (self._found, self._taken) for dirt in held.values()), default=self._news + 1
            )

    def wait(self, seconds: float) -> None:
        """Until a hint comes, or something is due, *seconds* at most."""
        self._woken.wait(seconds)

    def oldest(self) -> float | None:
        """Since when the longest waiting path may be out of step; None where all is in step."""
        with self._lock:
            return min((dirt.since for held in (self._found, self._taken) for dirt in held.values()), default=None)

    def some(self, most: int) -> list[Dirt]:
        """Up to *most* of those that wait, none of which is taken."""
        with self._lock:
            return list(islice(self._found.values(), most))

    def next_due(self) -> float | None:
        """When the next path is due."""
        with self._lock:
            return self._heap[0][0] if self._heap else None

    def check_settled(self) -> None:
        """Raises GateShut where something is left."""
        if len(self):
            raise GateShut(
                f"{len(self):,} paths are not in step yet; nothing was handed over", hint="try again, or --hold-max"
            )

    def __len__(self) -> int:
        return len(self._found) + len(self._taken)
