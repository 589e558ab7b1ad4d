"""The report at the end of a run: what a tree holds now, kind by kind, and what its validation came to."""

from __future__ import annotations

from typing import Any

from crossfade.migrate.prepare import Run
from crossfade.migrate.validate.verdict import Verdict, spoken
from crossfade.observe.progress import Progress


def with_quarantine(known: dict[str, Any], held: dict[str, int]) -> dict[str, Any]:
    """A report that still holds, but for its quarantine: items were placed or ignored since."""
    kinds = [{**kind, "quarantined": held.get(kind["kind"], 0)} for kind in known["kinds"]]
    return {**known, "kinds": kinds, "quarantined": sum(held.values())}


def report(
    run: Run, verdict: Verdict, errors: dict[str, int], seconds: dict[str, float], brought: Progress
) -> dict[str, Any]:
    """The report as a value; what ``start --once --json`` prints and the migration keeps.

    *errors* counts the entries of each kind that could not be read, *seconds* how long pages of each kind took, *brought* is
    how far copying came.
    """
    held = run.ledger.quarantined(run.migration)
    kinds = [
        {
            "kind": total.kind,
            "entries": total.entries,
            "records": total.records,
            "bytes": total.bytes,
            "raw": total.raws,
            "quarantined": held.get(total.kind, 0),
            "errors": errors.get(total.kind, 0),
            "duration_seconds": round(seconds.get(total.kind, 0.0), 3),
        }
        for total in run.ledger.totals(run.store_id)
        if run.kinds is None or total.kind in run.kinds
    ]
    return {
        "kinds": kinds,
        "entries": sum(int(str(kind["entries"])) for kind in kinds),
        "records": sum(int(str(kind["records"])) for kind in kinds),
        "bytes": sum(int(str(kind["bytes"])) for kind in kinds),
        "raw": sum(int(str(kind["raw"])) for kind in kinds),
        "quarantined": sum(held.values()),
        "errors": sum(errors.values()),
        "validation": validated(verdict),
        "brought": {
            "entries": sum(kind.entries for kind in brought.kinds.values()),
            "records": sum(kind.records for kind in brought.kinds.values()),
            "bytes": sum(kind.bytes for kind in brought.kinds.values()),
        },
        "overhead": run.governor.overhead().values(),
    }


def validated(verdict: Verdict) -> dict[str, Any]:
    """What the validation at the end of a run looked at, and what it found."""
    found = verdict.findings
    return {
        "holds": verdict.exit != 3 and not found.moved_count,
        "state": verdict.state,
        "compared": found.entries,
        "files": found.compared,
        "bytes": found.size,
        "records": sum(found.records.values()),
        "questions": verdict.questions,
        "read": list(verdict.read),
        "classes": {klass: count for klass, count in found.classes.items() if count},
        "ignored": found.ignored,
        "left_out": found.left_out,
        "differences": [spoken(difference) for difference in verdict.named],
        "source_root": found.source_root.hex(),
        "target_root": found.target_root.hex(),
        "resumed": verdict.resumed,
        "duration_seconds": round(verdict.seconds, 3),
    }
