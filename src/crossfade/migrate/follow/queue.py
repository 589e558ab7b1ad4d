"""The kernel's queue of what happens in directories, read at once and never waited for (inotify(7)).

A program that logs makes an event of each line; whoever follows asks only which files have changed.
"""

from __future__ import annotations

import os
import struct
from array import array
from fcntl import ioctl
from termios import FIONREAD

from inotify_simple import Event, INotify, flags, parse_events

_HEAD = struct.Struct("iIII")
"""Of an event: its watch, what happened, a cookie, and the size of the name that follows."""

_WRITES = frozenset({int(flags.MODIFY), int(flags.CLOSE_WRITE), int(flags.ATTRIB)})
"""What changes no name: told once or a thousand times, it says to look at that file."""


def happened(queue: INotify) -> list[Event]:
    """All that is in the *queue*, in order; of a file that was written to again and again, once, unless names changed meanwhile."""
    waiting = array("i", [0])
    ioctl(queue, FIONREAD, waiting)
    return parse_events(told_once(os.read(queue.fileno(), waiting[0]))) if waiting[0] else []


def told_once(data: bytes) -> bytes:
    """Events as the kernel gives them, without writes that were told before; a name may be another file's once names change.

    Parsing one takes several times as long as passing it by, and a busy program makes ten thousand a second.
    """
    told: set[bytes] = set()
    kept, at = [], 0
    while at < len(data):
        _, mask, _, size = _HEAD.unpack_from(data, at)
        event = data[at : at + _HEAD.size + size]
        at += len(event)
        if mask not in _WRITES:
            told.clear()
        elif event in told:
            continue
        else:
            told.add(event)
        kept.append(event)
    return b"".join(kept)
