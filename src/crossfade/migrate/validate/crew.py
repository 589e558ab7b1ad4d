"""Validation workers: comparers in processes of their own, or one in this process."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from crossfade.migrate.validate.measure import Comparer, Measured, Pair
from crossfade.migrate.workers import leave_with_parent
from crossfade.store.layers.retrying import Patience, Retrying
from crossfade.store.port import Recipe
from crossfade.store.registry import DatabaseRecipe

Submit = Callable[[Sequence[Pair]], Future[Measured]]


@dataclass(frozen=True)
class Task:
    """What every worker needs to know."""

    reads: Recipe
    asks: DatabaseRecipe
    chosen: dict[str, dict[str, bytes]]
    held: frozenset[tuple[int, int]]
    reads_source: bool
    patience_seconds: float = 60.0

    def comparer(self) -> Comparer:
        """One worker's own."""
        reads = Retrying(self.reads.open(0), Patience(self.patience_seconds), _quietly)
        return Comparer(reads, self.asks.open(0), self.chosen, self.held, reads_source=self.reads_source)


def _quietly(_error: BaseException) -> None:
    """A read that is repeated; the run's own line says that it waits."""


_comparer: Comparer | None = None


def _arrive(task: Task) -> None:
    global _comparer  # noqa: PLW0603 - a pool's initializer has no other place to leave something
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=leave_with_parent, daemon=True).start()
    _comparer = task.comparer()


def _compare(pairs: Sequence[Pair]) -> Measured:
    assert _comparer is not None
    return _comparer.compare(pairs)


@contextmanager
def crew(task: Task, jobs: int) -> Iterator[Submit]:
    """A way to have batches compared, *jobs* at a time."""
    if jobs == 1:
        comparer = task.comparer()
        with ThreadPoolExecutor(1) as threads:
            yield lambda pairs: threads.submit(comparer.compare, pairs)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context, _arrive, (task,)) as processes:
        yield lambda pairs: processes.submit(_compare, pairs)
