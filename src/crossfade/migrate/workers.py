"""Workers: carriers in processes of their own, or one in this process. The engine does not know which.

A shard is a picklable value, a few tasks of one kind. A worker opens its own stores, once, from recipes; what it did comes
back page by page. It pays no attention to Ctrl-C: the runner does, and tells it through an event.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from crossfade.migrate.carry import Carried, Carrier, Outcome
from crossfade.migrate.decide import Task
from crossfade.migrate.plan import Limits
from crossfade.migrate.throttle.gate import Gate, Pause
from crossfade.model.changes import Page
from crossfade.store.layers.retrying import Patience, Retrying
from crossfade.store.port import Recipe, Store

T = TypeVar("T")


@dataclass(frozen=True)
class Retried:
    """A fault that is being tried again: its class, and its SQLSTATE or errno; never a message that a server or a program made."""

    worker: int
    fault: str


def fault_of(error: BaseException) -> str:
    """A fault by its class and code, and one of the operating system in its words: what may be shown of it."""
    code = getattr(error, "sqlstate", None) or getattr(error, "errno", None) or getattr(error, "code", "")
    words = f": {os.strerror(error.errno)}" if isinstance(error, OSError) and error.errno else ""
    return f"{type(error).__name__} {code}".strip() + words


@dataclass(frozen=True)
class Throttled:
    """A worker waits for its turn, so many seconds, because of *reason*."""

    seconds: float
    reason: str


@dataclass(frozen=True)
class Job:
    """What every worker of a run needs to know."""

    source: Recipe
    target: Recipe
    limits: Limits
    patience: Patience
    skip_unreadable: bool


@dataclass(frozen=True)
class Shard:
    """A few tasks of one kind, small enough to be spread, large enough to be worth it."""

    kind: str
    tasks: tuple[Task, ...]


class _Desk:
    """One worker's place: its stores, the way to tell, and the gate that all workers go through."""

    def __init__(self, job: Job, worker: int, reports: Any, stop: Any, gate: Gate) -> None:
        self._job = job
        self._worker = worker
        self._reports = reports
        self._stop = stop
        self._gate = gate
        self._spent = time.process_time()
        self._stores: tuple[Store, Store] | None = None

    def work(self, shard: Shard) -> Carried:
        with self._gate.at_work(self._stop.is_set):
            return Carried(stopped=True) if self._stop.is_set() else self._carry(shard)

    def _carry(self, shard: Shard) -> Carried:
        if self._stores is None:
            self._stores = self._open(self._job.source), self._open(self._job.target)
        carrier = Carrier(
            self._stores[0],
            self._stores[1],
            self._job.limits.under(*self._gate.rates),
            ready=self._wait_for_turn,
            done=self._tell,
            stop=self._stop.is_set,
            skip_unreadable=self._job.skip_unreadable,
        )
        return carrier.carry(shard.tasks)

    def _open(self, recipe: Recipe) -> Store:
        return Retrying(recipe.open(self._worker), self._job.patience, self._retried)

    def _tell(self, outcome: Outcome) -> None:
        """A page is done, and nothing is in hand: here is where a pause is kept."""
        self._reports.put(outcome)
        self._gate.rest(self._stop.is_set)

    def _retried(self, error: BaseException) -> None:
        """Say so, and give up where the run is over anyway."""
        self._reports.put(Retried(self._worker, fault_of(error)))
        if self._stop.is_set():
            raise error

    def _wait_for_turn(self, page: Page, records: int) -> None:
        """Keep to the limits, together with all other workers."""
        spent, self._spent = self._spent, time.process_time()
        self._gate.charge(self._spent - spent)
        self._gate.wait(records, page.size, stop=self._stop.is_set, tell=self._throttled)

    def _throttled(self, pause: Pause) -> None:
        self._reports.put(Throttled(pause.seconds, pause.reason))

    def close(self) -> None:
        for store in self._stores or ():
            store.close()
        self._stores = None


_desk: _Desk | None = None


_FOR_THE_RUNNER = (signal.SIGINT, signal.SIGTERM)


def _arrive(job: Job, numbers: Any, reports: Any, stop: Any, gate: Gate) -> None:
    """A worker process begins."""
    global _desk  # noqa: PLW0603 - a pool's initializer has no other place to leave something
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _FOR_THE_RUNNER)
    threading.Thread(target=leave_with_parent, daemon=True).start()
    _desk = _Desk(job, numbers.get(), reports, stop, gate)


def leave_with_parent() -> None:
    """A runner that was killed must not leave workers behind that write on."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        signal.raise_signal(signal.SIGKILL)


def _work(shard: Shard) -> Carried:
    assert _desk is not None
    return _desk.work(shard)


def _nothing() -> None:
    """What a worker is called for that has nothing to do yet."""


class Crew:
    """The workers of one run: give them shards, hear what they did, stop them."""

    def __init__(self, executor: Executor, work: Callable[[Shard], Carried], reports: Any, stop: Any, workers: int) -> None:
        self._executor = executor
        self._work = work
        self._reports = reports
        self._stop = stop
        self.workers = workers

    def call(self) -> None:
        """Let all workers come, so that they are there when the first shard is."""
        for _ in range(self.workers):
            self._submit(_nothing)

    def give(self, shard: Shard) -> Future[Carried]:
        """Queue a shard."""
        return self._submit(self._work, shard)

    def _submit(self, work: Callable[..., T], *arguments: Any) -> Future[T]:
        """A worker that is born with this hears no Ctrl-C before it knows what to make of one."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _FOR_THE_RUNNER)
        try:
            return self._executor.submit(work, *arguments)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def reports(self, timeout_seconds: float) -> Iterator[Outcome | Retried | Throttled]:
        """What was reported, waiting a little for the first."""
        wait = timeout_seconds
        while True:
            try:
                yield self._reports.get(timeout=wait) if wait else self._reports.get_nowait()
            except queue.Empty:
                return
            wait = 0.0

    def stop(self) -> None:
        """Ask everybody to finish the page in hand and go."""
        self._stop.set()


@contextmanager
def crew(job: Job, workers: int, gate: Gate) -> Iterator[Crew]:
    """The workers for *job*, who all keep to *gate*. One works in this process; more get processes of their own."""
    with _thread(job, gate) if workers == 1 else _processes(job, workers, gate) as found:
        try:
            yield found
        finally:
            found.stop()


@contextmanager
def _thread(job: Job, gate: Gate) -> Iterator[Crew]:
    reports: queue.Queue[Outcome | Retried | Throttled] = queue.Queue()
    stop = threading.Event()
    desk = _Desk(job, 0, reports, stop, gate)
    with ThreadPoolExecutor(1, thread_name_prefix="worker") as executor:
        try:
            yield Crew(executor, desk.work, reports, stop, 1)
        finally:  # also of a run that failed: an open transaction would hold locks
            stop.set()
            executor.submit(desk.close).result()


@contextmanager
def _processes(job: Job, workers: int, gate: Gate) -> Iterator[Crew]:
    context = multiprocessing.get_context("spawn")
    numbers, reports = context.SimpleQueue(), context.Queue()
    for number in range(workers):
        numbers.put(number)
    stop = context.Event()
    with ProcessPoolExecutor(workers, context, _arrive, (job, numbers, reports, stop, gate)) as executor:
        found = Crew(executor, _work, reports, stop, workers)
        found.call()
        yield found
        stop.set()
