"""What nobody foresaw, told without its message: that may quote a record, as ``ValueError: invalid literal: '…'`` does.

What is told is where it happened, in this process and in the worker that it came from: enough to find the mistake by.
"""

from __future__ import annotations

import os
import re
import threading
import traceback
from collections.abc import Iterator
from types import TracebackType

from crossfade.console.talk import say, this_command
from crossfade.errors import Unforeseen

_REMOTE = re.compile(r'File "([^"\n]+)", line (\d+), in (\S+)')
"""A place in the text that a process pool makes of a worker's traceback."""


def unforeseen(error: BaseException) -> Unforeseen:
    """The coded error for *error*. The places where it went are said, outermost first; its message is not."""
    places = list(_places(error))
    for place in places:
        say(f"  at {place}")
    where = places[-1] if places else "a place that is not known"
    return Unforeseen(f"something unforeseen happened: {type(error).__name__} at {where}", hint=this_command())


def watch_threads() -> None:
    """The same for threads, whose failures the interpreter prints as they are."""
    threading.excepthook = lambda broken: say(str(unforeseen(broken.exc_value)) if broken.exc_value else "a thread ended")


def _places(error: BaseException) -> Iterator[str]:
    yield from _local(error.__traceback__)
    cause = error.__cause__ or error.__context__
    if type(cause).__name__ == "_RemoteTraceback":
        yield from (f"{_short(file)}:{line} in {name}" for file, line, name in _REMOTE.findall(str(cause)))


def _local(trace: TracebackType | None) -> Iterator[str]:
    yield from (f"{_short(frame.filename)}:{frame.lineno} in {frame.name}" for frame in traceback.extract_tb(trace))


def _short(file: str) -> str:
    """The end of a path, which is what is the same everywhere."""
    return "/".join(file.split(os.sep)[-3:])
