"""``crossfade cutover``, ``rollback`` and ``finish``: ask whoever runs the migration, or do it here where nobody does."""

from __future__ import annotations

import threading
import time
from typing import Any

from crossfade.console.commands.start import interruptible
from crossfade.console.finding import Sought, sought
from crossfade.console.talk import counted, say, say_head, show, show_json, sized
from crossfade.errors import GateShut, Interrupted, PhaseForbids
from crossfade.migrate.again import request_again
from crossfade.migrate.follow.live import Live
from crossfade.migrate.handover.gates import GateState, shut
from crossfade.migrate.handover.order import WISH, Order
from crossfade.migrate.handover.phases import forbidden
from crossfade.migrate.handover.rehearse import rehearsed
from crossfade.migrate.handover.standing import Standing
from crossfade.migrate.handover.steps import Step
from crossfade.migrate.plan import Manner
from crossfade.migrate.prepare import prepared
from crossfade.migrate.report import SCHEMA_VERSION
from crossfade.model import layouts
from crossfade.store.backends.postgres import journal
from crossfade.store.backends.postgres.ledger import Ledger
from crossfade.store.backends.postgres.wishes import refuse_paused

_POLL_SECONDS = 0.05
_RUNNER_SECONDS = 20.0
"""How much longer than the order's own time its runner is waited for."""

_SPOKEN = {"cutover": "cut over", "rollback": "rolled back", "finish": "finished"}


def hand_over(words: tuple[str, ...], store: str, order: Order, *, dry_run: bool, as_json: bool) -> int:
    """Carry out *order*; the exit status."""
    with sought(words, store) as found:
        _check_kinds(found, order.only)
        _refuse_phase(found, order)
        if dry_run:
            return _rehearse(found, order, as_json=as_json)
        done = _by_runner(found, order) if found.ledger.runner(found.row.migration) else _here(found, order)
        _show(found, order, done, as_json=as_json)
        say_head(found.ledger.journal_head(found.row.migration))
    return 0


def _check_kinds(found: Sought, kinds: tuple[str, ...]) -> None:
    """Raises LayoutInvalid for one that the tree's layout does not have."""
    row = next(row for row in found.ledger.stores() if row.store_id == found.row.store_id)
    layout = layouts.parse(row.layout, source=row.layout_name)
    for kind in kinds:
        layout.kind(kind)


def _refuse_phase(found: Sought, order: Order) -> None:
    refuse_paused(found.row.wanted, found.row.migration)
    why = forbidden(order, Standing(found.row.reversed, frozenset(found.row.cut or ())), found.row.phase)
    if why:
        raise PhaseForbids(
            f"migration {found.row.migration}: {why}", hint=f"crossfade status {found.row.migration}   # what fits now"
        )


# By whoever runs it


def _by_runner(found: Sought, order: Order) -> dict[str, Any]:
    """Write down what is wished, and wait for what comes of it."""
    ledger, migration = found.ledger, found.row.migration
    seen = ledger.ask(lambda c: journal.count(c, ledger.schema, migration))
    ledger.wish(migration, {WISH: order.values()})
    until = time.monotonic() + order.timeout + _RUNNER_SECONDS
    while time.monotonic() < until:
        lines = _lines_after(ledger, migration, seen)
        seen = max([seen, *(line.seq for line in lines)])
        done = [detail for line in lines if (detail := _outcome(line, order)) is not None]
        if done:
            return done[-1]
        time.sleep(_POLL_SECONDS)
    raise Interrupted(
        "its runner has not answered; what was asked for stands, and is forgotten by the next runner",
        hint=f"crossfade status {migration}",
    )


def _outcome(line: journal.Written, order: Order) -> dict[str, Any] | None:
    """What a line of the journal says of *order*; raises GateShut where it was refused."""
    detail = line.details()
    if detail.get("order") != order.number:
        return None
    if line.event == "hand-over put off":
        say(f"waiting: {line.reason}")
    if line.event == "hand-over refused":
        raise GateShut(line.reason, hint=detail.get("hint") or "crossfade status")
    return detail if line.event == "hand-over completed" else None


# Here


def _here(found: Sought, order: Order) -> dict[str, Any]:
    """Nobody runs it: bring over what is left, carry the order out, and end. What is written later is noted meanwhile."""
    seen = found.ledger.ask(lambda c: journal.count(c, found.ledger.schema, found.row.migration))
    request = request_again(found.row, found.store, Manner(), order.verb)
    stop = threading.Event()
    with interruptible(stop), prepared(request) as run:
        live = Live(run, watch=lambda _: None, stop=stop, grace_seconds=0.0, allow_removals=False)
        live.hand_over(order)
    done = [_outcome(line, order) for line in _lines_after(found.ledger, found.row.migration, seen)]
    return next(detail for detail in reversed(done) if detail is not None)


def _lines_after(ledger: Ledger, migration: str, seen: int) -> list[journal.Written]:
    return ledger.ask(lambda c: list(journal.read(c, ledger.schema, migration, after=seen)))


# What is shown


def _rehearse(found: Sought, order: Order, *, as_json: bool) -> int:
    """The same gates and steps, and nothing done. 7 where a gate is shut."""
    states, steps = rehearsed(found.ledger, found.row, order)
    if as_json:
        value = {
            "schema_version": SCHEMA_VERSION,
            "migration": found.row.migration,
            "verb": order.verb,
            "gates": [vars(state) for state in states],
            "steps": [vars(step) for step in steps],
        }
        show_json(value)
    else:
        show("\n".join(_lines(states, steps)))
    return 0 if shut(states) is None else 7


def _lines(states: list[GateState], steps: tuple[Step, ...]) -> list[str]:
    gates = [
        f"  {'open' if s.met else 'SHUT'}  {s.sentence}" + ("" if s.met else f"\n        try: {s.hint}") for s in states
    ]
    return ["gates", *gates, "steps", *(f"  {step.name:<8}{step.sentence}" for step in steps)]


def _show(found: Sought, order: Order, done: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        show_json({"schema_version": SCHEMA_VERSION, "migration": found.row.migration, "verb": order.verb, **done})
        return
    hold = f"; writers waited {done['hold_ms']:.0f} ms at most" if "hold_ms" in done else ""
    show(f"migration {found.row.migration} is {_SPOKEN[order.verb]}{hold}")
    if done.get("phase") == "rolled-back":
        held = found.ledger.totals(found.row.store_id)
        size = f"{counted(sum(t.entries for t in held), 'entry', 'entries')}, {sized(sum(t.bytes for t in held))}"
        show(f"{found.row.source} is as it was; {found.row.target} keeps {size} of it")
    if order.verb == "cutover" and found.ledger.runner(found.row.migration) is None:
        show(f"next      crossfade resume {found.row.migration}   # follow in reverse; until then changes are noted")
