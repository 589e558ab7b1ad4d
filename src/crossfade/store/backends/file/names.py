"""The names of one directory in order, however many there are: what does not fit into memory is sorted on disk."""

from __future__ import annotations

import errno
import heapq
import os
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import BinaryIO

from crossfade.store.scratch import nameless

_RUN = 50_000
"""So many names are sorted in memory, some 4 MB of them."""

_CHUNK = 1 << 16

REFUSED = {
    errno.ENAMETOOLONG: "name-too-long",
    errno.EILSEQ: "name-not-allowed",
    errno.EINVAL: "name-not-allowed",
    errno.EXDEV: "other-volume",
}
"""What a file system says of a name that it cannot hold, or to which nothing can be renamed; the entry goes to quarantine."""

IMPOSSIBLE = (errno.ENAMETOOLONG, errno.EILSEQ)
"""What it says where it only looks for one: nothing can be there."""


def in_order(names: Iterable[bytes]) -> Iterator[bytes]:
    """*names*, which hold no NUL, sorted bytewise. All of them are taken before the first is given."""
    coming = iter(names)
    first = sorted(islice(coming, _RUN))
    if len(first) < _RUN:
        return iter(first)
    return _merged(first, coming)


def _merged(run: list[bytes], coming: Iterator[bytes]) -> Iterator[bytes]:
    file = nameless()
    runs: list[tuple[int, int]] = []
    while run:
        runs.append(_written(file, run))
        run = sorted(islice(coming, _RUN))
    return heapq.merge(*(_read(file, start, end) for start, end in runs))


def _written(file: BinaryIO, run: list[bytes]) -> tuple[int, int]:
    """Append a sorted run; where it begins and ends."""
    start = file.tell()
    file.writelines(name + b"\0" for name in run)
    file.flush()
    return start, file.tell()


def _read(file: BinaryIO, at: int, end: int) -> Iterator[bytes]:
    rest = b""
    while at < end:
        data = os.pread(file.fileno(), min(_CHUNK, end - at), at)
        at += len(data)
        *names, rest = (rest + data).split(b"\0")
        yield from names
