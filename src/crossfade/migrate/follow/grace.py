"""The time that is left once somebody has said stop."""

from __future__ import annotations

import threading
import time


class Grace:
    """So many *seconds*, from when *stop* is seen to be set."""

    def __init__(self, stop: threading.Event, seconds: float) -> None:
        self._stop = stop
        self._seconds = seconds
        self._until: float | None = None

    def is_over(self) -> bool:
        """True once it is used up; never before somebody has said stop."""
        if not self._stop.is_set():
            return False
        if self._until is None:
            self._until = time.monotonic() + self._seconds
        return time.monotonic() >= self._until


NO_END = Grace(threading.Event(), 0.0)
"""Of whoever is not to be stopped."""


def left_behind(paths: int, *, is_whole: bool) -> str:
    """What did not fit into the grace, in words; nothing where all did."""
    found = [f"{paths:,} {'paths are' if paths > 1 else 'path is'} still out of step"] if paths else []
    found += [] if is_whole else ["not all of it was looked at once more"]
    return ", ".join(found)


def unread(logs: int) -> str:
    """That so many logs grew, and were not read whole since; nothing for none."""
    what = "1 log" if logs == 1 else f"{logs:,} logs"
    return f"of {what} that grew only the end was read: the next run that follows reads the rest" if logs else ""
