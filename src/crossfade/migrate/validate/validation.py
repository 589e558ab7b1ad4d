"""``validate``: two stores compared in every respect, from the lists to the questions; resumable, and patient with what is alive."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from crossfade.errors import AGAIN, Interrupted
from crossfade.migrate.inventory import merge
from crossfade.migrate.validate.crew import crew
from crossfade.migrate.validate.looks import Seen, look_again
from crossfade.migrate.validate.measure import Measured
from crossfade.migrate.validate.memory import Memory
from crossfade.migrate.validate.parts import (
    Held,
    Lists,
    check_roots,
    compare_answers,
    find_strays,
    held_items,
    is_much,
    task_for,
    totals_of,
)
from crossfade.migrate.validate.sides import Sides
from crossfade.migrate.validate.telling import Telling
from crossfade.migrate.validate.validator import Findings, Scope, Validator
from crossfade.migrate.validate.verdict import Options, Verdict
from crossfade.observe.progress import Progress

_ANEW = 3
"""How often all is compared again, where more differed on the way than anybody could look at once more."""


def validate(sides: Sides, options: Options, *, watch: Callable[[Progress], None], stop: threading.Event) -> Verdict:
    """Compare *sides*. Raises Interrupted, with what was found so far kept for the next time."""
    for ledger in (sides.ledger, sides.asked):
        ledger.patience_seconds = options.patience.deadline_seconds
    held = held_items(sides)
    words = f"{options.extent.percentage} {options.extent.seed} {options.limit} {options.skip_unreadable}"
    memory = Memory(sides, words, held.digest)
    try:
        return _Validation(sides, options, held, memory, watch, stop).run()
    finally:
        memory.close()


class _Validation:
    """One validation, from its beginning or from where an earlier one stopped."""

    def __init__(
        self,
        sides: Sides,
        options: Options,
        held: Held,
        memory: Memory,
        watch: Callable[[Progress], None],
        stop: threading.Event,
    ) -> None:
        self._sides = sides
        self._options = options
        self._stop = stop
        self._held = held
        self._memory = memory
        totals = totals_of(sides)
        self._telling = Telling(watch, totals)
        self._is_much = is_much(totals)

    def run(self) -> Verdict:
        """The whole of it."""
        began, since = time.monotonic(), self._sides.asked.now()
        findings = self._recall()
        resumed = findings.after is not None
        seen = self._compare(findings)
        for _ in range(_ANEW):
            if not findings.is_cut_short or not self._sides.is_alive() or self._stop.is_set():
                break
            self._memory.forget()
            findings, resumed = Findings(), False
            seen = self._compare(findings)
        verdict = Verdict(findings, self._options, 0.0, self._sides.name, resumed, basis=self._memory.basis)
        if self._options.extent.is_whole:
            verdict = self._ask(verdict, seen, since)
        else:
            find_strays(self._sides, findings, self._options.limit)  # no sample has what belongs to no entry
        self._memory.forget()
        shaken = bool(seen.equal or seen.moving)
        return replace(verdict, seconds=time.monotonic() - began, moving=tuple(seen.moving), shaken=shaken)

    def _recall(self) -> Findings:
        lists = Lists(self._sides, self._options)
        try:
            return self._memory.recall(pair for pair in merge(*lists.both()) if not lists.is_outside(*pair))
        finally:
            lists.close()

    def _compare(self, findings: Findings) -> Seen:
        sides, options = self._sides, self._options
        self._memory.begin()
        lists = Lists(sides, options)
        scope = Scope(
            sides.reads_source,
            options.limit,
            options.extent,
            held=self._held.whole.get,
            is_outside=lists.is_outside,
            is_remembered=True,
        )
        try:
            with crew(task_for(sides, options, self._held), options.jobs, apart=self._is_much) as workers:
                one, other = lists.both(findings.after)
                Validator(workers, scope, is_over=self._stop.is_set).run(one, other, findings, told=self._told)
                findings.see_not(lists.unseen())
                findings.left_out = lists.left_out()
                seen = look_again(sides, workers, findings, options.limit, patience=options.patience, stop=self._stop)
        finally:
            lists.close()
        self._heed(findings)  # or what was to be looked at again would count as a difference
        return seen

    def _told(self, findings: Findings, measured: Measured) -> None:
        self._telling.took(findings, measured)
        self._memory.keep(findings)
        self._heed(findings)

    def _heed(self, findings: Findings) -> None:
        if self._stop.is_set():
            self._memory.keep(findings, at_once=True)
            raise Interrupted("stopped; what was compared is remembered", hint=f"{AGAIN} {self._options.again}".rstrip())

    def _ask(self, verdict: Verdict, seen: Seen, since: datetime) -> Verdict:
        sides, findings = self._sides, verdict.findings

        def changed() -> frozenset[str]:
            return sides.changed_kinds(since) if seen.equal or seen.moving or sides.is_alive() else frozenset()

        questions, unasked = compare_answers(sides, findings, self._options.limit, changed)
        if not (seen.equal or seen.moving):
            check_roots(findings, self._options.limit)
        return replace(verdict, questions=questions, unasked=unasked)
