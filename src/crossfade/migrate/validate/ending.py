"""The validation that every copy ends with: in the very respects of ``validate``, but what passed by is not read again.

Both sides are listed anew. Of a kind that this run brought as a whole, the source's digests, columns and answers are those that
were taken when its records passed by; they hold, because the lists say that no file was touched since. The database computes
its own from what it holds. Everything else is read; where nothing passed by, because an earlier run brought it all and was stopped
in its validation, that one is gone on with.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from crossfade.migrate.inventory import merge
from crossfade.migrate.prepare import Run, number_of
from crossfade.migrate.validate.crew import Crew, crew
from crossfade.migrate.validate.differences import source_moved
from crossfade.migrate.validate.measure import Measured
from crossfade.migrate.validate.memory import Memory
from crossfade.migrate.validate.parts import (
    Held,
    Lists,
    check_roots,
    compare_answers,
    held_items,
    is_much,
    is_stranger,
    kinds_of,
    task_for,
    totals_of,
)
from crossfade.migrate.validate.sides import Sides
from crossfade.migrate.validate.telling import Telling
from crossfade.migrate.validate.validator import LASTING, Findings, Scope, Validator
from crossfade.migrate.validate.verdict import Options, Verdict
from crossfade.model.answers import Passed
from crossfade.model.entries import Entry
from crossfade.model.paths import key_of
from crossfade.observe.progress import Progress
from crossfade.store.backends.postgres import proofs
from crossfade.store.layers.retrying import Patience
from crossfade.store.registry import DatabaseRecipe, MarkedRecipe

LIMIT = 100
"""Differences that the end of a copy names."""


@dataclass(frozen=True)
class Brought:
    """What a run knows at its end: by kind, what passed by of those that it brought as a whole; and the paths that it could not read.

    ``is_followed`` says that what moved under the copy is brought, and verified, later: then all else is proven nevertheless.
    ``since`` is when it began, by the clock of the source, if that is a database, and before its list was made.
    """

    passed: dict[str, Passed] = field(default_factory=dict)
    unreadable: tuple[tuple[bytes, str], ...] = ()
    is_followed: bool = False
    since: datetime | None = None


def sides_of(run: Run) -> Sides:
    """The two sides of a run, for comparison."""
    row = next((row for row in run.ledger.migrations() if row.migration == run.migration), None)
    request, layout = run.request, run.layout
    database = request.source if run.to_files else request.target
    asks = DatabaseRecipe(database, run.ledger.server, run.store_id, layout, run.migration)
    reads = run.target.files if isinstance(run.target, MarkedRecipe) else run.source
    return Sides(
        request.source, request.target, layout, run.ledger, run.store_id, run.plan.store, reads, asks, run.ledger, row
    )


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
        words = f"the end of a copy {LIMIT} {options.skip_unreadable}"
        self._memory = None if brought.passed else Memory(self._sides, words, self._held.digest)
        self._resumed = False

    def run(self) -> Verdict:
        """The whole of it; and again, where a kind does not hold what passed by: then it is read, to name what differs."""
        try:
            verdict = self._run_whole()
            if self._memory is not None:
                self._memory.forget()
            return verdict
        finally:
            if self._memory is not None:
                self._memory.close()

    def _run_whole(self) -> Verdict:
        began, since, passed = time.monotonic(), self._sides.asked.now(), dict(self._brought.passed)
        task = task_for(self._sides, self._options, self._held)
        with crew(task, self._options.jobs, apart=self._is_much) as workers:
            findings, suspects = self._compare(workers, passed)
            while suspects and self._is_worth_it(findings):
                self._reads |= suspects
                passed = {kind: seen for kind, seen in passed.items() if kind not in suspects}
                findings, suspects = self._compare(workers, passed)
        self._take_moved(findings)
        findings.read_not(self._brought.unreadable, LIMIT, lambda path: self._run.layout.place(path).kind.name)
        questions, unasked = 0, dict[str, str]()
        if self._is_worth_it(findings):
            changed = partial(self._changed_kinds, findings, passed, since)
            questions, unasked = compare_answers(self._sides, findings, self._options.limit, changed)
        if not findings.moved_count:
            check_roots(findings, self._options.limit)
        return Verdict(
            findings,
            self._options,
            time.monotonic() - began,
            self._run.migration,
            self._resumed,
            questions=questions,
            unasked=unasked,
            read=tuple(sorted(self._reads)),
            basis=self._memory.basis if self._memory is not None else None,
        )

    def _compare(self, workers: Crew, passed: dict[str, Passed]) -> tuple[Findings, set[str]]:
        """Everything, without reading what *passed* by; and the kinds that do not hold it."""
        findings, lists = self._recalled(), Lists(self._sides, self._options)
        scope = Scope(
            self._sides.reads_source,
            self._options.limit,
            held=self._held.whole.get,
            is_outside=partial(self._is_outside, lists),
            has_moved=self._has_moved,
            passed=frozenset(passed),
            is_remembered=self._memory is not None,
        )
        validator = Validator(workers, scope, is_over=self._stop.is_set)
        try:
            validator.run(*self._listed(lists, findings.after), findings, told=self._told)
            findings.see_not(lists.unseen(), self._not_read)
            findings.left_out = lists.left_out()
        finally:
            lists.close()
        findings.answers |= {kind: seen.answer for kind, seen in passed.items()}
        there = {kind: validator.passed.get(kind, Passed()) for kind in passed}
        wrong = {k for k, seen in passed.items() if (there[k].entries, there[k].total) != (seen.entries, seen.total)}
        return findings, wrong

    def _recalled(self) -> Findings:
        """What an earlier run had compared at its end, as far as nothing has changed since."""
        if self._memory is None:
            return Findings()
        lists = Lists(self._sides, self._options)  # of its own: a list is read as far as that goes, and no further
        try:
            both = merge(*self._listed(lists, None))
            findings = self._memory.recall(pair for pair in both if not self._is_outside(lists, *pair))
        finally:
            lists.close()
        self._memory.begin()
        self._resumed = findings.after is not None
        return findings

    def _listed(self, lists: Lists, after: bytes | None) -> tuple[Iterator[Entry], Iterator[Entry]]:
        source = lists.source.entries(after=after, tombstones=self._run.to_files)
        return source, lists.target.entries(after=after, tombstones=True)

    def _is_outside(self, lists: Lists, one: Entry | None, other: Entry | None) -> bool:
        return lists.is_outside(one, other) or self._is_left(one, other)

    def _is_worth_it(self, findings: Findings) -> bool:
        """False where what moved under the copy is all that anybody will hear of."""
        return self._brought.is_followed or not findings.moved_count

    def _take_moved(self, findings: Findings) -> None:
        """What changed in the source between the list and the look does not differ: it moved."""
        suspects = sorted({found.path for found in findings.differences if found.klass not in LASTING})
        moved = self._moved_among(suspects) if suspects else set()
        findings.take(moved)
        for path in sorted(moved.difference(findings.moved)):
            findings.move(path)

    def _moved_among(self, suspects: list[bytes]) -> set[bytes]:
        """Those that are not what was brought any more. Between databases there are no marks: the source says when it changed them."""
        run = self._run
        if run.origin is not None:
            origin, store_id, since = run.origin, number_of(run.source), self._brought.since
            return origin.ask(lambda c: proofs.changed_among(c, origin.schema, store_id, suspects, since))
        lists = Lists(self._sides, self._options)
        try:
            ones, others = ({entry.path: entry for entry in store.look(suspects)} for store in (lists.source, lists.target))
        finally:
            lists.close()
        return {path for path in suspects if self._has_moved(ones.get(path), others.get(path))}

    def _changed_kinds(self, findings: Findings, passed: dict[str, Passed], since: datetime) -> set[str]:
        """The kinds of which the database, or what was read, is by now ahead of the other. Of what passed by nothing else is asked."""
        if not self._sides.reads_source:
            return set(self._sides.changed_kinds(since))
        if findings.moved_count > len(findings.moved):
            return {kind.name for kind in kinds_of(self._sides)} - passed.keys()
        return {self._run.layout.place(path).kind.name for path in findings.moved} - passed.keys()

    def _is_left(self, one: Entry | None, other: Entry | None) -> bool:
        """True for what could not be read, and for a stranger that may stay."""
        entry = one or other
        assert entry is not None
        if entry.path in self._not_read:
            return True
        return self._run.keeps_strangers and is_stranger(one, other)

    def _has_moved(self, one: Entry | None, other: Entry | None) -> bool:
        if self._run.origin is not None:
            return False
        if one is not None and key_of(one.path) in self._held.whole:
            return False
        return source_moved(self._run.decide(one, other), to_files=self._run.to_files)

    def _told(self, findings: Findings, measured: Measured) -> None:
        self._telling.took(findings, measured)
        if self._memory is not None:
            self._memory.keep(findings, at_once=self._stop.is_set())
        self._check()
