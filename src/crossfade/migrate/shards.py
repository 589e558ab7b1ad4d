"""Which task next: shards of one kind each, kinds in turn, so that no kind waits for another to be done."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator

from crossfade.migrate.decide import Task
from crossfade.migrate.workers import Shard

_SHARD_BYTES = 8 << 20
_SHARD_TASKS = 2000
_AHEAD = 20_000


class Shards:
    """Cuts a stream of tasks into shards. Looks a bounded number of tasks ahead, to find kinds that can go side by side."""

    def __init__(self, tasks: Iterator[Task]) -> None:
        self._tasks = tasks
        self._waiting: OrderedDict[str, deque[Task]] = OrderedDict()
        self._held = 0
        self._ended = False

    def next(self) -> Shard | None:
        """A shard of the kind that waited longest; None when all are given out."""
        self._look_ahead()
        if not self._waiting:
            return None
        kind, waiting = self._waiting.popitem(last=False)
        taken = _take(waiting)
        self._held -= len(taken)
        if waiting:
            self._waiting[kind] = waiting
        return Shard(kind, tuple(taken))

    def is_small(self) -> bool:
        """True where all that is left is not worth a process of its own."""
        self._look_ahead()
        return self._ended and self._held <= _SHARD_TASKS and self._size() <= _SHARD_BYTES

    def _size(self) -> int:
        return sum(task.entry.size for waiting in self._waiting.values() for task in waiting)

    def _look_ahead(self) -> None:
        while self._held < _AHEAD and not self._ended:
            task = next(self._tasks, None)
            if task is None:
                self._ended = True
                return
            self._waiting.setdefault(task.entry.kind, deque()).append(task)
            self._held += 1


def _take(waiting: deque[Task]) -> list[Task]:
    taken = [waiting.popleft()]
    size = taken[0].entry.size
    while waiting and len(taken) < _SHARD_TASKS and size + waiting[0].entry.size <= _SHARD_BYTES:
        size += waiting[0].entry.size
        taken.append(waiting.popleft())
    return taken
