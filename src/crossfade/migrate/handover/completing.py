"""What a crash may leave of a hand-over, found by comparing the marker beside the files with the route in the database."""

from __future__ import annotations

from dataclasses import dataclass

from crossfade.errors import Unforeseen
from crossfade.migrate.handover.acts import gate_of, marker_of
from crossfade.migrate.handover.order import WISH, ordered
from crossfade.migrate.prepare import Run
from crossfade.store.backends.file.gate import EVERY, Side
from crossfade.store.backends.postgres import direction, journal, route
from crossfade.store.backends.postgres.journal import Line
from crossfade.store.backends.postgres.ledger import Ledger
from crossfade.store.backends.postgres.server import Connection

_WAIT_SECONDS = 10.0


@dataclass(frozen=True)
class Leftover:
    """One thing that a crash left, and what ends it."""

    name: str
    sentence: str
    cure: str


def leftovers(run: Run) -> list[Leftover]:
    """What is left to complete, or to take back."""
    return [*_marker_left(run), *_order_left(run)]


def complete(run: Run) -> list[Leftover]:
    """End what was left; what that was. Safe to repeat."""
    found = leftovers(run)
    for leftover in found:
        _CURES[leftover.name](run)
        run.ledger.note(run.migration, "completed", {"what": leftover.name}, leftover.sentence)
    return found


def _side(run: Run) -> tuple[Side, int]:
    """What the database says, which is the truth."""
    found = run.ledger.ask(lambda c: route.read(c, run.ledger.schema, run.store_id)).get(EVERY)
    if found is None:
        raise Unforeseen("the tree has no route", hint=f"crossfade doctor --store {run.ledger.server.name}")
    return ("database" if found.authority == "here" else "files"), found.epoch


def _marker_left(run: Run) -> list[Leftover]:
    marker = gate_of(run).read()
    side, epoch = _side(run)
    if marker is None and not run.reversed:
        return []
    if marker is not None and (marker.side_of(EVERY), marker.epoch) == (side, epoch):
        return []
    said = "is missing" if marker is None else f"says {marker.side_of(EVERY)}, epoch {marker.epoch}"
    return [
        Leftover(
            "marker", f"the marker beside the files {said}; the route says {side}, epoch {epoch}", "write the marker anew"
        )
    ]


def _order_left(run: Run) -> list[Leftover]:
    order = ordered(run.ledger.wishes(run.migration))
    if order is None:
        return []
    return [Leftover("order", f"a {order.verb} was asked for, and its runner ended before the decision", "forget it")]


def _mend_marker(run: Run) -> None:
    gate = gate_of(run)
    side, epoch = _side(run)
    with gate.closed(_WAIT_SECONDS):
        gate.write(marker_of(run, side, epoch))


def _forget_order(run: Run) -> None:
    refuse(run.ledger, run.migration, Line("hand-over refused", {"order": _number(run)}, "its runner ended"))


def _number(run: Run) -> str:
    order = ordered(run.ledger.wishes(run.migration))
    return order.number if order else ""


def refuse(ledger: Ledger, migration: str, line: Line) -> None:
    """Forget what was wished, with the line that says why."""

    def work(connection: Connection) -> None:
        direction.forget_wish(connection, ledger.schema, migration, WISH)
        journal.append(connection, ledger.schema, migration, line)

    ledger.change(work)


_CURES = {"marker": _mend_marker, "order": _forget_order}
