"""A rehearsal: the gates and steps of a hand-over as they would be now, from what is written down. Nothing is changed."""

from __future__ import annotations

import os
from dataclasses import replace

from crossfade.errors import TargetUnwritable
from crossfade.migrate.handover.authority import held_by
from crossfade.migrate.handover.books import Books, books_of, of_direction
from crossfade.migrate.handover.foreign import writers_of
from crossfade.migrate.handover.gates import Facts, GateState, gates, to_end
from crossfade.migrate.handover.order import Order
from crossfade.migrate.handover.phases import gives_up
from crossfade.migrate.handover.standing import Standing, move_of
from crossfade.migrate.handover.steps import Step, steps, steps_of_databases
from crossfade.migrate.obstacles import check_way_back
from crossfade.migrate.plan import Budget
from crossfade.store.backends.postgres import direction, drift
from crossfade.store.backends.postgres.leases import Runner, this_runner
from crossfade.store.backends.postgres.ledger import Ledger, MigrationRow
from crossfade.store.location import Location, parse


def rehearsed(ledger: Ledger, row: MigrationRow, order: Order) -> tuple[list[GateState], tuple[Step, ...]]:
    """Every gate as it stands, and every step, in order."""
    now = Standing(row.reversed, frozenset(row.cut or ()))
    if gives_up(order, now):
        return [], _ENDS[order.verb]
    runner = ledger.runner(row.migration)
    if order.verb == "finish":
        found, does = _to_end(ledger, row, order, runner), _ENDS[order.verb]
    else:
        found, does = _to_hand_over(ledger, row, order, now, runner)
    return (_by_itself(found) if runner is None else found), does


def _to_end(ledger: Ledger, row: MigrationRow, order: Order, runner: Runner | None) -> list[GateState]:
    """The gates of a ``finish``. Where files decide there are none: all is heard of them without anybody waiting."""
    authority = parse(row.target)
    if not authority.is_database:
        return []
    return to_end(order, _facts(ledger, row, order, authority, runner), row.migration)


def _to_hand_over(
    ledger: Ledger, row: MigrationRow, order: Order, now: Standing, runner: Runner | None
) -> tuple[list[GateState], tuple[Step, ...]]:
    """The gates and steps by which the authority changes hands."""
    move = move_of(order.verb, order.only, now)
    assert move is not None, "what does not fit is refused before"
    authority = parse(row.source if move.main != row.reversed else row.target)
    from_files = not authority.is_database
    facts = _facts(ledger, row, order, authority, runner)
    facts = replace(facts, held_by=held_by(ledger, row.migration, move.kinds, from_files=from_files))
    return gates(order, facts, row.migration), _steps(row, authority)


def _steps(row: MigrationRow, authority: Location) -> tuple[Step, ...]:
    if parse(row.source).is_database and parse(row.target).is_database:
        return steps_of_databases(from_source=authority.url == row.source)
    return steps(from_files=not authority.is_database)


def _by_itself(found: list[GateState]) -> list[GateState]:
    """Of the gates *found* those that the verb does not meet by itself, where nobody follows."""
    itself = GateState("following", True, "nobody follows: this command does, looks at all of it first, and ends")
    return [itself, *(state for state in found if state.name not in ("following", "in step", "lag", "still"))]


def _sees_as(runner: Runner) -> bool:
    """True where this process sees the same processes as *runner*."""
    me = this_runner()
    try:
        is_mine = os.stat(f"/proc/{runner.pid}").st_uid == os.geteuid()
    except OSError:
        return False
    return is_mine and bool(me.boot) and (me.host, me.boot) == (runner.host, runner.boot)


def _facts(ledger: Ledger, row: MigrationRow, order: Order, authority: Location, runner: Runner | None) -> Facts:
    runs, from_files = runner is not None, not authority.is_database
    progress = (row.progress or {}) if runs else {}
    lag, position = progress.get("lag") or {}, progress.get("position") or {}
    budget = Budget(**row.wanted.get("error_budget", {})) if runs else Budget()
    asks, sees = from_files and not order.writers_stopped, runner is None or _sees_as(runner)
    held, records = _held(ledger, row, backwards=authority.url == row.target)
    return Facts(
        following=row.phase in ("following", "cut-over") and runs,
        in_step=lag.get("in_step", False),
        lag_seconds=lag.get("seconds"),
        behind=lag.get("entries", 0),
        unread=lag.get("unread", 0),
        proved_seconds=ledger.ask(lambda c: direction.proof_age(c, ledger.schema, row.migration)),
        unverified=position.get("unverified", 0),
        quarantined=held,
        budget_allows=budget.allows(held, records),
        drift=ledger.ask(lambda c: drift.count(c, ledger.schema, drift.Which(row.migration))),
        from_files=from_files,
        still_seconds=lag.get("still_seconds", 0.0),
        writers=(writers_of(authority.path) if sees else None) if asks else (),
        unreadable=tuple(lag.get("unreadable", ())),
        unheard=lag.get("unheard", ""),
        unplaceable=_unplaceable(ledger, row, authority) if from_files and sees else "",
    )


def _unplaceable(ledger: Ledger, row: MigrationRow, files: Location) -> str:
    """Why *files*, which would follow from then on, could not be written by this account, which is the runner's, or will be; empty
    where they could, or are not here.
    """
    if not os.path.isdir(files.path):
        return ""
    layout = Books(row.migration, ledger, row.store_id, ledger).layout()
    try:
        check_way_back(
            files,
            layout,
            None if row.kinds is None else frozenset(row.kinds),
            include_transient=files.url == row.target or row.plan["include_transient"],
        )
    except TargetUnwritable as error:
        return f"{error}: there would be no way back"
    return ""


def _held(ledger: Ledger, row: MigrationRow, *, backwards: bool) -> tuple[int, int]:
    """Where it is brought to, and *backwards* is toward the plan's source: how many items are held there, and how many records are."""
    with books_of(ledger, row) as every:
        books = of_direction(every, backwards=backwards)
        records = sum(total.records for total in books.ledger.totals(books.store_id))
        return sum(books.ledger.quarantined(row.migration).values()), records


_ENDS = {
    "finish": (
        Step("settle", "before", "what the target got until now is brought over"),
        Step("end", "decision", "nobody follows any more, and the source is retired; there is no way back from there"),
    ),
    "rollback": (
        Step("end", "decision", "nobody follows any more; the source is as it always was, the target keeps what it holds"),
    ),
}
"""What ends a migration, where no authority changes hands."""
