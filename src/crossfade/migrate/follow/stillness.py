"""Since when a file looks as it does: by a clock that nobody sets, whatever times the file itself bears.

A clock of the wall may jump, and that of a file server may be another one. What was held back because it may be half written is
whole once it has looked the same for a while, here.
"""

from __future__ import annotations

import time
from collections import OrderedDict

from crossfade.migrate.follow.dirty import MOST
from crossfade.model.entries import Signature


class Stillness:
    """The files that were held back last, each with how it looked, and since when: as many as wait to be looked at again."""

    def __init__(self, kept: int = MOST) -> None:
        self._kept = kept
        self._seen: OrderedDict[bytes, tuple[tuple[int, int, int], float]] = OrderedDict()

    def seconds(self, path: bytes, signature: Signature) -> float:
        """How long the file at *path* has had this inode, size and time; 0.0 where that is news."""
        looks, now = (signature.inode, signature.size, signature.mtime_ns), time.monotonic()
        before, since = self._seen.get(path, (None, now))
        if before != looks:
            since = now
            self._seen[path] = looks, now
        self._seen.move_to_end(path)
        if len(self._seen) > self._kept:
            self._seen.popitem(last=False)
        return now - since

    def forget(self, path: bytes) -> None:
        """What is at *path* is whole."""
        self._seen.pop(path, None)
