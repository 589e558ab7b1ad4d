"""The hazard store: a ``~/.prodigy`` in which everything is there that has ever broken a program like this one.

The kinds of files and their places are Prodigy's, so that its layout takes them for documents, logs and blobs; only
their contents, names, modes and times are what nobody expects. ``build`` plants the tables of four files:

    hazard_values     inside a JSON value        hazard_names      what a path is called
    hazard_contents   whole files, and lines     hazard_metadata   modes, times, links, empty directories, locks

and, with ``large``, the files of this one (about 270 MB), which stand on and beyond every limit of size.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from crossfade.testing import hazard_contents, hazard_metadata, hazard_names
from crossfade.testing.planting import LEFT_OUT, Planter

__all__ = ["LEFT_OUT", "build", "large_files"]

MIB = 1 << 20
LIMIT = 16 * MIB
"""Longer records are carried in pieces."""

BLOCK = b"All work and no play makes Jack a dull boy; " * 1_489


def build(root: bytes | str, *, large: bool = True) -> list[bytes]:
    """Make the hazard store at *root*; returns the moved set: its paths in walking order, without the root.

    The same on every run. *root* need not exist, and must not hold anything.
    """
    tree = Planter(root)
    for table in (*hazard_names.TABLES, *hazard_contents.TABLES):
        for path, body in table():
            tree.file(path, body)
    hazard_metadata.plant(tree)
    for path, parts in large_files() if large else ():
        tree.file(path, parts)
    return tree.settle()


def large_files() -> Iterator[tuple[bytes, Iterator[bytes]]]:
    """Documents and lines up to 100 MB, and some exactly as long as a limit, one byte less, and more."""
    short = b'{"id":"before"}\n'
    around = (LIMIT - 1, LIMIT, LIMIT + 1, LIMIT + MIB)
    yield b"sessions/large-40-mb.json", sized(40 * 10**6, end=b'"}')
    yield b"sessions/large-16-mib.json", sized(LIMIT, end=b'"}')
    yield b"sessions/large-16-mib-and-1.json", sized(LIMIT + 1, end=b'"}')
    yield log("100-mb-line"), chain([short], sized(100 * 10**6), [short])
    yield log("16-mib-lines"), chain.from_iterable(sized(size) for size in around)
    yield log("17-mib-torn"), chain([short], sized(17 * MIB, end=b"."))


def log(name: str) -> bytes:
    """The path of an event log."""
    return b"events/large/%s/events-20251116_101500.jsonl" % name.encode()


def sized(size: int, *, end: bytes = b'"}\n') -> Iterator[bytes]:
    """One JSON object of exactly *size* bytes with its *end*; no two stretches of it are equal."""
    start = b'{"id":"large","text":"'
    yield start
    left = size - len(start) - len(end)
    while left > 0:
        part = (b"%012d " % left + BLOCK)[:left]
        left -= len(part)
        yield part
    yield end
