"""Heeding hand-overs while a run follows: the order is heard, its gates are looked at, and the steps are done in between turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, cast

import psycopg

from crossfade.errors import CrossfadeError, GateShut, NotYet, PhaseForbids, TargetUnreachable, TargetUnwritable
from crossfade.migrate.handover.acts import Acts
from crossfade.migrate.handover.authority import held_by
from crossfade.migrate.handover.carry import Attempts, Undecided, carry_out, heard
from crossfade.migrate.handover.choosing import far_of
from crossfade.migrate.handover.completing import clear_up, refuse
from crossfade.migrate.handover.control import control_of
from crossfade.migrate.handover.foreign import writers_of
from crossfade.migrate.handover.gates import Facts, GateState, gates, to_end, with_reasons
from crossfade.migrate.handover.order import WISH, Order, ordered
from crossfade.migrate.handover.phases import forbidden, gives_up
from crossfade.migrate.handover.standing import Move, Standing, move_of
from crossfade.migrate.prepare import Run
from crossfade.observe.failpoints import durable
from crossfade.store.backends.postgres import direction, drift, feed, journal, leases, wishes
from crossfade.store.backends.postgres.journal import Line
from crossfade.store.backends.postgres.server import Connection

_LOOK_SECONDS = 1.0
_GOES_ON = (GateShut, PhaseForbids, NotYet, TargetUnwritable)
"""What ends an order, and not the following."""

Outcome = Literal["", "turned", "finished", "rolled-back"]


class Following(Protocol):
    """What a hand-over needs of whoever follows."""

    @property
    def is_in_step(self) -> bool:
        """True while every change is heard of, and all was looked at since one may not have been."""

    @property
    def unheard(self) -> str:
        """Why not every change is heard of; empty where it is, or not known."""

    def hurry(self) -> None:
        """Somebody waits for it to be in step."""

    @property
    def lag_seconds(self) -> float:
        """How long the other side is behind."""

    @property
    def behind(self) -> int:
        """By how many paths."""

    @property
    def unread(self) -> int:
        """How many of those are changes that cannot be read yet."""

    @property
    def still_seconds(self) -> float:
        """Since when nothing was heard of the source."""

    @property
    def unreadable(self) -> Mapping[bytes, str]:
        """What cannot be read, and why."""

    def overrule(self, seconds: float) -> None:
        """Put the authority's version back over all that has drifted."""

    def prepare(self, seconds: float) -> None:
        """Have what is needed to settle within *seconds*. Raises GateShut where they are too few."""

    def settle(self, paths: list[bytes], seconds: float) -> None:
        """Bring over all that happened until now, *paths* among it. Raises GateShut where it takes longer than *seconds*."""

    def prove(self, seconds: float) -> None:
        """Verify what was applied. Raises GateShut likewise."""

    @property
    def unverified(self) -> int:
        """How many changes were applied and not verified yet."""


@dataclass(frozen=True)
class Lane:
    """One direction in which a migration is followed."""

    run: Run
    follower: Following


