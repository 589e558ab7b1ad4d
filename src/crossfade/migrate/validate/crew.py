"""Validation workers: comparers in processes of their own where they read, in threads where they only ask."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from crossfade.errors import WorkerDied
from crossfade.migrate.validate.measure import Comparer, Measured, Pair
from crossfade.migrate.workers import leave_with_parent
from crossfade.store.layers.retrying import Patience
from crossfade.store.port import Recipe
from crossfade.store.registry import DatabaseRecipe


@dataclass(frozen=True)
class Task:
    """What every worker needs to know. *held* are the places of records in quarantine, and how they stand there."""

    reads: Recipe
    asks: DatabaseRecipe
    held: Mapping[tuple[int, int], str]
    reads_source: bool
    patience: Patience = field(default_factory=Patience)
    skip_unreadable: bool = False

    def comparer(self, is_over: Callable[[], bool]) -> Comparer:
        """One worker's own, which stops trying again once it *is_over*."""
        return Comparer(
            self.reads.open(0),
            self.asks.open(0),
            self.held,
            self.patience,
            reads_source=self.reads_source,
            skip_unreadable=self.skip_unreadable,
            is_over=is_over,
        )


class Crew:
    """The workers of one validation: give them batches, hear what these showed, tell them that it is over."""

    def __init__(self, executor: Executor, compare: Callable[[Sequence[Pair]], Measured], over: Any, jobs: int) -> None:
        self._executor = executor
        self._compare = compare
        self._over = over
        self.jobs = jobs

    def give(self, pairs: Sequence[Pair]) -> Future[Measured]:
        """Queue a batch."""
        return self._executor.submit(self._compare, pairs)

    def hear(self, future: Future[Measured], is_over: Callable[[], bool]) -> Measured:
        """What a batch showed. Raises WorkerDied where nobody lives to tell."""
        while not future.done():
            wait([future], timeout=0.1)
            if is_over():
                self.stop()
        try:
            return future.result()
        except BrokenExecutor:
            raise WorkerDied(
                "a process that compared died", hint="look for the out-of-memory killer, then repeat the command"
            ) from None

    def stop(self) -> None:
        """What does not answer now is not waited for."""
        self._over.set()


@contextmanager
def crew(task: Task, jobs: int, *, apart: bool) -> Iterator[Crew]:
    """Workers for *task*; in processes of their own where they are more than one and have to be *apart*."""
    with _processes(task, jobs) if apart and jobs > 1 else _threads(task, jobs) as found:
        try:
            yield found
        finally:
            found.stop()


_comparer: Comparer | None = None


def _arrive(task: Task, over: Any) -> None:
    global _comparer  # noqa: PLW0603 - a pool's initializer has no other place to leave something
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=leave_with_parent, daemon=True).start()
    _comparer = task.comparer(over.is_set)


def _compare(pairs: Sequence[Pair]) -> Measured:
    assert _comparer is not None
    return _comparer.compare(pairs)


@contextmanager
def _processes(task: Task, jobs: int) -> Iterator[Crew]:
    context = multiprocessing.get_context("spawn")
    over = context.Event()
    with ProcessPoolExecutor(jobs, context, _arrive, (task, over)) as processes:
        yield Crew(processes, _compare, over, jobs)


@contextmanager
def _threads(task: Task, jobs: int) -> Iterator[Crew]:
    """Each thread opens stores of its own, at its first batch."""
    own, over = threading.local(), threading.Event()
    opened: list[Comparer] = []

    def compare(pairs: Sequence[Pair]) -> Measured:
        if not hasattr(own, "comparer"):
            own.comparer = task.comparer(over.is_set)
            opened.append(own.comparer)
        found: Comparer = own.comparer
        return found.compare(pairs)

    try:
        with ThreadPoolExecutor(jobs, thread_name_prefix="validate") as threads:
            yield Crew(threads, compare, over, jobs)
    finally:
        for comparer in opened:
            comparer.close()
