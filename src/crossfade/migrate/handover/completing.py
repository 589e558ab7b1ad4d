"""What a crash may leave of a hand-over, found by comparing the marker beside the files with the route in the database."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import cast

from crossfade.migrate.handover.order import WISH, ordered
from crossfade.migrate.handover.twin import Twin, twin_in, twin_of
from crossfade.migrate.prepare import Run
from crossfade.store.backends.file.gate import Marker
from crossfade.store.backends.postgres import direction, journal
from crossfade.store.backends.postgres.journal import Line
from crossfade.store.backends.postgres.ledger import Ledger, MigrationRow
from crossfade.store.backends.postgres.server import Connection

_WAIT_SECONDS = 10.0


@dataclass(frozen=True)
class Leftover:
    """One thing that a crash left, and what ends it."""

    name: str
    sentence: str
    cure: str


def leftovers(ledger: Ledger, row: MigrationRow) -> list[Leftover]:
    """What is left of *row*'s hand-overs, to complete or to take back."""
    twin = twin_in(ledger, row)
    return (
        [] if twin is None else [*_marker_left(twin, is_reversed=row.reversed or bool(row.cut)), *_order_left(ledger, row)]
    )


def complete(run: Run) -> list[Leftover]:
    """End what was left, as the migration's runner; what that was. Safe to repeat."""
    row = next(row for row in run.ledger.migrations() if row.migration == run.migration)
    found = leftovers(run.ledger, row)
    for leftover in found:
        _CURES[leftover.name](run)
        run.ledger.note(run.migration, "completed", {"what": leftover.name}, leftover.sentence)
    return found


def _marker_left(twin: Twin, *, is_reversed: bool) -> list[Leftover]:
    marker, route = twin.gate.read(), twin.marker()
    if marker is None and not (is_reversed and os.path.isdir(twin.root)):  # from another host nothing is seen of the files
        return []
    if marker is not None and (dict(marker.authority), marker.epoch) == (dict(route.authority), route.epoch):
        return []
    said = "is missing" if marker is None else f"says {_spoken(marker)}"
    sentence = f"the marker beside the files {said}; the route says {_spoken(route)}"
    return [Leftover("marker", sentence, "write the marker anew")]


def _spoken(marker: Marker) -> str:
    sides = ", ".join(f"{kind or 'all'}: {side}" for kind, side in sorted(marker.authority.items()))
    return f"{sides}, epoch {marker.epoch}"


def _order_left(ledger: Ledger, row: MigrationRow) -> list[Leftover]:
    order = ordered(ledger.wishes(row.migration))
    if order is None:
        return []
    return [Leftover("order", f"a {order.verb} was asked for, and its runner ended before the decision", "forget it")]


def _mend_marker(run: Run) -> None:
    twin = cast("Twin", twin_of(run))
    with twin.gate.closed(_WAIT_SECONDS):
        twin.gate.write(twin.marker())


def _forget_order(run: Run) -> None:
    order = ordered(run.ledger.wishes(run.migration))
    number = order.number if order else ""
    refuse(run.ledger, run.migration, Line("hand-over refused", {"order": number}, "its runner ended before the decision"))


def refuse(ledger: Ledger, migration: str, line: Line) -> None:
    """Forget what was wished, with the line that says why."""

    def work(connection: Connection) -> None:
        direction.forget_wish(connection, ledger.schema, migration, WISH)
        journal.append(connection, ledger.schema, migration, line)

    ledger.change(work)


_CURES = {"marker": _mend_marker, "order": _forget_order}
