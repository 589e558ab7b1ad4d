"""Trying again what may pass: with back-off and jitter, inside a deadline.

A few lines of our own, since what such libraries log, or print where a host has a logger they know, is the error as it stands,
and a server's error may quote a record.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from crossfade.store.faults import passes

T = TypeVar("T")


@dataclass(frozen=True)
class Patience:
    """How long to go on trying, and how long to wait between two tries at most. Seconds."""

    deadline_seconds: float = 300.0
    wait_seconds_max: float = 5.0


class Waits:
    """The pauses of something that breaks again and again, each longer than the last."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self.begin()

    def begin(self) -> None:
        """Something came through: patience is whole again."""
        self._since: float | None = None
        self._seconds = 0.1

    def wait(self) -> bool:
        """Wait a little longer than the last time; False when patience has run out."""
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        if now - self._since > self._patience.deadline_seconds:
            return False
        time.sleep(self._seconds * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, no secret
        self._seconds = min(self._seconds * 2, self._patience.wait_seconds_max)
        return True


def patiently(work: Callable[[], T], patience: Patience, tell: Callable[[BaseException], None]) -> T:
    """What *work* returns, which is tried again after faults that pass. *tell* hears of each, and may raise to end it."""
    waits = Waits(patience)
    while True:
        try:
            return work()
        except Exception as error:
            if not passes(error):
                raise
            tell(error)
            if not waits.wait():
                raise
