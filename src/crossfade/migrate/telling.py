"""Telling how far a run is, about once a second, and how long each of its steps took."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace

from crossfade.migrate.audit.scribe import Scribe
from crossfade.migrate.throttle.gate import Pause
from crossfade.observe.progress import Progress

_SECONDS = 1.0

_AFTERGLOW_SECONDS = 1.0
"""How long a throttle is shown when its turn is over: what waits again and again would flicker."""


class Teller:
    """Keeps the newest progress, measures its rate, and hands it to *watch* now and then; the journal hears by *scribe*."""

    def __init__(self, watch: Callable[[Progress], None], scribe: Scribe) -> None:
        self._watch = watch
        self._scribe = scribe
        self._throttled_until = 0.0
        self._silent = ""
        self._lock = threading.Lock()
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
        self._samples = []
        self.progress = replace(self.progress, step=step, reason="", throttled="")
        self.tell(at_once=True)

    def show(self, progress: Progress) -> None:
        """Show *progress*, which somebody else keeps, as this run's."""
        self._samples = self._samples if progress.step == self.progress.step else []
        with self._lock:
            now = self.progress
            self.progress = replace(progress, throttled=now.throttled, throttled_seconds=now.throttled_seconds)
        self.tell(at_once=True)

    def end_step(self) -> None:
        """Note how long the step took that is going on."""
        now = time.monotonic()
        name = self.progress.step
        self.steps[name] = round(self.steps.get(name, 0.0) + now - self._stepped, 3)
        self._stepped = now

    def throttled(self, reason: str, seconds: float) -> None:
        """Somebody waits so long, because of *reason*. Where several wait at the same time, it counts once."""
        if seconds <= 0:
            return
        with self._lock:
            now = time.monotonic()
            until = max(now + seconds, self._throttled_until)
            lost = until - max(self._throttled_until, now)
            self._throttled_until = until
            total = round(self.progress.throttled_seconds + lost, 3)
            self.progress = replace(self.progress, throttled=reason, throttled_seconds=total)
        self._scribe.throttle(reason, lost)

    def paused(self, pause: Pause) -> None:
        """As ``throttled``, and shown before the pause begins."""
        is_new = pause.reason != self.progress.throttled
        self.throttled(pause.reason, pause.seconds)
        self.tell(at_once=is_new)

    def retried(self, fault: str) -> None:
        """Something is tried again after *fault*, a class and a code."""
        self.progress = replace(self.progress, reason=f"trying again after {fault}")
        self._scribe.retry(fault)
        self.tell(at_once=True)

    def waiting(self, reason: str) -> None:
        """Nothing can be done before *reason* is over."""
        self.progress = replace(self.progress, reason=reason)
        self.tell()

    def silent(self, reason: str) -> None:
        """A database does not answer; or does again, where *reason* is empty. From a thread of its own: the others may wait for it."""
        self._silent = reason
        if reason:
            self._watch(self._shown())

    def quarantined(self, kind: str, items: int) -> None:
        """A page could not place so many *items*."""
        if items:
            self._scribe.quarantined(kind, items)

    def tell(self, *, at_once: bool = False) -> None:
        """Show progress, unless that was done a moment ago."""
        now = time.monotonic()
        if self.progress.throttled and now > self._throttled_until + _AFTERGLOW_SECONDS:
            self.progress = replace(self.progress, throttled="")
        if not at_once and now - self._told < _SECONDS:
            return
        self._told = now
        self._samples = [*self._samples[-9:], (now, self.progress.bytes)]
        then, before = self._samples[0]
        rate = (self.progress.bytes - before) / (now - then) if now - then > 1 else None
        self.progress = replace(self.progress, seconds=self.seconds, rate_bytes=rate)
        self._watch(self._shown())

    def _shown(self) -> Progress:
        return replace(self.progress, reason=self.progress.reason or self._silent)
