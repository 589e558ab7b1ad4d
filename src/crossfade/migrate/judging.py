"""Why a copy did not end with a proof, in words."""

from __future__ import annotations

from collections.abc import Sequence

from crossfade.errors import AGAIN, BudgetSpent, ContentDiffers, SourceMoved
from crossfade.migrate.obstacles import named
from crossfade.migrate.prepare import Run
from crossfade.migrate.restore import way_on
from crossfade.migrate.validate.verdict import Verdict


def source_moved(count: int, paths: Sequence[bytes]) -> SourceMoved:
    """So many entries changed while they were copied, *paths* among them."""
    return SourceMoved(
        f"{count} of the source's entries changed under the copy: {named(paths, count)}",
        hint=AGAIN,
    )


def budget_spent(run: Run, held: int) -> BudgetSpent:
    """So many items of *run* went to quarantine."""
    return BudgetSpent(
        f"{held} item{'s' if held > 1 else ''} went to quarantine, more than the error budget allows",
        hint=f"crossfade quarantine {run.migration} list",
    )


def content_differs(run: Run, verdict: Verdict) -> ContentDiffers:
    """Both sides of *run* were compared."""
    paths = list(dict.fromkeys(difference.path for difference in verdict.named if difference.path))
    return ContentDiffers(
        f"the target is not what the source is: {verdict.reason}" + (f"; {named(paths)}" if paths else ""),
        hint=way_on(run),
    )
