"""Telling how far a run is, about once a second, and how long each of its steps took."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from crossfade.observe.progress import Progress

_SECONDS = 1.0


class Teller:
    """Keeps the newest progress, measures its rate, and hands it to *watch* now and then."""

    def __init__(self, watch: Callable[[Progress], None]) -> None:
        self._watch = watch
        self._began = self._stepped = time.monotonic()
        self._told = 0.0
        self._samples: list[tuple[float, int]] = []
        self.progress = Progress()
        self.steps: dict[str, float] = {}

    @property
    def seconds(self) -> float:
        """How long the run lasts."""
        return time.monotonic() - self._began

    def step(self, step: str) -> None:
        """Something new begins; what it follows is done."""
        self.end_step()
        self.progress = replace(self.progress, step=step, reason="", throttled="")
        self.tell(at_once=True)

    def end_step(self) -> None:
        """Note how long the step took that is going on."""
        now = time.monotonic()
        name = self.progress.step
        self.steps[name] = round(self.steps.get(name, 0.0) + now - self._stepped, 3)
        self._stepped = now

    def throttled(self, reason: str, seconds: float) -> None:
        """A worker waits, because of *reason*."""
        total = round(self.progress.throttled_seconds + max(seconds, 0.0), 3)
        self.progress = replace(self.progress, throttled=reason, throttled_seconds=total)

    def tell(self, *, at_once: bool = False) -> None:
        """Show progress, unless that was done a moment ago."""
        now = time.monotonic()
        if not at_once and now - self._told < _SECONDS:
            return
        self._told = now
        self._samples = [*self._samples[-9:], (now, self.progress.bytes)]
        then, before = self._samples[0]
        rate = (self.progress.bytes - before) / (now - then) if now - then > 1 else None
        self.progress = replace(self.progress, seconds=self.seconds, rate_bytes=rate)
        self._watch(self.progress)
