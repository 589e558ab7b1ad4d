"""Carrying out an order: the steps in their order, undone in reverse where one fails before the decision, tried again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

import psycopg

from crossfade.errors import CrossfadeError, GateShut
from crossfade.migrate.handover.gates import GateState, shut
from crossfade.migrate.handover.order import Order
from crossfade.migrate.handover.steps import Step

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


def carry_out(steps: tuple[Step, ...], doer: Doer, is_decided: Callable[[], bool]) -> None:
    """Do *steps*. What fails before the decision leaves everything as it was; behind it, it is raised, to be completed.

    *is_decided* asks the database, where the answer to the decision was not heard.
    """
    begun: list[Step] = []
    try:
        for step in steps:
            begun.append(step)
            _do(step, doer, is_decided)
    except Undecided:
        raise
    except BaseException:
        if begun[-1].part != "after":
            for step in reversed(begun):
                doer.undo(step.name)
        raise
    finally:
        doer.release()


def _do(step: Step, doer: Doer, is_decided: Callable[[], bool]) -> None:
    try:
        doer.act(step.name)
    except psycopg.OperationalError:
        if step.part != "decision":
            raise
        if not _heard(is_decided):
            raise


def _heard(is_decided: Callable[[], bool]) -> bool:
    try:
        return is_decided()
    except (psycopg.Error, CrossfadeError):
        raise Undecided from None


class Attempts:
    """The tries of one order. *look* gives the gates as they are now, *attempt* does the steps once."""

    def __init__(self, order: Order, look: Callable[[], list[GateState]], attempt: Callable[[], None]) -> None:
        self.order = order
        self.reason = ""
        self._look = look
        self._attempt = attempt
        self._until = time.monotonic() + order.timeout
        self._due = 0.0
        self._is_final = False

    def turn(self) -> bool:
        """Try, if it is time to. True once it is done; raises GateShut when it will not be."""
        if time.monotonic() < self._due:
            return False
        try:
            self._check()
            self._attempt()
        except GateShut as error:
            self.reason = error.sentence
            if self._is_final or time.monotonic() >= self._until:
                raise
            self._due = time.monotonic() + _AGAIN_SECONDS
            return False
        return True

    def _check(self) -> None:
        state = shut(self._look())
        if state is not None:
            self._is_final = state.name not in _PASSES
            raise GateShut(f"{state.sentence}; nothing was handed over", hint=state.hint)
