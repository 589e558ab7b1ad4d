"""Where the authority is, kind by kind, and what a hand-over changes of that. Plain functions on values."""

from __future__ import annotations

from dataclasses import dataclass

from crossfade.migrate.decide import Task
from crossfade.migrate.handover.order import Verb
from crossfade.migrate.inventory import Decide
from crossfade.model.entries import Entry

EVERY = ""
"""In a route, all kinds that have no route of their own."""


@dataclass(frozen=True)
class Standing:
    """*is_reversed*: the plan's target decides. *cut* are the kinds for which it is the other way round."""

    is_reversed: bool = False
    cut: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Move:
    """*kinds* change hands, as the route names them; those of the *main* direction, or those that were cut over apart."""

    kinds: tuple[str, ...]
    main: bool
    after: Standing


def move_of(verb: Verb, only: tuple[str, ...], now: Standing) -> Move | None:
    """What *verb* moves, of all kinds or *only* of some; None where nothing is to be moved that way."""
    chosen = frozenset(only)
    if (verb == "cutover") != now.is_reversed:
        return _main(chosen, now)
    kinds = chosen or now.cut
    if not kinds or not kinds <= now.cut:
        return None
    return Move(tuple(sorted(kinds)), False, Standing(now.is_reversed, now.cut - kinds))


def _main(chosen: frozenset[str], now: Standing) -> Move | None:
    if not chosen:
        return Move((EVERY,), True, Standing(not now.is_reversed))
    if chosen & now.cut:
        return None
    return Move(tuple(sorted(chosen)), True, Standing(now.is_reversed, now.cut | chosen))


def without(kinds: frozenset[str], decide: Decide) -> Decide:
    """*decide* for all but *kinds*. A directory that only one side has may be on its way with one of those: it stays."""

    def decided(one: Entry | None, other: Entry | None) -> Task | None:
        task = decide(one, other)
        if task is None or _kind_of(one, other) in kinds:
            return None
        return None if task.verb in ("remove", "stranger", "absent") and task.entry.type == "dir" else task

    return decided


def only_of(kinds: frozenset[str], decide: Decide) -> Decide:
    """*decide* for *kinds* alone."""

    def decided(one: Entry | None, other: Entry | None) -> Task | None:
        return decide(one, other) if _kind_of(one, other) in kinds else None

    return decided


def _kind_of(one: Entry | None, other: Entry | None) -> str:
    """That of the side that knows it: a tombstone keeps its kind."""
    return next((entry.kind for entry in (one, other) if entry is not None and entry.kind), "")
