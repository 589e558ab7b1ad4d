"""Which task next: shards of one kind each, kinds in turn, so that no kind waits for another to be done."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import replace

from crossfade.migrate.decide import Task
from crossfade.migrate.telling import Teller
from crossfade.migrate.workers import Shard

_SHARD_BYTES = 8 << 20
_SHARD_TASKS = 2000
_AHEAD = 20_000
_COUNTED_TOGETHER = 500


def shared_out(work: Iterator[Task], teller: Teller, *, directories: bool) -> Iterator[Task]:
    """The tasks for the workers, counted as they pass; with or without those for *directories*."""
    met: dict[str, tuple[int, int]] = {}
    for number, task in enumerate(work, 1):
        entry = task.entry
        if entry.type == "dir" and not directories:
            continue
        entries, size = met.get(entry.kind or "-", (0, 0))
        met[entry.kind or "-"] = entries + 1, size + (entry.size if task.verb in ("put", "refresh", "resume") else 0)
        if number % _COUNTED_TOGETHER == 0:
            _count(met, teller)
        yield task
    _count(met, teller)
    teller.progress = replace(teller.progress, counted=True)


def _count(met: dict[str, tuple[int, int]], teller: Teller) -> None:
    """Add what was *met* to the totals, not for each task, which would be half of the walk's time."""
    for kind, (entries, size) in met.items():
        teller.progress = teller.progress.with_kind(kind, entries_total=entries, bytes_total=size)
    met.clear()


class Shards:
    """Cuts a stream of tasks into shards. Looks a bounded number of tasks ahead, to find kinds that can go side by side."""

    def __init__(self, tasks: Iterator[Task]) -> None:
        self._tasks = tasks
        self._waiting: OrderedDict[str, deque[Task]] = OrderedDict()
        self._held = self._bytes = 0
        self._ended = False

    def next(self) -> Shard | None:
        """A shard of the kind that waited longest; None when all are given out."""
        self._look_ahead()
        if not self._waiting:
            return None
        kind, waiting = self._waiting.popitem(last=False)
        taken = _take(waiting)
        self._held -= len(taken)
        self._bytes -= sum(task.entry.size for task in taken)
        if waiting:
            self._waiting[kind] = waiting
        return Shard(kind, tuple(taken))

    def is_small(self) -> bool:
        """True where all that is left is not worth a process of its own. Looks no further than it takes to tell."""
        while not self._ended and self._held <= _SHARD_TASKS and self._bytes <= _SHARD_BYTES:
            self._look_at_one()
        return self._held <= _SHARD_TASKS and self._bytes <= _SHARD_BYTES

    def _look_ahead(self) -> None:
        while self._held < _AHEAD and not self._ended:
            self._look_at_one()

    def _look_at_one(self) -> None:
        task = next(self._tasks, None)
        if task is None:
            self._ended = True
            return
        self._waiting.setdefault(task.entry.kind, deque()).append(task)
        self._held += 1
        self._bytes += task.entry.size


def _take(waiting: deque[Task]) -> list[Task]:
    taken = [waiting.popleft()]
    size = taken[0].entry.size
    while waiting and len(taken) < _SHARD_TASKS and size + waiting[0].entry.size <= _SHARD_BYTES:
        size += waiting[0].entry.size
        taken.append(waiting.popleft())
    return taken
