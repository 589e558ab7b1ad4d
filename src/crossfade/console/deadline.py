"""The end of waiting, whatever is waited for: a server that takes what it is asked may never answer."""

from __future__ import annotations

import signal
import time

_LATE_SECONDS = 2.0
"""What is under way when the time is up is nearly always there by then."""

_LONGEST_SECONDS = 365 * 86_400.0
"""An alarm has its limits."""


class TimeIsUp(BaseException):
    """Raised wherever the command stands, as a Ctrl-C is."""


class Deadline:
    """So many *seconds* from now on; None is never. While it is entered, it raises TimeIsUp a little later, unless it was ``met``.

    For the main thread of a process of ours, whose alarm it takes (setitimer(2)).
    """

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds
        self._began = time.monotonic()
        self._is_met = False

    @property
    def is_over(self) -> bool:
        """True once the time is up."""
        return self.seconds is not None and time.monotonic() - self._began >= self.seconds

    def __enter__(self) -> Deadline:
        if self.seconds is not None:
            self._handled = signal.signal(signal.SIGALRM, self._up)
            self._timed = signal.setitimer(signal.ITIMER_REAL, min(self.seconds + _LATE_SECONDS, _LONGEST_SECONDS))
        return self

    def __exit__(self, *_: object) -> None:
        self.met()
        if self.seconds is not None:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, self._handled)
            signal.setitimer(signal.ITIMER_REAL, *self._timed)

    def met(self) -> None:
        """What was waited for is there, or given up: nothing is interrupted any more."""
        self._is_met = True

    def _up(self, *_: object) -> None:
        if not self._is_met:
            raise TimeIsUp
