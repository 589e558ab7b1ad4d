"""Paths that may be out of step, each with since when. Bounded: beyond that, only that something is out of step is known."""

from __future__ import annotations

import heapq
import threading
from dataclasses import dataclass, replace

_MOST = 100_000
_FIRST_PAUSE = 0.02
_LONGEST_PAUSE = 2.0


@dataclass(frozen=True)
class Dirt:
    """One path: *since* when it may be out of step, when it is *due* to be looked at, *deep* with all below, *tries* so far.

    Times are ``time.monotonic()``, in seconds.
    """

    path: bytes
    since: float
    due: float
    deep: bool = False
    tries: int = 0


class Dirty:
    """The paths to look at. Hints come from other threads; one thread takes them."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._found: dict[bytes, Dirt] = {}
        self._heap: list[tuple[float, bytes]] = []
        self._woken = threading.Event()
        self.overflowed = False

    def add(self, paths: dict[bytes, bool], now: float) -> None:
        """*paths* were hinted at: look at once; those that map to True with all that is below."""
        with self._lock:
            for path, deep in paths.items():
                self._add(Dirt(path, now, now, deep))
        self._woken.set()

    def again(self, dirt: Dirt, now: float, pause: float | None = None) -> None:
        """*dirt* was looked at, and is not in step yet: look again, a little later each time. Its lag goes on."""
        seconds = min(_FIRST_PAUSE * 2**dirt.tries, _LONGEST_PAUSE) if pause is None else pause
        with self._lock:
            self._add(replace(dirt, due=now + seconds, tries=dirt.tries + 1))

    def _add(self, dirt: Dirt) -> None:
        there = self._found.get(dirt.path)
        if there is None and len(self._found) >= self._most:
            self.overflowed = True
            return
        if there is not None:
            dirt = replace(
                dirt, since=min(dirt.since, there.since), due=min(dirt.due, there.due), deep=dirt.deep or there.deep
            )
        self._found[dirt.path] = dirt
        heapq.heappush(self._heap, (dirt.due, dirt.path))

    def take(self, now: float, most: int) -> list[Dirt]:
        """Up to *most* that are due, the longest due first. They are the caller's now."""
        taken: list[Dirt] = []
        with self._lock:
            while self._heap and len(taken) < most and self._heap[0][0] <= now:
                due, path = heapq.heappop(self._heap)
                dirt = self._found.get(path)
                if dirt is not None and dirt.due == due:
                    taken.append(self._found.pop(path))
            self._woken.clear()
        return taken

    def wait(self, seconds: float) -> None:
        """Until a hint comes, or something is due, *seconds* at most."""
        self._woken.wait(seconds)

    def oldest(self) -> float | None:
        """Since when the longest waiting path may be out of step; None where all is in step."""
        with self._lock:
            return min((dirt.since for dirt in self._found.values()), default=None)

    def next_due(self) -> float | None:
        """When the next path is due."""
        with self._lock:
            return self._heap[0][0] if self._heap else None

    def __len__(self) -> int:
        return len(self._found)
