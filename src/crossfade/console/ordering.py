"""An order that somebody else's runner carries out: written down, waited for, and taken back when nobody waits for it any more."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

from crossfade.console.talk import say
from crossfade.errors import GateShut, Interrupted
from crossfade.migrate.handover.order import WISH, Order
from crossfade.store.backends.postgres import journal, wishes
from crossfade.store.backends.postgres.journal import Line, Written
from crossfade.store.backends.postgres.ledger import Ledger

_POLL_SECONDS = 0.05
_RUNNER_SECONDS = 20.0
"""How much longer than the order's own time its runner is waited for."""

_REST_SECONDS = 10.0
"""How long a runner is waited for that lives, once it has decided: the rest is a moment's work."""

_LAST_SECONDS = 5.0
"""How long it has to say what came of an order that was taken back while it was at it."""


class Ordering:
    """One *order* for whoever runs *migration*."""

    def __init__(self, ledger: Ledger, migration: str, order: Order) -> None:
        self._ledger = ledger
        self._migration = migration
        self._order = order
        self._seen = ledger.ask(lambda c: journal.count(c, ledger.schema, migration))
        self._is_begun = False
        self._decided: dict[str, Any] | None = None
        self._decided_at = 0.0

    def carried_out(self) -> dict[str, Any]:
        """What the journal says of it in the end. Raises GateShut where it was refused, Interrupted where it was taken back."""
        try:
            self._ledger.wish(self._migration, {WISH: self._order.values()})
            done = self._awaited(self._order.timeout + _RUNNER_SECONDS)
        except KeyboardInterrupt:
            return self._taken_back("nobody waits for it any more")
        return self._taken_back("its runner has not answered") if done is None else done

    def _awaited(self, seconds: float) -> dict[str, Any] | None:
        """What came of it within *seconds*: that it is done, or at least decided; else None."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            done = self._heard()
            if done is not None or self._is_left():
                return done or self._decided
            time.sleep(_POLL_SECONDS)
        return self._decided

    def _heard(self) -> dict[str, Any] | None:
        """Take in what the journal says by now; what the last line says, once it is there."""
        ledger, seen = self._ledger, self._seen
        for line in ledger.ask(lambda c: list(journal.read(c, ledger.schema, self._migration, after=seen))):
            self._seen = line.seq
            detail = outcome(line, self._order)
            self._is_begun = self._is_begun or (line.event, line.details().get("order")) == (
                "hand-over begun",
                self._order.number,
            )
            if detail is not None and line.event == "handed over":
                self._decided, self._decided_at = detail, time.monotonic()
            elif detail is not None:
                return detail
        return None

    def _is_left(self) -> bool:
        """True where it is decided, and whoever did that does not complete it."""
        if self._decided is None:
            return False
        is_late = time.monotonic() - self._decided_at > _REST_SECONDS
        return is_late or self._ledger.runner(self._migration) is None

    def _taken_back(self, why: str) -> dict[str, Any]:
        """Take the order back. A runner that is at it may have decided meanwhile: then that is what came of it."""
        ledger, migration, number = self._ledger, self._migration, self._order.number
        line = Line(wishes.TAKEN_BACK, {"order": number}, why)
        is_gone = ledger.change(lambda c: wishes.take_back(c, ledger.schema, migration, WISH, number, line))
        with suppress(GateShut):  # a runner that is at it lets go of it first
            done = self._heard() or self._awaited(_LAST_SECONDS if self._is_begun else 0.0)
            if done is not None:
                return done
        if not is_gone:
            raise Interrupted(
                f"{why}: the order was decided before it could be taken back",
                hint=f"crossfade status {migration}",
            )
        raise Interrupted(f"{why}: the order was taken back, and nothing was handed over", hint="give it again")


def outcome(line: Written, order: Order) -> dict[str, Any] | None:
    """What a line of the journal says has become of *order*; raises GateShut where it was refused."""
    detail = line.details()
    if detail.get("order") != order.number:
        return None
    if line.event == "hand-over put off":
        say(f"waiting: {line.reason}")
    if line.event == "hand-over refused":
        raise GateShut(line.reason, hint=detail.get("hint") or "crossfade status")
    return detail if line.event in ("handed over", "hand-over completed") else None
