"""Carrying out an order: the steps in their order, undone in reverse where one fails before the decision, tried again."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

import psycopg

from crossfade.errors import CrossfadeError, Fenced, GateShut
from crossfade.migrate.handover.gates import GateState, shut
from crossfade.migrate.handover.order import WAITED_SECONDS, Order
from crossfade.migrate.handover.steps import Step
from crossfade.migrate.workers import fault_of
from crossfade.store.faults import passes

_AGAIN_SECONDS = 0.2
_PASSES = ("in step", "lag", "still")
"""Gates that may be met by waiting; any other that is shut ends the order."""


class Doer(Protocol):
    """What does the steps, and undoes them."""

    def act(self, name: str) -> None:
        """Do one."""

    def undo(self, name: str) -> None:
        """Undo one."""

    def release(self) -> None:
        """Let writers go on."""


class Undecided(Exception):
    """The decision was sent, and nobody heard whether it stands. Nothing is undone: whoever comes next asks, and completes."""


def carry_out(steps: tuple[Step, ...], doer: Doer, is_decided: Callable[[], bool]) -> dict[str, str]:
    """Do *steps*. What fails before the decision leaves everything as it was; behind it, it is left out: the decision stands,
    and whoever follows does it again. The names of those, each with why. Raises Fenced, by then too: another one completes it.

    *is_decided* asks the database, where the answer to the decision was not heard.
    """
    begun: list[Step] = []
    left: dict[str, str] = {}
    try:
        for step in steps:
            begun.append(step)
            if step.part == "after":
                left |= _do_behind(step, doer)
            else:
                _do(step, doer, is_decided)
    except Undecided:
        raise
    except BaseException:
        if begun[-1].part != "after":
            _undo(begun, doer)
        raise
    finally:
        doer.release()
    return left


def _undo(begun: Sequence[Step], doer: Doer) -> None:
    """In reverse. One that fails keeps none of the others from it: what it leaves is found, and completed."""
    for step in reversed(begun):
        with suppress(CrossfadeError, psycopg.Error, OSError):
            doer.undo(step.name)


def _do(step: Step, doer: Doer, is_decided: Callable[[], bool]) -> None:
    try:
        doer.act(step.name)
    except Exception as error:
        if step.part == "decision" and isinstance(error, psycopg.OperationalError):
            doer.release()  # it may take long to know; writers ask the database, and hear of it when it is known there
            if heard(is_decided):
                return
        raise


def _do_behind(step: Step, doer: Doer) -> dict[str, str]:
    """What is left of a step behind the decision: to take its failing for a refusal would be to follow the wrong way."""
    try:
        doer.act(step.name)
    except Fenced:
        raise
    except (CrossfadeError, psycopg.Error, OSError) as error:
        return {step.name: _spoken(error)}
    return {}


def _spoken(error: Exception) -> str:
    return error.sentence if isinstance(error, CrossfadeError) else fault_of(error)


def heard(is_decided: Callable[[], bool]) -> bool:
    """Whether a decision stands whose answer was not heard. Raises Undecided where that cannot be asked."""
    try:
        return is_decided()
    except (psycopg.Error, CrossfadeError):
        raise Undecided from None


class Attempts:
    """The tries of one order. *look* gives the gates as they are now, *attempt* does the steps once.

    Until *is_over* says that it was handed over, a fault that passes is a gate that is shut. *age* is how many seconds ago it
    was given: its time runs from there.
    """

    def __init__(
        self,
        order: Order,
        look: Callable[[], list[GateState]],
        attempt: Callable[[], None],
        is_over: Callable[[], bool] = lambda: False,
        age: float = 0.0,
    ) -> None:
        self.order = order
        self.reason = ""
        self._look = look
        self._attempt = attempt
        self._is_over = is_over
        self._until = time.monotonic() + order.timeout - age
        self._due = 0.0
        self._last: GateShut | None = None
        self._is_final = False

    def turn(self) -> bool:
        """Try, if it is time to. True once it is done; raises GateShut when it will not be."""
        if time.monotonic() < self._due:
            return False
        self._check_time()
        try:
            self._try()
        except GateShut as error:
            self.reason, self._last = error.sentence, error
            if self._is_final or time.monotonic() >= self._until:
                raise
            self._due = time.monotonic() + _AGAIN_SECONDS
            return False
        return True

    def _check_time(self) -> None:
        """Whoever runs it may have slept, or was paused, since the last try, or since before the first: then nobody waits any more."""
        late = time.monotonic() - self._until
        if self._last is not None and late >= 0:
            raise self._last
        if late > WAITED_SECONDS:
            raise GateShut("its time was over before it was begun; nothing was handed over", hint="give it again")

    def end(self) -> None:
        """If this try is of no avail, no other one will be."""
        self._is_final = True

    def _try(self) -> None:
        try:
            self._check()
            self._attempt()
        except Exception as error:
            if self._is_over() or not passes(error):
                raise
            raise GateShut(
                f"it was not possible just then ({_spoken(error)}); nothing was handed over", hint="try again"
            ) from None

    def _check(self) -> None:
        state = shut(self._look())
        if state is not None:
            self._is_final = state.name not in _PASSES
            raise GateShut(f"{state.sentence}; nothing was handed over", hint=state.hint)
