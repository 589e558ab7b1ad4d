"""Volumes that are mounted below a directory. What such a place held is elsewhere once they are not, and not removed."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator

_TABLE = "/proc/self/mountinfo"
_escapes = re.compile(rb"\\([0-7]{3})")

_SHARED = re.compile(
    rb"nfs4?|cifs|smb\w*|9p|virtiofs|ceph|afs|lustre|glusterfs|gpfs|beegfs|ocfs2|gfs2|fuse(\..*)?"
).fullmatch
"""Kinds of file systems that other hosts may write into, or programs that the kernel does not know of."""


def mounts_below(root: bytes) -> dict[bytes, bytes]:
    """Where volumes are mounted below the directory *root*, relative to it, each with its device; none where the system does not tell."""
    try:
        with open(_TABLE, "rb") as table:
            return read_below(root, table.read())
    except OSError:
        return {}


def read_below(root: bytes, table: bytes) -> dict[bytes, bytes]:
    """The same, out of what the system says of all mounts. Of several in one place, the last one is seen."""
    above = os.path.realpath(root).rstrip(b"/") + b"/"
    return {path[len(above) :]: device for path, device, _ in _read(table) if path.startswith(above)}


def shared_with_others(root: bytes, moves: Callable[[bytes], bool]) -> str:
    """The kind of a file system that other hosts may write into: that of the directory *root*, or of a place below it that *moves*.

    Empty where they may not.
    """
    try:
        with open(_TABLE, "rb") as table:
            return read_shared(root, table.read(), moves)
    except OSError:
        return ""


def read_shared(root: bytes, table: bytes, moves: Callable[[bytes], bool]) -> str:
    """The same, out of what the system says of all mounts."""
    real = os.path.realpath(root).rstrip(b"/") + b"/"
    kinds = {path.rstrip(b"/") + b"/": kind for path, _, kind in _read(table)}
    standing = max((place for place in kinds if real.startswith(place)), key=len, default=b"")
    below = [place for place in kinds if place.startswith(real) and moves(place[len(real) : -1])]
    return next((kinds[place].decode() for place in (standing, *below) if place and _SHARED(kinds[place])), "")


def _read(table: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Where something is mounted, its device, and the kind of its file system."""
    for line in table.splitlines():
        device, place = line.split(b" ", 5)[2:5:2]
        path = _escapes.sub(lambda escape: bytes([int(escape[1], 8)]), place)
        yield path, device, line.partition(b" - ")[2].split(b" ", 1)[0]
