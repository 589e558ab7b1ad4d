"""The standard streams. Any of them may be closed, full, or read by nobody; what a verb does, and how it ends, is the same.

What cannot be written is lost, and remembered.
"""

from __future__ import annotations

import errno
import io
import os
import select
import sys
from collections.abc import Iterable, Iterator
from typing import Any, TextIO, TypeVar

T = TypeVar("T")

OUT, ERR = 1, 2
"""Where data goes, and where talk goes."""

_ROOM_SECONDS = 10.0
"""How long to wait for room where a write does not wait by itself: another program has made a terminal so that it shares with us."""

_failures: dict[int, OSError] = {}


class _Lenient(io.FileIO):
    """Takes whatever it is given. What failed once is tried again: a log may have room later."""

    def write(self, data: Any) -> int:
        try:
            return self._written(data)
        except OSError as error:
            _failures.setdefault(self.fileno(), error)
            return memoryview(data).nbytes

    def _written(self, data: Any) -> int:
        """How much of *data* there was room for. Raises OSError; where there is no room for long, the one of a write that does not wait."""
        while (count := super().write(data)) is None:
            if not self._has_room():
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return count

    def _has_room(self) -> bool:
        """Wait for room, but for nobody who was waited for in vain before."""
        number = self.fileno()
        seconds = 0.0 if number in _failures else _ROOM_SECONDS
        return bool(select.select([], [number], [], seconds)[1])


def take_over() -> None:
    """Have what is printed go through streams that stop nobody."""
    _plug()
    sys.stdout, sys.stderr = _lenient(OUT, sys.stdout), _lenient(ERR, sys.stderr)


def _plug() -> None:
    """Have something behind each of the three: or a file or a socket would get the number, and what is said to nobody."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= ERR:
        os.set_inheritable(number, True)
    os.close(number)


def _lenient(number: int, like: TextIO | None) -> io.TextIOWrapper:
    """A name that a terminal's encoding does not have stops nothing, either."""
    return io.TextIOWrapper(
        io.BufferedWriter(_Lenient(number, "w", closefd=False)),
        encoding=like.encoding if like else None,
        errors="backslashreplace",
        line_buffering=number == ERR or os.isatty(number),
    )


def failure(number: int) -> OSError | None:
    """What kept something from being written there first; None where all was, or nobody wanted to read any more."""
    error = _failures.get(number)
    return None if error is None or error.errno == errno.EPIPE else error


def is_left(number: int) -> bool:
    """True once whoever read there has gone."""
    error = _failures.get(number)
    return error is not None and error.errno == errno.EPIPE


def while_read(items: Iterable[T]) -> Iterator[T]:
    """*items*, for as long as somebody reads what is shown of them."""
    for item in items:
        yield item
        if is_left(OUT):
            return


def forget() -> None:
    """What is printed goes elsewhere from now on."""
    _failures.clear()
