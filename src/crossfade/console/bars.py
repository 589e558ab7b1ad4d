"""Progress on a terminal: a bar a kind, and what is going on."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from crossfade.console.talk import behind, lasting, sized
from crossfade.observe.progress import KindProgress
from crossfade.observe.progress import Progress as Sample


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
    parts += [f"lag {lasting(sample.lag_seconds)}"] if sample.lag_seconds is not None else []
    parts += [behind(sample.behind, sample.behind_bytes, sample.unread)] if sample.behind else []
    parts += [f"ETA {lasting(sample.eta_seconds)}"] if sample.eta_seconds is not None and sample.step == "copying" else []
    parts += [sample.paused] if sample.paused else []
    parts += [f"waiting: {sample.reason}"] if sample.reason else []
    parts += [f"throttled: {sample.throttled}"] if sample.throttled else []
    return "  ".join(parts)


def _kind_detail(kind: KindProgress) -> str:
    extra = (f"  {kind.raw:,} raw" if kind.raw else "") + (
        f"  {kind.quarantined:,} in quarantine" if kind.quarantined else ""
    )
    return f"{kind.entries:,}/{kind.entries_total:,} entries  {kind.records:,} records{extra}"
