"""The report at the end of a run: what a tree holds now, kind by kind, and the roots of both sides."""

from __future__ import annotations

from typing import Any

from crossfade.migrate.prepare import Run
from crossfade.migrate.proof import Proof
from crossfade.migrate.telling import Teller

SCHEMA_VERSION = 1


def with_quarantine(known: dict[str, Any], held: dict[str, int]) -> dict[str, Any]:
    """A report that still holds, but for its quarantine: items were placed or ignored since."""
    kinds = [{**kind, "quarantined": held.get(kind["kind"], 0)} for kind in known["kinds"]]
    return {**known, "kinds": kinds, "quarantined": sum(held.values())}


def report(run: Run, proof: Proof, errors: dict[str, int], seconds: dict[str, float], teller: Teller) -> dict[str, Any]:
    """The report as a value; what ``start --once --json`` prints and the migration keeps.

    *errors* counts the entries of each kind that could not be read, *seconds* how long pages of each kind took, *teller* how long each step.
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
        "validation": {
            "holds": proof.holds,
            "compared": proof.compared,
            "source_root": proof.source_root,
            "target_root": proof.target_root,
        },
        "brought": {
            "entries": sum(kind.entries for kind in teller.progress.kinds.values()),
            "records": sum(kind.records for kind in teller.progress.kinds.values()),
            "bytes": sum(kind.bytes for kind in teller.progress.kinds.values()),
        },
        "throttle": {"active": False, "reason": "", "seconds_total": teller.progress.throttled_seconds},
        "steps": teller.steps,
        "duration_seconds": round(teller.seconds, 3),
    }
