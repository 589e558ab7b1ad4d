"""Telling how far a validation is: the same value that a copy shows, filled from findings."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from crossfade.migrate.validate.measure import Measured
from crossfade.migrate.validate.validator import Findings
from crossfade.observe.progress import KindProgress, Progress
from crossfade.store.backends.postgres.ledger import KindTotals

STEP = "validating"
_SECONDS = 0.5


class Telling:
    """Hands progress to *watch*, now and then. *totals* is what there is to compare, as the database counts it."""

    def __init__(self, watch: Callable[[Progress], None], totals: Sequence[KindTotals]) -> None:
        self._watch = watch
        self._began = time.monotonic()
        self._told = 0.0
        self._samples: list[tuple[float, int]] = []
        kinds = {t.kind: KindProgress(entries_total=t.entries, bytes_total=t.bytes) for t in totals}
        self._progress = Progress(step=STEP, kinds=kinds, counted=True)
        self._watch(self._progress)

    def took(self, findings: Findings, measured: Measured) -> None:
        """A batch was compared."""
        now = time.monotonic()
        if now - self._told < _SECONDS and not measured.faults:
            return
        self._told = now
        kinds = dict(self._progress.kinds)
        for name, count in findings.kinds.items():
            kinds[name] = replace(
                kinds.get(name, KindProgress()),
                entries=count,
                records=findings.records.get(name, 0),
                bytes=findings.sizes.get(name, 0),
            )
        reason = f"trying again after {measured.faults[-1]}" if measured.faults else ""
        self._progress = replace(self._progress, kinds=kinds, reason=reason, seconds=now - self._began)
        self._progress = replace(self._progress, rate_bytes=self._rate(now))
        self._watch(self._progress)

    def _rate(self, now: float) -> float | None:
        self._samples = [*self._samples[-19:], (now, self._progress.bytes)]
        then, before = self._samples[0]
        return (self._progress.bytes - before) / (now - then) if now - then > 1 else None
