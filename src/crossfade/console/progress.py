"""Progress, rendered: bars on a terminal, one plain line every few seconds elsewhere."""

from __future__ import annotations

import sys
import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from crossfade.console.talk import counted, lasting, say, sized
from crossfade.observe.progress import KindProgress
from crossfade.observe.progress import Progress as Sample

_PLAIN_SECONDS = 5.0


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
    parts += [f"waiting: {sample.reason}"] if sample.reason else []
    parts += [f"throttled: {sample.throttled}"] if sample.throttled else []
    return "; ".join(parts)


def _following(sample: Sample) -> str:
    parts = [sample.step, f"{sized(sample.bytes)} brought", f"lag {sample.lag_seconds:.1f} s"]
    parts += [f"{counted(sample.behind, 'path')} behind"] if sample.behind else []
    parts += [f"waiting: {sample.reason}"] if sample.reason else []
    parts += [f"throttled: {sample.throttled}"] if sample.throttled else []
    return "; ".join(parts)


class Plain:
    """For logs and pipes."""

    def __init__(self) -> None:
        self._last = 0.0
        self._said = ("", "", "")

    def __enter__(self) -> Plain:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to clear."""

    def __call__(self, sample: Sample) -> None:
        """Say where it is, when something new begins or a few seconds have passed."""
        news = (sample.step, sample.reason, sample.throttled)
        if news != self._said or time.monotonic() - self._last >= _PLAIN_SECONDS:
            say(line(sample))
            self._last, self._said = time.monotonic(), news


class Bars:
    """For a terminal: a bar a kind, and what is going on."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description:<18}"),
            BarColumn(bar_width=28),
            TextColumn("{task.percentage:>4.0f}%"),
            TextColumn("{task.fields[detail]}"),
            console=Console(stderr=True),
            transient=False,
        )
        self._bars: dict[str, TaskID] = {}

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, sample: Sample) -> None:
        """Move the bars."""
        self._move("", sample.step, sample.bytes, sample.bytes_total, _total_detail(sample))
        for name, kind in sorted(sample.kinds.items()):
            if name != "-":
                self._move(name, "  " + name, kind.bytes, kind.bytes_total, _kind_detail(kind))

    def _move(self, name: str, text: str, done: int, total: int, detail: str) -> None:
        if name not in self._bars:
            self._bars[name] = self._progress.add_task(text, detail=detail)
        self._progress.update(self._bars[name], description=text, completed=done, total=max(total, done, 1), detail=detail)


def _total_detail(sample: Sample) -> str:
    parts = [f"{sized(sample.rate_bytes)}/s"] if sample.rate_bytes is not None else []
    parts += [f"ETA {lasting(sample.eta_seconds)}"] if sample.eta_seconds is not None and sample.step == "copying" else []
    parts += [f"waiting: {sample.reason}"] if sample.reason else []
    parts += [f"throttled: {sample.throttled}"] if sample.throttled else []
    return "  ".join(parts)


def _kind_detail(kind: KindProgress) -> str:
    extra = (f"  {kind.raw:,} raw" if kind.raw else "") + (
        f"  {kind.quarantined:,} in quarantine" if kind.quarantined else ""
    )
    return f"{kind.entries:,}/{kind.entries_total:,} entries  {kind.records:,} records{extra}"


def display() -> Bars | Plain:
    """What suits stderr."""
    return Bars() if sys.stderr.isatty() else Plain()
