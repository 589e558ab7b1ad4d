"""How long writers of files wait: for as long as a hold lasts, which ends by itself when its time is over.

Whoever hands over may be waiting for a store, a server or a disk by then, none of which knows of a limit. So there is a clock
of its own beside the work, and the work finds out when it asks how much time is left.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, suppress

from crossfade.errors import CrossfadeError, GateShut


class Hold:
    """A hold of *seconds* at most. When they are over before ``decide`` was called, *give_back* is, and writers go on."""

    def __init__(self, seconds: float, give_back: Callable[[], None]) -> None:
        self._seconds = seconds
        self._give_back = give_back
        self._lock = threading.Lock()
        self._held = ExitStack()
        self._timer: threading.Timer | None = None
        self._began: float | None = None
        self.lasted = 0.0

    def begin(self, closed: Callable[[float], AbstractContextManager[None]]) -> None:
        """Keep writers out, by *closed*, which is told how long it may wait for those in flight. Raises GateShut."""
        self._began = time.monotonic()
        self._held.enter_context(closed(self._seconds))
        self._timer = threading.Timer(max(self._left(), 0.0), self._expire)
        self._timer.daemon = True
        self._timer.start()

    def left(self) -> float:
        """What is left of the time that writers may wait. Raises GateShut when it is over."""
        left = self._left()
        if left <= 0:
            raise GateShut(
                f"writers would wait longer than {self._seconds:g} s; nothing was handed over",
                hint="try again when less is written, or raise --hold-max",
            )
        return left

    def decide(self) -> None:
        """Hold on until the release: the decision will be on its way. Raises GateShut where it is too late for one."""
        with self._lock:
            self.left()
            self._stop_the_clock()

    def release(self) -> None:
        """Let writers go on. May be called twice."""
        with self._lock:
            self._end()

    def _left(self) -> float:
        assert self._began is not None, "it has begun by now"
        return self._began + self._seconds - time.monotonic()

    def _expire(self) -> None:
        with self._lock:
            if self._timer is None:
                return
            with suppress(OSError, CrossfadeError):  # then writers ask the database
                self._give_back()
            self._end()

    def _end(self) -> None:
        self._stop_the_clock()
        if self._began is not None and not self.lasted:
            self.lasted = time.monotonic() - self._began
        self._held.close()

    def _stop_the_clock(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
