"""One run of ``start --once``: survey, copy, index, prove.

The engine decides nothing about a path (``decide``) and moves no bytes (``carry``): it keeps the order, hears what the
workers report, and holds the lease. Whatever stops it, the next run finds out from the stores themselves how far it got.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from datetime import datetime
from itertools import chain, islice
from typing import Any

from crossfade.errors import AGAIN, Interrupted, WorkerDied
from crossfade.migrate.carry import Carried, Outcome
from crossfade.migrate.decide import FOREIGN, Task
from crossfade.migrate.follow.gone import Ground, check_gone, moved
from crossfade.migrate.indexing import build_indexes
from crossfade.migrate.intents import settle_intents
from crossfade.migrate.inventory import tasks
from crossfade.migrate.judging import budget_spent, content_differs, source_moved
from crossfade.migrate.lease import Lease
from crossfade.migrate.obstacles import check_applied, late, pages, survey
from crossfade.migrate.pausing import Pausing
from crossfade.migrate.prepare import Run, refuse_empty
from crossfade.migrate.report import report, with_quarantine
from crossfade.migrate.restore import check_restored, unplaced
from crossfade.migrate.shards import Shards, shared_out
from crossfade.migrate.tally import Result, Tally
from crossfade.migrate.telling import Teller
from crossfade.migrate.validate.ending import Brought, validate_run
from crossfade.migrate.validate.verdict import Verdict
from crossfade.migrate.workers import Crew, Job, Retried, Shard, Throttled, crew, fault_of
from crossfade.model.answers import Passed, merge_passed
from crossfade.model.changes import Remove, Touch
from crossfade.model.entries import Entry
from crossfade.observe.progress import Progress
from crossfade.store.backends.file.store import FileStore
from crossfade.store.backends.postgres.ledger import MigrationRow
from crossfade.store.layers.retrying import Patience, Retrying
from crossfade.store.port import Store

_LAST_WORD_SECONDS = 2.0


class Engine:
    """Runs one plan once. *watch* hears of progress; *stop* is set by whoever wants it to end after the page in hand."""

    is_followed = False
    """True where what moves under the copy is brought by the same run, later."""

    def __init__(self, run: Run, *, watch: Callable[[Progress], None], stop: threading.Event) -> None:
        self._run = run
        self._teller = Teller(watch, run.scribe)
        self._stop = stop
        self._pausing = Pausing(run, self._teller, stop)
        self._tally = Tally()
        self._lost: BaseException | None = None
        self._held_before: frozenset[str] = frozenset()
        self._is_idle = False
        self._has_moved: bool | None = None
        self._since: datetime | None = None
        self.different: Result | None = None
        self.wanted: dict[str, Any] = {}
        patience = Patience(run.request.manner.patience_seconds)
        for ledger in filter(None, (run.ledger, run.origin)):
            ledger.patience_seconds = patience.deadline_seconds
        self._unplaced = unplaced(run)
        self._ground = Ground(run)
        self._files = run.source.open(ENGINE)
        self._source: Store = Retrying(self._files, patience, self._waiting)
        self._target: Store = Retrying(run.target.open(ENGINE), patience, self._waiting)

    def once(self) -> Result:
        """Copy what is new, prove it, report."""
        with self._holding_the_lease():
            try:
                return self._once()
            finally:
                self._source.close()
                self._target.close()

    def _once(self) -> Result:
        self._since = self._run.origin.now() if self._run.origin is not None else None
        in_the_way = self._survey()
        before = self._run.before
        is_filled = self._run.from_files and before is not None
        refuse_empty(self._run.request, self._run.source, "--allow-removals" if is_filled else "--allow-empty")
        check_restored(self._run, self._every_task)
        self._apply(in_the_way)
        ahead = iter(()) if self._is_idle else self._ahead()
        first = next(ahead, None)
        self._held_before = frozenset(total.kind for total in self._run.ledger.totals(self._run.store_id))
        if first is None and not self._has_moved and before is not None and before.report and self._is_proven(before):
            known = with_quarantine(before.report, self._run.ledger.quarantined(self._run.migration))
            self._run.ledger.note(self._run.migration, "already there", {"proved_at": before.proved_at})
            return Result(known, already=before.proved_at, unreadable=self._not_read(), head=self.head())
        self._copy(chain([first] if first else [], ahead))
        self._settle_directories()
        self._check_stop()
        self._ground.check()
        self._ground.note()
        self._check_held()
        if not self._run.to_files:
            self._teller.step("building indexes")
            build_indexes(self._run)
        return self._prove()

    def _is_proven(self, before: MigrationRow) -> bool:
        """True where an earlier proof still holds, and nobody asked for another."""
        return before.phase == "copied" and before.proved_at is not None and not self._run.request.manner.certificate

    # Before the first byte

    def _survey(self) -> Iterable[Touch | Remove]:
        """For a directory as target: refuse what is not ours to write; find what is in the way. Nothing is, where it is empty."""
        if not self._run.to_files:
            return ()
        self._run.ledger.forget_gone(self._run.migration)
        settle_intents(self._run, self._source, self._target)
        if len(list(islice(self._target.entries(), 2))) < 2:
            return ()
        in_the_way, self._is_idle = survey(
            map(self._meant, self._every_task()),
            self._run.request.target.url,
            strangers_may_stay=self._run.keeps_strangers or self._run.request.manner.delete_extra,
        )
        return in_the_way

    # The work

    def _every_task(self) -> Iterator[Task]:
        """All that differs, in key order, tombstones included."""
        return tasks(*self._inventories(), self._run.decide, self._run.kinds)

    def _inventories(self) -> tuple[Iterator[Entry], Iterator[Entry]]:
        """Both sides. A database shows its tombstones to a target of files; as a target, it needs to know its own."""
        return self._source.entries(tombstones=self._run.to_files), self._target.entries(tombstones=True)

    def _tasks(self) -> Iterator[Task]:
        """What this run does."""
        return self._to_do(self._every_task())

    def _to_do(self, found: Iterator[Task]) -> Iterator[Task]:
        """Strangers only where it may delete them, conflicts never."""
        for task in map(self._meant, found):
            if task.verb not in FOREIGN and not (task.verb == "remove" and self._is_hidden(task.entry.path)):
                yield task

    def _meant(self, task: Task) -> Task:
        """A stranger goes where it may be deleted."""
        may = task.verb == "stranger" and self._run.request.manner.delete_extra
        return Task("remove", task.source, task.target) if may else task

    def _is_hidden(self, path: bytes) -> bool:
        """True below a directory that could not be read, and for what never came to stand there: it is not gone."""
        return path in self._unplaced or (isinstance(self._files, FileStore) and self._files.hides(path))

    def _ahead(self) -> Iterator[Task]:
        """The same, once what moved is where it went. Raises Removed before the first, where too much of the files is gone."""
        ahead = self._tasks()
        first = next(ahead, None)
        if first is not None and self._move():
            ahead = self._tasks()
            first = next(ahead, None)
        self._ground.note()
        return chain([first] if first is not None else [], ahead)

    def _move(self) -> bool:
        """Have the entries of files that moved go where they went, once in a run; True where some did. Then it shows what is gone."""
        run = self._run
        if self._has_moved is None:
            self._has_moved = False
            if run.from_files and next(self._target.entries(), None) is not None:
                self._has_moved, census = moved(run, self._source, self._target, self._inventories, self._is_hidden)
                check_gone(run, census, self._ground.footing)
        return self._has_moved

    def _copy(self, work: Iterator[Task]) -> None:
        run, manner = self._run, self._run.request.manner
        run.ledger.phase(run.migration, run.phases.busy, run.phases.busy, {"workers": manner.workers})
        self._teller.step("copying")
        job = Job(
            run.source,
            run.target,
            manner.limits,
            Patience(manner.patience_seconds),
            manner.skip_unreadable,
        )
        shards = Shards(shared_out(self._ground.under(work), self._teller, directories=not run.to_files))
        with crew(job, 1 if shards.is_small() else manner.workers, run.governor.gate) as workers:
            self._work_off(workers, shards)
        self._check_stop()

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
            if self._run.governor.gate.is_still:
                self._pausing.keep(self._teller.tell)
            for future in [future for future in pending if future.done()]:
                self._collect(future, pending.pop(future))
        while self._tally.untold > 0 and self._hear(workers, _LAST_WORD_SECONDS):
            pass  # what a worker did may come later than that it did it

    def _collect(self, future: Future[Carried], shard: Shard) -> None:
        try:
            carried = future.result()
        except BrokenProcessPool:
            self._stop.set()
            raise WorkerDied(
                "a worker process died", hint="look for the out-of-memory killer, then repeat the command"
            ) from None
        self._tally.untold += carried.pages
        self._tally.moved += carried.moved[: _NAMED - len(self._tally.moved)]
        self._tally.moved_count += len(carried.moved)
        self._tally.unreadable += carried.unreadable
        self._tally.errors[shard.kind] += len(carried.unreadable)
        merge_passed(self._tally.passed, carried.passed)

    def _hear(self, workers: Crew, seconds: float) -> int:
        """Take what workers report, waiting so long for the first; how many there were."""
        self._run.governor.look()
        told = list(workers.reports(seconds))
        for heard in told:
            if isinstance(heard, Retried):
                self._retried(heard)
            elif isinstance(heard, Throttled):
                self._teller.throttled(heard.reason, heard.seconds)
            else:
                self._take(heard)
        self._teller.tell()
        return len(told)

    def _waiting(self, error: BaseException) -> None:
        """The engine's own look at a store failed, and will be repeated."""
        if self._stop.is_set():
            raise error
        self._retried(Retried(ENGINE, fault_of(error)))

    def _retried(self, heard: Retried) -> None:
        self._teller.retried(heard.fault)

    def _take(self, outcome: Outcome) -> None:
        """Add one page to the counts; see that the budget holds."""
        self._count(outcome)
        if self._tally.refused:
            self._keep_to_budget(self._tally.refused, self._tally.records)

    def _count(self, outcome: Outcome) -> None:
        tally = self._tally
        tally.untold -= 1
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
        self._teller.quarantined(outcome.kind, outcome.refused)
        tally.seconds[outcome.kind] = tally.seconds.get(outcome.kind, 0.0) + outcome.seconds

    def _check_held(self) -> None:
        """What earlier runs held back counts as well, or the same command would end well the second time."""
        self._keep_to_held(self._run)

    def _keep_to_held(self, run: Run) -> None:
        """See that the budget holds for what is held now. The records are counted where a share of them decides."""
        books, store_id = run.books
        held = sum(books.quarantined(run.migration).values())
        if not run.request.manner.budget.allows(held, 0):
            self._keep_to_budget(held, sum(total.records for total in books.totals(store_id)))

    def _keep_to_budget(self, held: int, records: int) -> None:
        if not self._run.request.manner.budget.allows(held, records):
            self._stop.set()
            raise budget_spent(self._run, held)

    def _settle_directories(self) -> None:
        """A file target's directories get their modes and times last, bottom up; and those that went, go."""
        if not self._run.to_files:
            return
        self._teller.step("settling directories")
        both = self._source.entries(tombstones=True, directories=True), self._target.entries(directories=True)
        self._apply(late(self._to_do(tasks(*both, self._run.decide, self._run.kinds))))

    def _apply(self, changes: Iterable[Touch | Remove]) -> None:
        for page in pages(changes):
            self._pausing.keep(self._teller.tell)
            check_applied(self._target.apply(page))

    # The proof

    def _prove(self) -> Result:
        """Compare both sides in every respect. Raises ContentDiffers, after ``different`` was set, and SourceMoved."""
        brought = self._teller.progress
        self._teller.end_step()
        since = self._run.ledger.now()
        known = Brought(self._passed(), self._not_read(), self.is_followed, self._since)
        verdict = validate_run(self._run, known, watch=self._teller.show, check=self._breathe, stop=self._stop)
        self._teller.end_step()
        final = report(self._run, verdict, self._tally.errors, self._tally.seconds, brought)
        throttle = {"active": False, "reason": "", "seconds_total": self._teller.progress.throttled_seconds}
        final |= {"throttle": throttle, "steps": self._teller.steps, "duration_seconds": round(self._teller.seconds, 3)}
        self._judge(verdict, final)
        since = verdict.holds_from(since)
        final["proved_at"] = since.isoformat()
        self._run.ledger.proved(self._run.migration, since, final)
        return Result(final, unreadable=tuple(verdict.findings.unreadable), head=self.head(), verdict=verdict)

    def _passed(self) -> dict[str, Passed]:
        """By kind, what passed by of those that a database did not hold before."""
        return {k: p for k, p in self._tally.passed.items() if p is not None and k not in self._held_before}

    def _judge(self, verdict: Verdict, final: dict[str, Any]) -> None:
        self._refuse_moved(verdict)
        self._refuse_different(verdict, final)

    def _refuse_moved(self, verdict: Verdict) -> None:
        if count := self._note_moved(verdict):
            raise source_moved(count, verdict.findings.moved or self._tally.moved)

    def _note_moved(self, verdict: Verdict) -> int:
        """How many of the source's entries changed under the copy, once that is in the journal."""
        run, count = self._run, max(verdict.findings.moved_count, self._tally.moved_count)
        if count:
            run.ledger.note(run.migration, "moved", {"count": count})
        return count

    def _refuse_different(self, verdict: Verdict, final: dict[str, Any]) -> None:
        run = self._run
        if verdict.exit == 3:
            run.ledger.phase(run.migration, run.phases.wrong, "differs", {"classes": final["validation"]["classes"]})
            self.different = Result(final, unreadable=self._not_read(), head=self.head(), verdict=verdict)
            raise content_differs(run, verdict)

    def _not_read(self) -> tuple[tuple[bytes, str], ...]:
        walked = self._files.passed_over if isinstance(self._files, FileStore) else []
        return tuple(dict.fromkeys([*self._tally.unreadable, *walked]))

    # Alongside

    def _holding_the_lease(self) -> Lease:
        return Lease(self._run, self._teller, self._lost_lease, self._heed)

    def _heed(self, wanted: dict[str, Any]) -> None:
        """Keep to what is wished, from the lease's own thread."""
        self.wanted = wanted
        self._run.governor.hear(wanted)
        self._pausing.hear(wanted)

    def _lost_lease(self, error: BaseException) -> None:
        self._lost = error
        self._stop.set()

    def _breathe(self) -> None:
        """Rest where the work has cost its part, and stop where somebody says so."""
        self._pausing.keep(self._teller.tell)
        self._run.governor.turn(stop=self._stop.is_set, tell=self._teller.paused)
        self._check_stop()

    def _check_stop(self) -> None:
        if self._lost is not None:
            raise self._lost
        if self._stop.is_set():
            self._leave("interrupted")
            raise Interrupted("stopped; every position is recorded", hint=AGAIN)

    def _leave(self, event: str, reason: str = "") -> None:
        """Nobody runs it from now on; what the run has cost is told. A pause outlives its runner."""
        run, cost = self._run, {"overhead": self._run.governor.overhead().values()}
        run.ledger.phase(run.migration, run.phases.left(paused=self._pausing.is_wanted), event, cost, reason)

    def head(self) -> bytes:
        """The journal's, once everything that was told stands there."""
        self._run.scribe.flush()
        return self._run.ledger.journal_head(self._run.migration)


ENGINE = 1000
"""The engine's own number among the workers; positions are kept by worker."""

_NAMED = 3
