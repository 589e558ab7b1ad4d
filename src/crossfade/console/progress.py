"""Progress, rendered: one plain line every few seconds, and on a terminal bars (``bars``)."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from crossfade.console.talk import behind, counted, lasting, say, sized
from crossfade.observe.progress import Progress as Sample

if TYPE_CHECKING:
    from crossfade.console.bars import Bars

_PLAIN_SECONDS = 5.0
_FOLLOWING_SECONDS = 60.0
"""What follows for months would fill a log."""


def line(sample: Sample) -> str:
    """One line that says how far it is, how fast, and, where it does not move, why."""
    if sample.lag_seconds is not None:
        return _following(sample)
    parts = [
        sample.step,
        f"{sized(sample.bytes)} of {sized(sample.bytes_total)}{'' if sample.counted else ' counted so far'}",
    ]
    entries = sum(kind.entries for kind in sample.kinds.values())
    parts += [counted(entries, "entry", "entries")]
    parts += [f"{sized(sample.rate_bytes)}/s"] if sample.rate_bytes is not None else []
    parts += [f"ETA {lasting(sample.eta_seconds)}"] if sample.eta_seconds is not None and sample.step == "copying" else []
    parts += [sample.paused] if sample.paused else []
    parts += [f"waiting: {sample.reason}"] if sample.reason else []
    parts += [f"throttled: {sample.throttled}"] if sample.throttled else []
    return "; ".join(parts)


def _following(sample: Sample) -> str:
    parts = [sample.step, f"{sized(sample.bytes)} brought", f"lag {sample.lag_seconds:.1f} s"]
    parts += [behind(sample.behind, sample.behind_bytes, sample.unread)] if sample.behind else []
    parts += [sample.paused] if sample.paused else []
    parts += [f"waiting: {sample.reason}"] if sample.reason else []
    parts += [f"throttled: {sample.throttled}"] if sample.throttled else []
    return "; ".join(parts)


class Plain:
    """For logs and pipes."""

    def __init__(self) -> None:
        self._last = 0.0
        self._said = ("", "", "", "")

    def __enter__(self) -> Plain:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to clear."""

    def __call__(self, sample: Sample) -> None:
        """Say where it is, when something new begins or a few seconds have passed."""
        news = (sample.step, sample.reason, sample.throttled, sample.paused)
        every = _PLAIN_SECONDS if sample.lag_seconds is None else _FOLLOWING_SECONDS
        if news != self._said or time.monotonic() - self._last >= every:
            say(line(sample))
            self._last, self._said = time.monotonic(), news


def display() -> Bars | Plain:
    """What suits stderr. A program that nobody watches need not load what draws bars: a tenth of its start."""
    if not sys.stderr.isatty():
        return Plain()
    from crossfade.console.bars import Bars  # noqa: PLC0415 - only where there is a terminal

    return Bars()
