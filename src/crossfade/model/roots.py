"""The root of a tree: one hash over every path with all that is promised to be kept, in key order (docs/reference/certificate.md).

``start`` and ``validate`` print the same root for the same tree. Each entry is folded into the root before it, so that an
interrupted computation goes on from 32 bytes.
"""

from __future__ import annotations

import hashlib

from crossfade.model.entries import Entry

START = b"\0" * 32

WAYPOINTS = 4096
"""So many places at most are remembered on the way to a root, to tell later where two trees part."""


def chained(root: bytes, entry: Entry | None, digest: bytes) -> bytes:
    """The root with one more entry, whose content has *digest* (empty for what is no file)."""
    return root if entry is None else hashlib.sha256(root + leaf(entry, digest)).digest()


def leaf(entry: Entry, digest: bytes) -> bytes:
    """One entry as one hash. A link has no mode of its own. Neither a path nor a link's text holds a NUL."""
    mode = 0 if entry.type == "link" else entry.mode
    text = b"%b\0%b\0%o\0%d\0%b\0" % (entry.path, entry.type.encode(), mode, entry.mtime_ns, entry.link)
    return hashlib.sha256(text + digest).digest()


class Waypoints:
    """Remembers (number of the entry, path, first 8 bytes of the root behind it): of all entries, or of every 2nd, 4th, … one.

    *known* are those of a computation that goes on. The number of the first entry is 1.
    """

    def __init__(self, known: list[tuple[int, bytes, bytes]], limit: int = WAYPOINTS) -> None:
        self.points = known
        self._limit = limit
        self._stride = 1 << max((known[0][0] & -known[0][0]).bit_length() - 1, 0) if known else 1

    def pass_by(self, number: int, path: bytes, root: bytes) -> None:
        """One more entry."""
        if number % self._stride:
            return
        self.points.append((number, path, root[:8]))
        if len(self.points) > self._limit:
            self._stride *= 2
            self.points[:] = [point for point in self.points if point[0] % self._stride == 0]
