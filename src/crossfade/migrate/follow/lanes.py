"""The directions in which a migration is followed: one, or two, where some kinds were cut over by themselves."""

from __future__ import annotations

from dataclasses import replace

from crossfade.migrate.decide import beside_database, beside_files
from crossfade.migrate.handover.standing import Standing, only_of, without
from crossfade.migrate.prepare import Run, turned


def lanes_of(run: Run) -> list[Run]:
    """*run* for all but the kinds that go the other way, and one more for those."""
    run = beside(run)
    if not run.cut:
        return [run]
    other = beside(turned(run))
    rest = (run.kinds or frozenset(kind.name for kind in run.layout.kinds)) - run.cut
    return [
        replace(run, kinds=rest, decide=without(run.cut, run.decide)),
        replace(other, kinds=run.cut, decide=only_of(run.cut, other.decide)),
    ]


def beside(run: Run) -> Run:
    """*run*, once all is there: what others do to the target is not undone by itself."""
    if run.to_files:
        return replace(run, decide=beside_files)
    return replace(run, decide=beside_database) if run.from_files else run


def kinds_of(run: Run) -> frozenset[str] | None:
    """What *run*, one of the lanes, is about; None for all. Directories and links, of the kind "", belong to the main one."""
    if run.kinds is None or run.kinds == run.cut:
        return run.kinds
    return run.kinds | {""}


def has(run: Run, kind: str) -> bool:
    """True where *run*, one of the lanes, is about *kind*."""
    kinds = kinds_of(run)
    return kinds is None or kind in kinds


def entries_of(run: Run) -> int:
    """How many files the target holds of what *run*, one of the lanes, is about."""
    return sum(total.entries for total in run.ledger.totals(run.store_id) if has(run, total.kind))


def standing_as(run: Run, standing: Standing) -> Run:
    """*run* as it goes on after a hand-over."""
    now = turned(run) if standing.is_reversed != run.reversed else run
    return replace(now, cut=standing.cut)