class Orders:
    """The hand-overs that are asked for while *lanes* are followed: the main one, and, where some kinds were cut over by
    themselves, theirs. ``outcome`` says what one of them has led to, ``standing`` who decides then.

    *done* holds the numbers of those that were dealt with, as they are heard of for a while longer. With *only* there is
    that one, and its refusal is raised.
    """

    def __init__(self, lanes: Sequence[Lane], done: set[str], only: Order | None = None) -> None:
        self._done = done
        self._only = only
        self._lanes = lanes
        self._run = lanes[0].run
        self._attempts: Attempts | None = None
        self._told = ""
        self._looked = 0.0
        self._held_seconds: list[float] = []
        self.standing = standing_of(self._run)
        self.outcome: Outcome = ""

    def heed(self, wanted: dict[str, Any]) -> bool:
        """Carry out what is wished, if something is. True where following in this direction is over."""
        self._clear_up()
        order = self._only or ordered(wanted)
        if self._attempts is None and (order is None or order.number in self._done):
            return False
        if self._attempts is None and order is not None:
            if not self._stands(order):
                self._done.add(order.number)
                return False
            self._attempts = self._begin(order)
        attempts = cast("Attempts", self._attempts)
        if order is None or order.number != attempts.order.number:
            self._refuse(attempts.order, _taken_back())
            return False
        try:
            return self._turn(attempts)
        except Undecided:
            raise _unheard(self._run) from None
        except CrossfadeError as error:
            if self.outcome:
                raise
            self._refuse(attempts.order, error)
            if self._only or not isinstance(error, _GOES_ON):
                raise
            return False

    def _clear_up(self) -> None:
        """What an earlier try, or the end of one, could not do for a fault that passes."""
        now = time.monotonic()
        if now - self._looked < _LOOK_SECONDS:
            return
        self._looked = now
        with suppress(psycopg.Error, CrossfadeError, OSError):
            clear_up(self._run)

    def _stands(self, order: Order) -> bool:
        """True unless it was forgotten since it was heard: what was refused must not be carried out."""
        wanted = self._only or ordered(self._run.ledger.wishes(self._run.migration))
        return wanted is not None and wanted.number == order.number

    def _begin(self, order: Order) -> Attempts:
        self._held_seconds = []
        self._run.ledger.note(self._run.migration, "hand-over begun", {"order": order.number}, order.verb)
        age = 0.0 if self._only else self._age(order)
        return Attempts(order, lambda: self._look(order), lambda: self._attempt(order), lambda: bool(self.outcome), age)

    def _age(self, order: Order) -> float:
        run = self._run
        return run.ledger.ask(lambda c: wishes.age(c, run.ledger.schema, run.migration, order.number))

    def _turn(self, attempts: Attempts) -> bool:
        if not attempts.turn():
            self._put_off(attempts)
            return False
        self._done.add(attempts.order.number)
        self._attempts = None
        return True

    def _put_off(self, attempts: Attempts) -> None:
        """Say once why it waits."""
        if attempts.reason != self._told:
            self._told = attempts.reason
            detail = {"order": attempts.order.number}
            self._run.ledger.note(self._run.migration, "hand-over put off", detail, attempts.reason)

    def _refuse(self, order: Order, error: CrossfadeError) -> None:
        self._done.add(order.number)
        self._attempts = None
        line = Line("hand-over refused", {"order": order.number, "code": error.code, "hint": error.hint}, error.sentence)
        refuse(self._run, order, line)

    # One try

    def _look(self, order: Order) -> list[GateState]:
        run, now = self._run, self.standing
        phase = "cut-over" if now.is_reversed else "following"
        why = forbidden(order, now, phase)
        if why:
            raise PhaseForbids(f"it is {phase}: {why}", hint=f"crossfade status {run.migration}")
        if gives_up(order, now):
            return []
        if order.verb == "finish":
            return self._look_at_end(order)
        lane, move = self._chosen(order)
        lane.follower.hurry()
        facts = facts_of(lane, order)
        found = held_by(run.ledger, run.migration, move.kinds, from_files=facts.from_files)
        return gates(order, replace(facts, held_by=found), run.migration)

    def _look_at_end(self, order: Order) -> list[GateState]:
        """Of files all is heard of without anybody waiting; a feed is read to its end while the writers of the database wait."""
        lane = self._lanes[0]
        if not lane.run.from_control:
            return []
        lane.follower.hurry()
        return to_end(order, facts_of(lane, order), lane.run.migration)

    def _chosen(self, order: Order) -> tuple[Lane, Move]:
        """The direction in which *order* hands over, and what."""
        move = move_of(order.verb, order.only, self.standing)
        assert move is not None, "what does not fit is refused before"
        return self._lanes[0 if move.main else 1], move

    def _attempt(self, order: Order) -> None:
        if order.verb == "finish":
            self._finish(order)
        elif gives_up(order, self.standing):
            self._give_up(order)
        else:
            self._hand_over(order)

    def _hand_over(self, order: Order) -> None:
        lane, move = self._chosen(order)
        run, follower, far = lane.run, lane.follower, far_of(lane.run)
        if order.force:
            follower.overrule(order.timeout)
        acts = Acts(
            run,
            far,
            order,
            move,
            prepare=lambda: follower.prepare(order.hold_max),
            drain=follower.settle,
            prove=follower.prove,
            check=self._check_stands,
        )
        try:
            left = carry_out(far.steps(leaves=not run.from_control), acts, acts.is_decided)
        finally:
            self._held_seconds.append(acts.hold_seconds)
        self.standing, self.outcome = move.after, "turned"
        hold, tries = round(max(self._held_seconds) * 1000, 1), len(self._held_seconds)
        detail = {"order": order.number, "hold_ms": hold, "tries": tries, "step_ms": acts.step_ms, "epoch": acts.epoch + 1}
        run.ledger.note(run.migration, "hand-over completed", detail | ({"left": left} if left else {}), order.verb)

    def _finish(self, order: Order) -> None:
        """Bring over what is known, and follow no more: the side that decides stands alone from here on."""
        self._lanes[0].follower.prepare(order.timeout)
        run = self._run
        paths = control_of(run).noted_until_now(order.hold_max) if run.from_control else []
        self._lanes[0].follower.settle(paths, order.timeout)
        _end(self._run, order, "finished", self._check_stands)
        self.outcome = "finished"
        with suppress(psycopg.Error, CrossfadeError):
            control_of(run).let_go()

    def _give_up(self, order: Order) -> None:
        _give_up(self._run, order, self._check_stands)
        self.outcome = "rolled-back"

    def _check_stands(self, connection: Connection) -> None:
        """In the transaction of a decision: whoever takes the order back waits for it. Raises GateShut where somebody has.

        What is wanted is heard a moment later than it is written, so that what was heard is no answer here.
        """
        run, attempts = self._run, cast("Attempts", self._attempts)
        if self._only is None and not wishes.stands(
            connection, run.ledger.schema, run.migration, WISH, attempts.order.number
        ):
            attempts.end()
            raise _taken_back()


