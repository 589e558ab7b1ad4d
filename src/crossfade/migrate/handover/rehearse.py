"""A rehearsal: the gates and steps of a hand-over as they would be now, from what is written down. Nothing is changed."""

from __future__ import annotations

from crossfade.migrate.handover.foreign import writers_of
from crossfade.migrate.handover.gates import Facts, GateState, gates
from crossfade.migrate.handover.order import Order
from crossfade.migrate.handover.phases import gives_up
from crossfade.migrate.handover.standing import Standing, move_of
from crossfade.migrate.handover.steps import Step, steps
from crossfade.migrate.plan import Budget
from crossfade.store.backends.postgres import direction, drift
from crossfade.store.backends.postgres.ledger import Ledger, MigrationRow
from crossfade.store.location import Location, parse


def rehearsed(ledger: Ledger, row: MigrationRow, order: Order) -> tuple[list[GateState], tuple[Step, ...]]:
    """Every gate as it stands, and every step, in order."""
    now = Standing(row.reversed, frozenset(row.cut or ()))
    if order.verb == "finish" or gives_up(order, now):
        return [], ()
    move = move_of(order.verb, order.only, now)
    assert move is not None, "what does not fit is refused before"
    authority = parse(row.source if move.main != row.reversed else row.target)
    from_files = not authority.is_database
    facts = _facts(ledger, row, order, authority, from_files=from_files)
    return gates(order, facts, row.migration), steps(from_files=from_files)


def _facts(ledger: Ledger, row: MigrationRow, order: Order, authority: Location, *, from_files: bool) -> Facts:
    runs = ledger.runner(row.migration) is not None
    lag = ((row.progress or {}).get("lag") or {}) if runs else {}
    held = sum(ledger.quarantined(row.migration).values())
    records = sum(total.records for total in ledger.totals(row.store_id))
    return Facts(
        following=row.phase in ("following", "cut-over") and runs,
        in_step=lag.get("in_step", False),
        lag_seconds=lag.get("seconds"),
        behind=lag.get("entries", 0),
        proved_seconds=ledger.ask(lambda c: direction.proof_age(c, ledger.schema, row.migration)),
        unverified=0,
        quarantined=held,
        budget_allows=Budget().allows(held, records),
        drift=ledger.ask(lambda c: drift.count_open(c, ledger.schema, row.migration)),
        from_files=from_files,
        still_seconds=lag.get("still_seconds", 0.0),
        writers=writers_of(authority.path) if from_files and not order.writers_stopped else (),
    )
