"""Volumes that are mounted below a directory. What such a place held is elsewhere once they are not, and not removed."""

from __future__ import annotations

import os
import re

_TABLE = "/proc/self/mountinfo"
_escapes = re.compile(rb"\\([0-7]{3})")


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
    found = {}
    for line in table.splitlines():
        device, place = line.split(b" ", 5)[2:5:2]
        path = _escapes.sub(lambda escape: bytes([int(escape[1], 8)]), place)
        if path.startswith(above):
            found[path[len(above) :]] = device
    return found
