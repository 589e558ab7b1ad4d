"""The directions in which a migration is followed: one, or two, where some kinds were cut over by themselves."""

from __future__ import annotations

from dataclasses import replace

from crossfade.migrate.handover.standing import Standing, only_of, without
from crossfade.migrate.prepare import Run, turned


def lanes_of(run: Run) -> list[Run]:
    """*run* for all but the kinds that go the other way, and one more for those."""
    if not run.cut:
        return [run]
    other = turned(run)
    return [
        replace(run, decide=without(run.cut, run.decide)),
        replace(other, decide=only_of(run.cut, other.decide)),
    ]


def standing_as(run: Run, standing: Standing) -> Run:
    """*run* as it goes on after a hand-over."""
    now = turned(run) if standing.is_reversed != run.reversed else run
    return replace(now, cut=standing.cut)
