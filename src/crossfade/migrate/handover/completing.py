"""What a crash may leave of a hand-over, found by comparing the far side with the route in the control database."""

from __future__ import annotations

from crossfade.errors import CrossfadeError
from crossfade.migrate.handover.choosing import far_in, far_of
from crossfade.migrate.handover.control import Tree, control_of
from crossfade.migrate.handover.far import Leftover
from crossfade.migrate.handover.order import WISH, Order, ordered
from crossfade.migrate.handover.phases import is_of_databases, may_have_turned
from crossfade.migrate.prepare import Run
from crossfade.store.backends.postgres import direction, journal, leases
from crossfade.store.backends.postgres.journal import Line
from crossfade.store.backends.postgres.ledger import Ledger, MigrationRow
from crossfade.store.backends.postgres.server import Connection, plain_errors


def leftovers(ledger: Ledger, row: MigrationRow) -> list[Leftover]:
    """What is left of *row*'s hand-overs, to complete or to take back. Nothing of one that is finished: another may decide since."""
    if row.phase == "finished":
        return []
    if not _is_looked_for(ledger, row):
        return _order_left(ledger, row)
    name = row.source if is_of_databases(row) else ledger.server.name
    try:
        with plain_errors(name), far_in(ledger, row) as far:
            control = Tree(ledger, row.store_id, row.migration)
            return [*far.left(is_turned=_is_turned(row)), *_notes_left(control), *_order_left(ledger, row)]
    except CrossfadeError as error:
        if not is_of_databases(row):
            raise
        return [Leftover("far", f"{row.source} cannot be looked into: {error.sentence}", "mend it once that answers")]


def complete(run: Run) -> list[Leftover]:
    """End what was left, as the migration's runner; what that was. Safe to repeat."""
    row = next(row for row in run.ledger.migrations() if row.migration == run.migration)
    far, control = far_of(run), control_of(run)
    found = [*far.left(is_turned=_is_turned(row)), *_notes_left(control), *_order_left(run.ledger, row)]
    ends = {"order": lambda: _forget_order(run), "notes": lambda: _let_go(control)}
    for leftover in found:
        ends.get(leftover.name, far.mend)()
        run.ledger.note(run.migration, "completed", {"what": leftover.name}, leftover.sentence)
    return found


def clear_up(run: Run) -> None:
    """Complete what an earlier fault, now over, kept this runner from completing."""
    control = control_of(run)
    notes = _notes_left(control)
    if notes:
        _let_go(control)
    for leftover in (*far_of(run).clear_up(), *notes):
        run.ledger.note(run.migration, "completed", {"what": leftover.name}, leftover.sentence)


def _notes_left(control: Tree) -> list[Leftover]:
    """Noted for who would have followed from here after a hand-over that was prepared, and not decided: they would grow for ever."""
    if not control.is_unread():
        return []
    return [Leftover("notes", "the database notes its changes, and nobody reads them", "let go of them")]


def _let_go(control: Tree) -> None:
    control.rest()
    control.let_go()


def _is_looked_for(ledger: Ledger, row: MigrationRow) -> bool:
    """True where something may be left: between two databases, once something was asked for, and until it is over."""
    return not is_of_databases(row) or may_have_turned(ledger, row)


def _is_turned(row: MigrationRow) -> bool:
    return row.reversed or bool(row.cut)


def _order_left(ledger: Ledger, row: MigrationRow) -> list[Leftover]:
    order = ordered(ledger.wishes(row.migration))
    if order is None:
        return []
    return [Leftover("order", f"a {order.verb} was asked for, and its runner ended before the decision", "forget it")]


def _forget_order(run: Run) -> None:
    order = ordered(run.ledger.wishes(run.migration))
    if order is not None:
        detail = {"order": order.number}
        refuse(run, order, Line("hand-over refused", detail, "its runner ended before the decision"))


def refuse(run: Run, order: Order, line: Line) -> None:
    """Forget *order*, with the line that says why. A runner that was replaced has no say in it."""
    schema = run.ledger.schema

    def work(connection: Connection) -> None:
        if leases.runs_as(connection, schema, run.migration, run.epoch):
            direction.forget_wish(connection, schema, run.migration, WISH, order.number)
            journal.append(connection, schema, run.migration, line)

    run.ledger.change(work)
