"""``crossfade cutover``, ``rollback`` and ``finish``: ask whoever runs the migration, or do it here where nobody does."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

from crossfade.console.commands.start import interruptible, patient
from crossfade.console.finding import Sought, shown_by, sought
from crossfade.console.found_again import found_again
from crossfade.console.ordering import Ordering, outcome
from crossfade.console.state import look_at, next_steps, state_of
from crossfade.console.talk import counted, say_head, show, show_json, sized
from crossfade.errors import PhaseForbids
from crossfade.migrate.again import as_begun, request_again
from crossfade.migrate.audit.record import refused
from crossfade.migrate.follow.live import Live
from crossfade.migrate.handover.gates import GateState, shut
from crossfade.migrate.handover.order import Order
from crossfade.migrate.handover.phases import forbidden, is_arrived
from crossfade.migrate.handover.rehearse import rehearsed
from crossfade.migrate.handover.standing import Standing
from crossfade.migrate.handover.steps import Step
from crossfade.migrate.plan import Manner
from crossfade.migrate.prepare import prepared
from crossfade.migrate.values import SCHEMA_VERSION
from crossfade.model import layouts
from crossfade.store.backends.postgres import journal
from crossfade.store.backends.postgres.ledger import Ledger, MigrationRow
from crossfade.store.backends.postgres.wishes import refuse_paused

_SPOKEN = {"cutover": "cut over", "rollback": "rolled back", "finish": "finished"}


def hand_over(words: tuple[str, ...], store: str, order: Order, *, dry_run: bool, as_json: bool) -> int:
    """Carry out *order*; the exit status."""
    with sought(words, store, changes=not dry_run) as found:
        _check_kinds(found, order.only)
        _refuse_phase(found, order, dry_run=dry_run)
        if dry_run:
            return _rehearse(found, order, as_json=as_json)
        found.begin()
        runs = found.ledger.runner(found.row.migration) is not None
        done = Ordering(found.ledger, found.row.migration, order).carried_out() if runs else _here(found, order)
        head = found.ledger.journal_head(found.row.migration)
        _show(found, order, done | {"head": head.hex()}, as_json=as_json)
        say_head(head)
    return 0


def _check_kinds(found: Sought, kinds: tuple[str, ...]) -> None:
    """Raises LayoutInvalid for one that the tree's layout does not have."""
    row = next(row for row in found.ledger.stores() if row.store_id == found.row.store_id)
    layout = layouts.parse(row.layout, source=row.layout_name)
    for kind in kinds:
        layout.kind(kind)


def _refuse_phase(found: Sought, order: Order, *, dry_run: bool) -> None:
    """What was asked for and not done is told in the journal; a rehearsal asks for nothing, and writes nothing."""
    try:
        _check_phase(found, order)
    except PhaseForbids as error:
        raise (error if dry_run else refused(found.ledger, found.row.migration, error)) from None


def _check_phase(found: Sought, order: Order) -> None:
    refuse_paused(found.row.wanted, found.row.migration)
    why = forbidden(order, Standing(found.row.reversed, frozenset(found.row.cut or ())), found.row.phase)
    if why:
        name, _ = state_of(look_at(found.ledger, found.row))
        raise PhaseForbids(f"migration {found.row.migration} is {name}: {why}", hint=_instead(found.row, order, name))


def _instead(row: MigrationRow, order: Order, name: str) -> str:
    """What to type where *order* does not fit a migration in the state *name*."""
    if name == "copying":
        return f"crossfade status {row.migration} --wait-for following   # then again"
    if order.verb == "finish" and is_arrived(row.phase):
        return f"crossfade cutover {row.migration} --dry-run   # of all of it; then finish"
    if order.verb == "cutover" and (row.reversed or row.cut):
        return f"crossfade rollback {row.migration} --dry-run   # or finish, once all of it is cut over"
    steps = [] if is_arrived(row.phase) else next_steps(name, row, {})
    return next((f"{step['command']}   # {step['why']}" for step in steps), f"crossfade status {row.migration}")


# Here


def _here(found: Sought, order: Order) -> dict[str, Any]:
    """Nobody runs it: bring over what is left, carry the order out, and end. What is written later is noted meanwhile."""
    seen = found.ledger.ask(lambda c: journal.count(c, found.ledger.schema, found.row.migration))
    stop = threading.Event()
    manner = as_begun(Manner(), found.row.wanted)
    request = replace(request_again(found.row, found.store, manner, order.verb), patient=patient(stop))
    with interruptible(stop, shown_by(found.ledger, found.row.migration)), prepared(request) as run:
        live = Live(run, watch=lambda _: None, stop=stop, grace_seconds=0.0)
        live.hand_over(order)
    done = [outcome(line, order) for line in _lines_after(found.ledger, found.row.migration, seen)]
    return next(detail for detail in reversed(done) if detail is not None)


def _lines_after(ledger: Ledger, migration: str, seen: int) -> list[journal.Written]:
    return ledger.ask(lambda c: list(journal.read(c, ledger.schema, migration, after=seen)))


# What is shown


def _rehearse(found: Sought, order: Order, *, as_json: bool) -> int:
    """The same gates and steps, and nothing done. 7 where a gate is shut."""
    states, steps = rehearsed(found.ledger, found.row, order)
    states = [replace(state, hint=found_again(state.hint, found.store.url)) for state in states]
    head = found.ledger.journal_head(found.row.migration)
    if as_json:
        value = {
            "schema_version": SCHEMA_VERSION,
            "migration": found.row.migration,
            "verb": order.verb,
            "gates": [vars(state) for state in states],
            "steps": [vars(step) for step in steps],
            "head": head.hex(),
        }
        show_json(value)
    else:
        show("\n".join(_lines(states, steps)))
    say_head(head)
    return 0 if shut(states) is None else 7


def _lines(states: list[GateState], steps: tuple[Step, ...]) -> list[str]:
    shown = [
        f"  {'open' if s.met else 'SHUT'}  {s.sentence}" + ("" if s.met else f"\n        try: {s.hint}") for s in states
    ]
    gates = ["gates", *shown] if shown else []
    return [*gates, "steps", *(f"  {step.name:<8}{step.sentence}" for step in steps)]


def _show(found: Sought, order: Order, done: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        show_json({"schema_version": SCHEMA_VERSION, "migration": found.row.migration, "verb": order.verb, **done})
        return
    hold = f"; writers waited {done['hold_ms']:.0f} ms at most" if "hold_ms" in done else ""
    show(f"migration {found.row.migration} is {_SPOKEN[order.verb]}{hold}")
    if "authority" in done:
        show(f"its runner ended behind the decision; {_by_id(found, 'resume')} completes the rest")
        return
    for step, why in done.get("left", {}).items():
        show(f"left      {step}: {why}; whoever follows does it, or {_by_id(found, 'repair')}")
    if done.get("phase") == "rolled-back":
        held = found.ledger.totals(found.row.store_id)
        size = f"{counted(sum(t.entries for t in held), 'entry', 'entries')}, {sized(sum(t.bytes for t in held))}"
        show(f"{found.row.source} is as it was; {found.row.target} keeps {size} of it")
    if order.verb == "cutover" and found.ledger.runner(found.row.migration) is None:
        show(f"next      {_by_id(found, 'resume')}   # follow in reverse; until then changes are noted")


def _by_id(found: Sought, verb: str) -> str:
    return found_again(f"crossfade {verb} {found.row.migration}", found.store.url)
