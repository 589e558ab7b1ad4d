"""Which verb fits which phase: one table, asked by the command line before anything is written, and by the runner again."""

from __future__ import annotations

from crossfade.migrate.handover.order import Order
from crossfade.migrate.handover.standing import Standing, move_of
from crossfade.store.backends.postgres import journal
from crossfade.store.backends.postgres.ledger import Ledger, MigrationRow
from crossfade.store.location import parse

AT_REST = ("finished", "rolled-back")
"""Phases of a migration that hands nothing over any more."""


def forbidden(order: Order, now: Standing, phase: str) -> str:
    """Why *order* does not fit, to be said behind the phase; empty where it does."""
    if phase == "finished":
        return "there is no way back from there"
    if order.verb == "finish":
        is_whole = now.is_reversed and not now.cut
        return "" if is_whole else "it was not cut over as a whole; only then is there a source to retire"
    if order.verb == "cutover" and not (now.is_reversed or is_arrived(phase)):
        return "only what was copied and follows can be cut over"
    if gives_up(order, now):
        return "following has ended already" if phase == "rolled-back" else ""
    if move_of(order.verb, order.only, now) is None:
        what = f"of {', '.join(order.only)}, some were" if order.only else "it was"
        return f"{what} cut over already" if order.verb == "cutover" else f"{what} not cut over"
    return ""


def is_arrived(phase: str) -> bool:
    """True for a phase in which a cut-over may be asked for."""
    return phase in _ARRIVED


def gives_up(order: Order, now: Standing) -> bool:
    """True for a roll back before any cut-over: following ends, and nothing has to come back."""
    return order.verb == "rollback" and not order.only and now == Standing()


def may_have_turned(ledger: Ledger, row: MigrationRow) -> bool:
    """True once a hand-over was asked for, and until the migration is over."""
    return row.phase not in AT_REST and ledger.ask(lambda c: journal.tells_of(c, ledger.schema, row.migration, _BEGUN))


def is_of_databases(row: MigrationRow) -> bool:
    """True where both sides are databases."""
    return parse(row.source).is_database and parse(row.target).is_database


_BEGUN = ("hand-over begun",)
_ARRIVED = ("copied", "following", "paused", "interrupted", "ready", "cut-over")
