"""The validation that every copy ends with: in the very respects of ``validate``, but what passed by is not read again.

Both sides are listed anew. Of a kind that this run brought as a whole, the source's digests, columns and answers are those that
were taken when its records passed by; they hold, because the lists say that no file was touched since. The database computes
its own from what it holds. Everything else is read.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from crossfade.migrate.prepare import Run
from crossfade.migrate.validate.crew import Crew, crew
from crossfade.migrate.validate.differences import source_moved
from crossfade.migrate.validate.measure import Measured
from crossfade.migrate.validate.parts import (
    Held,
    Lists,
    check_roots,
    compare_answers,
    held_items,
    is_much,
    task_for,
    totals_of,
)
from crossfade.migrate.validate.sides import Sides
from crossfade.migrate.validate.telling import Telling
from crossfade.migrate.validate.validator import Findings, Scope, Validator
from crossfade.migrate.validate.verdict import Options, Verdict
from crossfade.model.answers import Passed
from crossfade.model.entries import Entry
from crossfade.model.paths import key_of
from crossfade.observe.progress import Progress
from crossfade.store.layers.retrying import Patience
from crossfade.store.registry import DatabaseRecipe, MarkedRecipe

LIMIT = 100
"""Differences that the end of a copy names."""


@dataclass(frozen=True)
class Brought:
    """What a run knows at its end: by kind, what passed by of those that it brought as a whole; and the paths that it could not read."""

    passed: dict[str, Passed] = field(default_factory=dict)
    unreadable: tuple[tuple[bytes, str], ...] = ()


def sides_of(run: Run) -> Sides:
    """The two sides of a run, for comparison."""
    row = next((row for row in run.ledger.migrations() if row.migration == run.migration), None)
    request, layout = run.request, run.layout
    database = request.source if run.to_files else request.target
    asks = DatabaseRecipe(database, run.ledger.server, run.store_id, layout, run.migration)
    reads = run.target.files if isinstance(run.target, MarkedRecipe) else run.source
    return Sides(request.source, request.target, layout, run.ledger, run.store_id, run.plan.store, reads, asks, row)


def validate_run(
    run: Run, brought: Brought, *, watch: Callable[[Progress], None], check: Callable[[], None], stop: threading.Event
) -> Verdict:
    """Compare the two sides of *run*. *check* is called between batches, and may raise to end it."""
    manner = run.request.manner
    options = Options(
        jobs=max(manner.workers, 1),
        limit=LIMIT,
        patience=Patience(manner.patience_seconds),
        skip_unreadable=manner.skip_unreadable,
    )
    return _Ending(run, brought, options, watch, check, stop).run()


class _Ending:
    """One validation at the end of a run."""

    def __init__(
        self,
        run: Run,
        brought: Brought,
        options: Options,
        watch: Callable[[Progress], None],
        check: Callable[[], None],
        stop: threading.Event,
    ) -> None:
        self._run = run
        self._brought = brought
        self._options = options
        self._check = check
        self._stop = stop
        self._sides = sides_of(run)
        self._held: Held = held_items(self._sides)
        self._not_read = {path for path, _ in brought.unreadable}
        totals = totals_of(self._sides)
        self._telling = Telling(watch, totals)
        self._reads = {total.kind for total in totals} - brought.passed.keys()
        self._is_much = is_much(total for total in totals if total.kind in self._reads)

    def run(self) -> Verdict:
        """The whole of it."""
        began, findings = time.monotonic(), Findings()
        task = task_for(self._sides, self._options, self._held)
        with crew(task, self._options.jobs, apart=self._is_much) as workers:
            suspects = self._compare(workers, findings)
            if suspects and not findings.moved_count:
                self._reads |= suspects
                self._read(workers, suspects, findings)
        findings.unreadable = list(dict.fromkeys([*self._brought.unreadable, *findings.unreadable]))
        questions = 0
        if not findings.moved_count:
            questions, _ = compare_answers(self._sides, findings, self._options.limit)
            check_roots(findings, self._options.limit)
        seconds, read = time.monotonic() - began, tuple(sorted(self._reads))
        return Verdict(findings, self._options, seconds, self._run.migration, questions=questions, read=read)

    def _compare(self, workers: Crew, findings: Findings) -> set[str]:
        """Everything; the kinds that do not hold what passed by."""
        lists = Lists(self._sides, self._options)
        scope = Scope(
            self._sides.reads_source,
            self._options.limit,
            is_held=self._held.whole.__contains__,
            is_outside=lambda one, other: lists.is_outside(one, other) or self._is_left(one, other),
            has_moved=self._has_moved,
            passed=frozenset(self._brought.passed),
        )
        try:
            source = lists.source.entries(tombstones=self._run.to_files)
            target = lists.target.entries(tombstones=True)
            validator = Validator(workers, scope, is_over=self._stop.is_set)
            validator.run(source, target, findings, told=self._told)
            findings.unreadable += lists.unseen()
        finally:
            lists.close()
        findings.answers |= {kind: passed.answer for kind, passed in self._brought.passed.items()}
        return {
            kind
            for kind, passed in self._brought.passed.items()
            if (there := validator.passed.get(kind, Passed())).entries != passed.entries or there.total != passed.total
        }

    def _read(self, workers: Crew, kinds: set[str], findings: Findings) -> None:
        """Read *kinds* after all, to name what differs."""
        lists, known = Lists(self._sides, self._options), {difference.path for difference in findings.differences}
        scope = Scope(
            self._sides.reads_source,
            self._options.limit,
            is_outside=lambda one, other: (one or other).kind not in kinds or self._is_left(one, other),  # type: ignore[union-attr]
        )
        again = Findings()
        try:
            Validator(workers, scope, is_over=self._stop.is_set).run(
                lists.source.entries(), lists.target.entries(), again, told=lambda _, __: self._check()
            )
        finally:
            lists.close()
        for difference in again.differences:
            if difference.path not in known:
                findings.note(difference, self._options.limit)
        for path in again.moved:
            findings.move(path)
        findings.answers |= {kind: again.answers[kind] for kind in kinds if kind in again.answers}

    def _is_left(self, one: Entry | None, other: Entry | None) -> bool:
        """True for what could not be read, and for a stranger that may stay."""
        entry = one or other
        assert entry is not None
        if entry.path in self._not_read:
            return True
        task = self._run.decide(one, other) if one is None or one.type == "gone" else None
        return task is not None and task.verb == "stranger" and self._run.request.manner.merge

    def _has_moved(self, one: Entry | None, other: Entry | None) -> bool:
        if one is not None and key_of(one.path) in self._held.whole:
            return False
        return source_moved(self._run.decide(one, other), to_files=self._run.to_files)

    def _told(self, findings: Findings, measured: Measured) -> None:
        self._telling.took(findings, measured)
        self._check()