def _taken_back() -> GateShut:
    return GateShut("it was taken back by whoever asked for it; nothing was handed over", hint="give it again")


def _unheard(run: Run) -> TargetUnreachable:
    """Whoever runs it ends where nobody knows how it goes on."""
    return TargetUnreachable(
        "the server went away at the decision, and nobody heard which side has the authority; the route in it says so",
        hint=f"crossfade repair {run.migration}   # once it is back",
    )


def give_up(run: Run, order: Order) -> None:
    """A roll back before the cut-over, where nobody follows yet."""
    try:
        _give_up(run, order, lambda _: None)
    except Undecided:
        raise _unheard(run) from None


def _give_up(run: Run, order: Order, check: Callable[[Connection], None]) -> None:
    """A roll back before the cut-over: the source was never touched, so there is nothing to bring back."""

    def leave(connection: Connection) -> None:
        check(connection)
        far_of(run).leave()

    _end(run, order, "rolled-back", leave)


def _end(run: Run, order: Order, phase: str, check: Callable[[Connection], None]) -> None:
    """Enter a phase in which nobody follows. Raises Fenced for a runner that was replaced: by now another one follows;
    and what *check* raises, which is asked in the same transaction. Where its answer was not heard, it may be done already.
    """

    def is_decided(connection: Connection) -> bool:
        return wishes.is_decided(connection, run.ledger.schema, run.migration, WISH, order.number)

    def work(connection: Connection) -> None:
        leases.fence(connection, run.ledger.schema, run.migration, run.epoch)
        if is_decided(connection):
            return
        check(connection)
        feed.retire(connection, run.ledger.schema, run.migration, run.store_id)
        direction.end(connection, run.ledger.schema, run.migration, phase, WISH, order.number)
        line = Line("hand-over completed", {"order": order.number, "phase": phase}, order.verb)
        journal.append(connection, run.ledger.schema, run.migration, line)

    try:
        with durable("postgres.decision"):
            run.ledger.change(work)
    except psycopg.OperationalError:
        if not heard(lambda: run.ledger.ask(is_decided)):
            raise


def standing_of(run: Run) -> Standing:
    """Who decides, as *run* was made."""
    return Standing(run.reversed, run.cut)


def facts_of(lane: Lane, order: Order) -> Facts:
    """What the gates are decided on."""
    run, follower = lane.run, lane.follower
    books, store_id = run.books
    held = sum(books.quarantined(run.migration).values())
    records = sum(total.records for total in books.totals(store_id))
    asks = run.from_files and not order.writers_stopped
    return Facts(
        following=True,
        in_step=follower.is_in_step,
        lag_seconds=follower.lag_seconds,
        behind=follower.behind,
        unread=follower.unread,
        proved_seconds=run.ledger.ask(lambda c: direction.proof_age(c, run.ledger.schema, run.migration)),
        unverified=follower.unverified,
        quarantined=held,
        budget_allows=run.request.manner.budget.allows(held, records),
        drift=run.ledger.ask(lambda c: drift.count(c, run.ledger.schema, drift.Which(run.migration))),
        from_files=run.from_files,
        still_seconds=follower.still_seconds,
        writers=writers_of(run.request.source.path) if asks else (),
        unheard=follower.unheard,
        unreadable=with_reasons(follower.unreadable),
    )
