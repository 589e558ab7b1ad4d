"""An order that somebody else's runner carries out: written down, waited for, and taken back when nobody waits for it any more."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg

from crossfade.console.finding import shown_by
from crossfade.console.talk import say
from crossfade.errors import AGAIN, CrossfadeError, GateShut, Interrupted, TargetUnreachable
from crossfade.migrate.audit.record import refused
from crossfade.migrate.handover.order import WAITED_SECONDS, WISH, Order
from crossfade.store.backends.postgres import journal, wishes
from crossfade.store.backends.postgres.journal import Line, Written
from crossfade.store.backends.postgres.ledger import Ledger
from crossfade.store.faults import passes

_POLL_SECONDS = 0.05
_REST_SECONDS = 10.0
"""How long a runner is waited for that lives, once it has decided: the rest is a moment's work."""

_LAST_SECONDS = 5.0
"""How long it has to say what came of an order that was taken back while it was at it."""

_BACK_SECONDS = 10.0
"""How long a server that does not answer is waited for, to take an order back."""


class Ordering:
    """One *order* for whoever runs *migration*."""

    def __init__(self, ledger: Ledger, migration: str, order: Order) -> None:
        self._ledger = ledger
        self._migration = migration
        self._order = order
        self._seen = ledger.ask(lambda c: journal.count(c, ledger.schema, migration))
        self._shown_by = shown_by(ledger, migration)
        self._is_begun = self._is_away = False
        self._decided: dict[str, Any] | None = None
        self._decided_at = 0.0

    def carried_out(self) -> dict[str, Any]:
        """What the journal says of it in the end. Raises GateShut where it was refused, Interrupted where it was taken back."""
        with _interrupted_by_any():
            try:
                return self._awaited_or_taken_back()
            except KeyboardInterrupt:
                raise Interrupted(
                    "stopped before the order was taken back: it may be carried out yet", hint=self._shown_by
                ) from None

    def _awaited_or_taken_back(self) -> dict[str, Any]:
        """However waiting for it ends: an order that nobody waits for is not carried out later."""
        why = "its runner has not answered"
        try:
            self._give()
            done = self._awaited(self._order.timeout + WAITED_SECONDS)
            if done is not None:
                return done
        except GateShut:
            raise
        except KeyboardInterrupt:
            why = "nobody waits for it any more"
        except (CrossfadeError, psycopg.Error, OSError):
            why = "it could not be waited for"
        return self._taken_back(why)

    def _give(self) -> None:
        """Write it down, once: where the answer was not heard, it may stand. What refuses it is told in the journal."""
        ledger, migration, order = self._ledger, self._migration, self._order.values()
        line = Line("wished", {WISH: order})
        try:
            ledger.change(lambda c: wishes.give(c, ledger.schema, migration, WISH, order, line))
        except GateShut as error:
            raise refused(ledger, migration, error) from None

    def _awaited(self, seconds: float) -> dict[str, Any] | None:
        """What came of it within *seconds*: that it is done, or at least decided; else None."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            done = self._looked()
            if done is not None:
                return done
            time.sleep(_POLL_SECONDS)
        return self._decided

    def _looked(self) -> dict[str, Any] | None:
        """What came of it by now, as far as that is heard: a server that is away for a moment says nothing of it."""
        try:
            done = self._heard()
            self._is_away = False
            return self._decided if done is None and self._is_left() else done
        except (CrossfadeError, psycopg.Error) as error:
            if not passes(error):
                raise
        if not self._is_away:
            say("waiting: the server does not answer")
        self._is_away = True
        return None

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
        self._ledger.patience_seconds = _BACK_SECONDS
        is_gone = self._is_taken_back(why)
        with suppress(GateShut):  # a runner that is at it lets go of it first
            done = self._heard() or self._awaited(_LAST_SECONDS if self._is_begun else 0.0)
            if done is not None:
                return done
        if not is_gone:
            raise Interrupted(f"{why}: the order was decided before it could be taken back", hint=self._shown_by)
        raise Interrupted(f"{why}: the order was taken back, and nothing was handed over", hint=AGAIN)

    def _is_taken_back(self, why: str) -> bool:
        """False where it is decided. Raises TargetUnreachable where the server stays away: then its time ends it."""
        ledger, migration, number = self._ledger, self._migration, self._order.number
        line = Line(wishes.TAKEN_BACK, {"order": number}, why)
        try:
            return ledger.change(lambda c: wishes.take_back(c, ledger.schema, migration, WISH, number, line))
        except (CrossfadeError, psycopg.Error) as error:
            if not passes(error):
                raise
            raise TargetUnreachable(
                f"{why}, and the server does not answer: the order could not be taken back, and is begun no later than"
                f" {self._order.timeout + WAITED_SECONDS:g} s after it was given",
                hint=f"{self._shown_by}   # once it is back",
            ) from None


@contextmanager
def _interrupted_by_any() -> Iterator[None]:
    """A SIGTERM, and the SIGHUP of a terminal that is closed, are what a Ctrl-C is; one that is ignored stays so."""
    heard = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, signal.default_int_handler) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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
