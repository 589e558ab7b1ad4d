"""An unmounted or emptied volume is not a deletion: removals beyond a measure stop, and ask."""

from __future__ import annotations

import os
from collections import deque
from dataclasses import dataclass

from crossfade.errors import SourceMissing

_WINDOW_SECONDS = 60.0
_FEW = 100
_SHARE = 0.5


class Braked(Exception):
    """Removals that are not to be believed: a person decides."""


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


def footing_of(root: bytes) -> Footing | None:
    """What the directory *root* stands on; None where there is none."""
    try:
        with os.scandir(root) as found:
            return Footing(os.stat(root).st_dev, next(found, None) is None)
    except (FileNotFoundError, NotADirectoryError, SourceMissing):
        return None
