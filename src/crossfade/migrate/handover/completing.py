"""What a crash may leave of a hand-over, found by comparing the marker beside the files with the route in the database."""

from __future__ import annotations

import os
from contextlib import nullcontext
from dataclasses import dataclass
from typing import cast

from crossfade.errors import Fenced
from crossfade.migrate.handover.order import WISH, Order, ordered
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


def clear_up(run: Run) -> None:
    """Have the marker name a side again, where a fault that has passed since kept this runner from it."""
    twin = twin_of(run)
    marker = None if twin is None else twin.gate.read()
    if twin is None or marker is None or marker.migration != run.migration:
        return
    if "undecided" not in marker.authority.values():
        return
    twin.gate.write(twin.marker())
    run.ledger.note(run.migration, "completed", {"what": "marker"}, "the marker beside the files said undecided")


def _marker_left(twin: Twin, *, is_reversed: bool) -> list[Leftover]:
    marker, route = twin.gate.read(), twin.marker()
    if marker is None and not (is_reversed and os.path.isdir(twin.root)):  # from another host nothing is seen of the files
        return []
    if marker is not None and not marker.is_of_tree(route):
        return []  # it is for that one's runner to say who decides
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
    """Write what the route says. Not one later than this runner can have written what is there, unless of another history."""
    twin = cast("Twin", twin_of(run))
    there = twin.gate.read()
    _check_lease(run)
    is_asked = there is not None and "undecided" in there.authority.values()
    with nullcontext() if is_asked else twin.gate.closed(_WAIT_SECONDS):
        twin.gate.write(twin.marker(), instead_of=there)


def _check_lease(run: Run) -> None:
    if not run.ledger.ask(lambda c: direction.runs_as(c, run.ledger.schema, run.migration, run.epoch)):
        raise Fenced("another runner took this migration over", hint=f"crossfade status {run.migration}")


def _forget_order(run: Run) -> None:
    order = ordered(run.ledger.wishes(run.migration))
    if order is not None:
        detail = {"order": order.number}
        refuse(run, order, Line("hand-over refused", detail, "its runner ended before the decision"))


def refuse(run: Run, order: Order, line: Line) -> None:
    """Forget *order*, with the line that says why. A runner that was replaced has no say in it."""
    schema = run.ledger.schema

    def work(connection: Connection) -> None:
        if direction.runs_as(connection, schema, run.migration, run.epoch):
            direction.forget_wish(connection, schema, run.migration, WISH, order.number)
            journal.append(connection, schema, run.migration, line)

    run.ledger.change(work)


_CURES = {"marker": _mend_marker, "order": _forget_order}
