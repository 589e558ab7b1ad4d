"""One run of ``start --once``: survey, copy, index, prove.

The engine decides nothing about a path (``decide``) and moves no bytes (``carry``): it keeps the order, hears what the
workers report, and holds the lease. Whatever stops it, the next run finds out from the stores themselves how far it got.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import chain
from typing import Any

from crossfade.errors import (
    BudgetSpent,
    ContentDiffers,
    Interrupted,
    SourceMoved,
    TargetForeign,
    WorkerDied,
)
from crossfade.migrate.carry import Carried, Outcome
from crossfade.migrate.decide import Task
from crossfade.migrate.indexing import build_indexes
from crossfade.migrate.inventory import tasks
from crossfade.migrate.lease import Lease
from crossfade.migrate.obstacles import Obstacles
from crossfade.migrate.prepare import Run, refuse_empty
from crossfade.migrate.proof import Proof, Prover
from crossfade.migrate.report import report, with_quarantine
from crossfade.migrate.shards import Shards
from crossfade.migrate.telling import Teller
from crossfade.migrate.workers import Crew, Job, Retried, Shard, Throttled, crew, fault_of
from crossfade.model.changes import Page, Remove, Touch
from crossfade.model.entries import Entry
from crossfade.model.paths import key_of, text_of
from crossfade.observe.progress import Progress
from crossfade.store.backends.file.store import FileStore
from crossfade.store.layers.retrying import Patience, Retrying
from crossfade.store.port import Store

_PROGRESS_SECONDS = 1.0


@dataclass(frozen=True)
class Result:
    """How a run ended. ``already`` is set where there was nothing to do: the time of the proof that still holds."""

    report: dict[str, Any]
    already: datetime | None = None
    unreadable: tuple[tuple[bytes, str], ...] = ()
    head: bytes = b""


@dataclass
class _Tally:
    """What happened so far in this run."""

    moved: list[bytes] = field(default_factory=list)
    unreadable: list[tuple[bytes, str]] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=dict)
    records: int = 0
    refused: int = 0
    retries: int = 0


class Engine:
    """Runs one plan once. *watch* hears of progress; *stop* is set by whoever wants it to end after the page in hand."""

    def __init__(self, run: Run, *, watch: Callable[[Progress], None], stop: threading.Event) -> None:
        self._run = run
        self._teller = Teller(watch)
        self._stop = stop
        self._tally = _Tally()
        self._lost: BaseException | None = None
        patience = Patience(run.request.manner.patience_seconds)
        run.ledger.patience_seconds = patience.deadline_seconds
        self._files = run.source.open(_ENGINE)
        self._source: Store = Retrying(self._files, patience, self._waiting)
        self._target: Store = Retrying(run.target.open(_ENGINE), patience, self._waiting)

    def once(self) -> Result:
        """Copy what is new, prove it, report."""
        with self._holding_the_lease():
            try:
                return self._once()
            finally:
                self._source.close()
                self._target.close()

    def _once(self) -> Result:
        in_the_way = self._survey()
        refuse_empty(self._run.request, self._run.source)
        self._apply(in_the_way)
        ahead = self._tasks()
        first = next(ahead, None)
        before = self._run.before
        if first is None and before is not None and before.phase == "copied" and before.proved_at and before.report:
            known = with_quarantine(before.report, self._run.ledger.quarantined(self._run.migration))
            return Result(known, already=before.proved_at, unreadable=self._not_read(), head=self._head())
        self._copy(chain([first] if first else [], ahead))
        self._settle_directories()
        self._check_stop()
        self._check_held()
        if not self._run.to_files:
            self._teller.step("building indexes")
            build_indexes(self._run)
        return self._prove()

    # Before the first byte

    def _survey(self) -> Sequence[Remove]:
        """For a directory as target: refuse what is not ours to write, naming three; find what is in the way."""
        if not self._run.to_files:
            return ()
        self._run.ledger.forget_gone(self._run.migration)
        obstacles = Obstacles()
        manner = self._run.request.manner
        met: dict[str, list[Task]] = {"stranger": [], "conflict": []}
        for task in self._every_task():
            if task.verb in met and len(met[task.verb]) < 4:
                met[task.verb].append(task)
            obstacles.look(self._meant(task))
        if not (manner.merge or manner.delete_extra) and (found := met["stranger"]):
            raise TargetForeign(
                f"{self._run.plan.target} holds files of a stranger: {_named(found)}",
                hint="choose an empty directory; --merge keeps them, --delete-extra removes them",
            )
        if found := met["conflict"]:
            raise TargetForeign(
                f"{self._run.plan.target} was changed since it was written: {_named(found)}",
                hint="move these paths away, then repeat the command",
            )
        return obstacles.removals()

    # The work

    def _every_task(self) -> Iterator[Task]:
        """All that differs, in key order, tombstones included."""
        return tasks(*self._inventories(), self._run.decide, self._run.kinds)

    def _inventories(self) -> tuple[Iterator[Entry], Iterator[Entry]]:
        """Both sides. A database shows its tombstones to a target of files; as a target, it needs to know its own."""
        return self._source.entries(tombstones=self._run.to_files), self._target.entries(tombstones=True)

    def _tasks(self) -> Iterator[Task]:
        """What this run does: strangers only where it may delete them, conflicts never."""
        for task in map(self._meant, self._every_task()):
            if task.verb not in ("stranger", "conflict") and not (
                task.verb == "remove" and self._is_hidden(task.entry.path)
            ):
                yield task

    def _meant(self, task: Task) -> Task:
        """A stranger goes where it may be deleted."""
        may = task.verb == "stranger" and self._run.request.manner.delete_extra
        return replace(task, verb="remove") if may else task

    def _is_hidden(self, path: bytes) -> bool:
        """True below a directory that could not be read: what is not seen there is not gone."""
        return isinstance(self._files, FileStore) and self._files.hides(path)

    def _copy(self, work: Iterator[Task]) -> None:
        run, manner = self._run, self._run.request.manner
        run.ledger.phase(run.migration, "copying", "copying", {"workers": manner.workers})
        self._teller.step("copying")
        job = Job(
            run.source,
            run.target,
            manner.limits,
            Patience(manner.patience_seconds),
            manner.records_per_second,
            manner.bytes_per_second,
            manner.skip_unreadable,
        )
        shards = Shards(self._shared_out(work))
        with crew(job, 1 if shards.is_small() else manner.workers) as workers:
            self._work_off(workers, shards)
        self._check_stop()

    def _shared_out(self, work: Iterator[Task]) -> Iterator[Task]:
        """The tasks for the workers, counted as they pass. Directories of a file target wait for the end."""
        for task in work:
            if self._run.to_files and task.entry.type == "dir":
                continue
            kind = task.entry.kind or "-"
            size = task.entry.size if task.verb in ("put", "refresh", "resume") else 0
            self._teller.progress = self._teller.progress.with_kind(kind, entries_total=1, bytes_total=size)
            yield task
        self._teller.progress = replace(self._teller.progress, counted=True)

    def _work_off(self, workers: Crew, shards: Shards) -> None:
        """Give out shards, a few more than there are workers, until all are carried or somebody stops."""
        pending: dict[Future[Carried], Shard] = {}
        while True:
            while len(pending) < workers.workers + 2 and not self._stop.is_set() and (shard := shards.next()):
                pending[workers.give(shard)] = shard
            if not pending:
                break
            if self._stop.is_set():
                workers.stop()
            wait(pending, timeout=0.05)
            self._hear(workers, 0.0)
            for future in [future for future in pending if future.done()]:
                self._collect(future, pending.pop(future))
        self._hear(workers, 0.2)

    def _collect(self, future: Future[Carried], shard: Shard) -> None:
        try:
            carried = future.result()
        except BrokenProcessPool:
            self._stop.set()
            raise WorkerDied(
                "a worker process died", hint="look for the out-of-memory killer, then repeat the command"
            ) from None
        self._tally.moved += carried.moved
        self._tally.unreadable += carried.unreadable
        self._tally.errors[shard.kind] += len(carried.unreadable)

    def _hear(self, workers: Crew, seconds: float) -> None:
        for heard in workers.reports(seconds):
            if isinstance(heard, Retried):
                self._retried(heard)
            elif isinstance(heard, Throttled):
                self._teller.throttled(self._run.request.manner.rate_text, heard.seconds)
            else:
                self._take(heard)
        self._teller.tell()

    def _waiting(self, error: BaseException) -> None:
        """The engine's own look at a store failed, and will be repeated."""
        if self._stop.is_set():
            raise error
        self._retried(Retried(_ENGINE, fault_of(error)))

    def _retried(self, heard: Retried) -> None:
        self._tally.retries += 1
        self._teller.progress = replace(self._teller.progress, reason=f"trying again after {heard.fault}")
        self._teller.tell(at_once=True)

    def _take(self, outcome: Outcome) -> None:
        """Add one page to the counts; see that the budget holds."""
        tally = self._tally
        self._teller.progress = replace(self._teller.progress, reason="").with_kind(
            outcome.kind,
            entries=outcome.finished,
            records=outcome.records,
            bytes=outcome.bytes,
            raw=outcome.raw,
            quarantined=outcome.refused,
        )
        tally.records += outcome.records or outcome.files
        tally.refused += outcome.refused
        tally.seconds[outcome.kind] = tally.seconds.get(outcome.kind, 0.0) + outcome.seconds
        self._check_budget()

    def _check_budget(self) -> None:
        if self._tally.refused:
            self._keep_to_budget(self._tally.refused, self._tally.records)

    def _check_held(self) -> None:
        """What earlier runs held back counts as well, or the same command would end well the second time."""
        held = sum(self._run.ledger.quarantined(self._run.migration).values())
        self._keep_to_budget(held, sum(total.records for total in self._run.ledger.totals(self._run.store_id)))

    def _keep_to_budget(self, held: int, records: int) -> None:
        if not self._run.request.manner.budget.allows(held, records):
            self._stop.set()
            raise BudgetSpent(
                f"{held} item{'s' if held > 1 else ''} went to quarantine, more than the error budget allows",
                hint=f"crossfade quarantine {self._run.migration} list",
            )

    def _settle_directories(self) -> None:
        """A file target's directories get their modes and times last, bottom up; and those that went, go."""
        if not self._run.to_files:
            return
        self._teller.step("settling directories")
        late = [task for task in self._tasks() if task.entry.type == "dir"]
        changes: list[Touch | Remove] = []
        for task in reversed(late):
            if task.verb == "remove" and task.target is not None:
                changes.append(Remove(task.target))
            elif task.source is not None:
                changes.append(Touch(task.source))
        self._apply(changes)

    def _apply(self, changes: Sequence[Touch | Remove]) -> None:
        for start in range(0, len(changes), 1000):
            self._target.apply(Page(tuple(changes[start : start + 1000])))

    # The proof

    def _prove(self) -> Result:
        self._teller.step("proving")
        since = self._run.ledger.now()
        items = [i for state in ("held", "ignored") for i in self._run.ledger.quarantine(self._run.migration, state)]
        held = {item.key for item in items if item.pos is None}
        not_read = {path for path, _ in self._tally.unreadable}
        kinds = self._run.kinds
        prover = Prover(
            self._open_question,
            self._digests,
            threads=max(self._run.request.manner.workers, 1),
            passed_over=lambda entry: self._is_outside(entry, kinds, held, not_read),
            is_proved=lambda _: False,
        )
        proof = prover.prove(*self._inventories(), told=lambda _: self._check_stop())
        self._teller.end_step()
        final = report(self._run, proof, self._tally.errors, self._tally.seconds, self._teller)
        self._judge(proof)
        final["proved_at"] = since.isoformat()
        self._run.ledger.proved(self._run.migration, since, final)
        return Result(final, unreadable=self._not_read(), head=self._head())

    def _open_question(self, source: Entry | None, target: Entry | None) -> Task | None:
        """What is still to do for a path. A stranger that may stay is none of our business."""
        task = self._run.decide(source, target)
        return None if task is not None and task.verb == "stranger" and self._run.request.manner.merge else task

    def _is_outside(self, entry: Entry, kinds: frozenset[str] | None, held: set[bytes], not_read: set[bytes]) -> bool:
        """True for what this run was not to bring: other kinds, what is in quarantine or unreadable."""
        if kinds is not None and entry.kind and entry.kind not in kinds:
            return True
        return entry.path in not_read or (bool(held) and key_of(entry.path) in held) or self._is_hidden(entry.path)

    def _digests(self, entries: Sequence[Entry]) -> list[bytes]:
        """Computed in the target; in a thread of its own, hence with a store of its own."""
        patience = Patience(self._run.request.manner.patience_seconds)
        store = Retrying(self._run.target.open(_ENGINE), patience, self._check_fault)
        try:
            return [digest for _, digest in store.digest(entries)]
        finally:
            store.close()

    def _check_fault(self, error: BaseException) -> None:
        if self._stop.is_set():
            raise error

    def _judge(self, proof: Proof) -> None:
        run = self._run
        if proof.wrong_count:
            run.ledger.note(run.migration, "differs", {"count": proof.wrong_count})
            raise ContentDiffers(
                f"{proof.wrong_count} entries do not hold the bytes of the source: {_paths(proof.wrong)}",
                hint=f"crossfade status {run.migration}   # the source is untouched",
            )
        moved = proof.moved or self._tally.moved
        if moved:
            run.ledger.note(run.migration, "moved", {"count": max(proof.moved_count, len(self._tally.moved))})
            raise SourceMoved(
                f"{max(proof.moved_count, len(self._tally.moved))} of the source's entries changed under the copy: {_paths(moved)}",
                hint="give the same command again to bring the changes over",
            )

    def _not_read(self) -> tuple[tuple[bytes, str], ...]:
        walked = self._files.passed_over if isinstance(self._files, FileStore) else []
        return tuple(dict.fromkeys([*self._tally.unreadable, *walked]))

    # Alongside

    def _holding_the_lease(self) -> Lease:
        return Lease(self._run, self._lost_lease, lambda: self._teller.progress)

    def _lost_lease(self, error: BaseException) -> None:
        self._lost = error
        self._stop.set()

    def _check_stop(self) -> None:
        if self._lost is not None:
            raise self._lost
        if self._stop.is_set():
            self._run.ledger.phase(self._run.migration, "interrupted", "interrupted", {})
            raise Interrupted("stopped; every position is recorded", hint="give the same command again to continue")

    def _head(self) -> bytes:
        return self._run.ledger.journal_head(self._run.migration)


_ENGINE = 1000
"""The engine's own number among the workers; positions are kept by worker."""


def _named(found: Sequence[Task]) -> str:
    return _paths([task.entry.path for task in found])


def _paths(paths: Sequence[bytes]) -> str:
    shown = ", ".join(text_of(path) or "(the root)" for path in paths[:3])
    return shown + (f", and {len(paths) - 3} more" if len(paths) > 3 else "")
