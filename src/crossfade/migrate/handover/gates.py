"""What must hold before the authority changes hands: a list of gates, decided on values, so that a rehearsal asks the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from crossfade.migrate.handover.order import Order
from crossfade.migrate.obstacles import WRITABLE
from crossfade.model.paths import text_of
from crossfade.store.backends.postgres.proofs import doubted

NAMED = 3
"""How many paths a gate names."""


@dataclass(frozen=True)
class Facts:
    """What is known of a migration that follows.

    ``in_step``: every change is heard of, and the whole was looked at since one may not have been.
    ``lag_seconds``: how far the other side is behind; None where nobody follows.
    ``behind``: how many paths may be out of step; ``unread``: how many of those are changes that a feed cannot name yet.
    ``proved_seconds``: the age of the last proof of the whole; None without one.
    ``unverified``: how many changes were applied and not verified since.
    ``drift``: how many paths somebody wrote on the side that does not decide.
    ``still_seconds``: since when nothing has happened in the files.
    ``writers``: processes that hold files open for writing; None where processes cannot be seen.
    ``unreadable``: paths that cannot be read, each with its reason.
    ``held_by``: who has the authority, where the side that is to hand it over has not.
    ``unheard``: why not all changes are heard of, where that is known.
    ``unplaceable``: why the files could not follow in their turn, where that is known.
    """

    following: bool
    in_step: bool
    lag_seconds: float | None
    behind: int
    proved_seconds: float | None
    unverified: int
    quarantined: int
    budget_allows: bool
    drift: int
    from_files: bool
    still_seconds: float
    writers: tuple[str, ...] | None
    unreadable: tuple[str, ...] = ()
    held_by: str = ""
    unheard: str = ""
    unplaceable: str = ""
    unread: int = 0


@dataclass(frozen=True)
class GateState:
    """One gate: whether it is met, and the sentence that says so; *hint* is what to type where it is not."""

    name: str
    met: bool
    sentence: str
    hint: str = ""


def gates(order: Order, facts: Facts, migration: str) -> list[GateState]:
    """Every gate of *order*, in the order in which they are looked at."""
    found = [
        _following(facts, migration),
        _authority(facts),
        _looked_over(facts, migration),
        *_readable(facts, order, migration),
        *_way_back(facts),
        _lag(order, facts, migration),
        _proof(facts, migration),
    ]
    found += [_quarantine(facts, migration), _drift(order, facts, migration)]
    return found + ([_writers(order, facts), _still(order, facts)] if facts.from_files else [])


def to_end(order: Order, facts: Facts, migration: str) -> list[GateState]:
    """What a ``finish`` waits for: that little is left to bring over, as the side that decides waits while the last of it is looked up.

    What the feed cannot name yet is looked up then, past whoever's transaction holds it back: it may run for hours.
    """
    hint = f"crossfade resume {migration}   # let it follow until it is in step, then again; or raise --timeout"
    heard = facts if facts.behind > facts.unread else replace(facts, lag_seconds=0.0)
    return [_looked_over(facts, migration), replace(_lag(order, heard, migration), hint=hint)]


def with_reasons(unreadable: Mapping[bytes, str]) -> tuple[str, ...]:
    """Paths that cannot be read, each with its reason, as ``Facts`` has them."""
    return tuple(f"{text_of(path)} ({why})" for path, why in sorted(unreadable.items()))


def shut(found: list[GateState]) -> GateState | None:
    """The first gate that is not met."""
    return next((state for state in found if not state.met), None)


def _following(facts: Facts, migration: str) -> GateState:
    sentence = "it follows" if facts.following else "nobody follows the source"
    return GateState("following", facts.following, sentence, f"crossfade resume {migration}")


def _authority(facts: Facts) -> GateState:
    """Not for waiting: only somebody else's hand-over could change it."""
    side = "files" if facts.from_files else "database"
    sentence = f"the {side} cannot hand over what is not there: {facts.held_by}" if facts.held_by else f"the {side} decides"
    return GateState("authority", not facts.held_by, sentence, "crossfade list   # the migrations that share the tree")


def _looked_over(facts: Facts, migration: str) -> GateState:
    missed = facts.unheard or "changes may have been missed, and not all was looked at since"
    sentence = "all of it was looked at" if facts.in_step else missed
    return GateState("in step", facts.in_step, sentence, f"crossfade status {migration} --watch")


def _readable(facts: Facts, order: Order, migration: str) -> list[GateState]:
    """A gate for what holds up everything, and no time will mend; none where there is nothing of that kind."""
    named = "; ".join(facts.unreadable[:NAMED])
    hint = f"let it be read, then: crossfade {order.verb} {migration}"
    return [GateState("readable", False, f"cannot be read: {named}", hint)] if facts.unreadable else []


def _way_back(facts: Facts) -> list[GateState]:
    """A gate for files that could not be written afterwards; whoever hands over looks itself, before anything is changed."""
    return [GateState("way back", False, facts.unplaceable, WRITABLE)] if facts.unplaceable else []


def _lag(order: Order, facts: Facts, migration: str) -> GateState:
    lag = facts.lag_seconds or 0.0
    sentence = f"behind by {lag:.1f} s and {facts.behind} paths (limit {order.lag_max:g} s)"
    hint = f"crossfade status {migration} --watch   # or raise --lag-max"
    return GateState("lag", lag <= order.lag_max, sentence, hint)


def _proof(facts: Facts, migration: str) -> GateState:
    if why := doubted(facts.proved_seconds):
        return GateState("verified", False, why, f"crossfade validate {migration}")
    hours = max(facts.proved_seconds or 0.0, 0.0) / 3600
    left = f"; {facts.unverified} changes since are still to be verified" if facts.unverified else ""
    return GateState("verified", True, f"proven {hours:.1f} hours ago{left}")


def _quarantine(facts: Facts, migration: str) -> GateState:
    sentence = f"{facts.quarantined} items in quarantine" if facts.quarantined else "nothing in quarantine"
    return GateState("quarantine", facts.budget_allows, sentence, f"crossfade quarantine {migration} list")


def _drift(order: Order, facts: Facts, migration: str) -> GateState:
    sentence = f"{facts.drift} paths drifted" if facts.drift else "nothing drifted"
    hint = f"crossfade drift {migration} list   # or --force, which keeps a copy of what it overwrites"
    return GateState("drift", order.force or not facts.drift, sentence, hint)


def _writers(order: Order, facts: Facts) -> GateState:
    vouch = "stop them; or --writers-stopped, if you know that none is left"
    if order.writers_stopped:
        return GateState("writers", True, "somebody vouches that no foreign writer is left")
    if facts.writers is None:
        return GateState("writers", False, "processes are not visible here, so a writer may be left", vouch)
    if facts.writers:
        return GateState("writers", False, f"files are open for writing in {', '.join(facts.writers[:3])}", vouch)
    return GateState("writers", True, "no process has a file open for writing")


def _still(order: Order, facts: Facts) -> GateState:
    if order.writers_stopped:
        return GateState("still", True, "somebody vouches that the files are left alone")
    sentence = f"the files have been still for {facts.still_seconds:.1f} s (wanted {order.settle:g} s)"
    hint = "stop what writes them; --writers-stopped, where only writers of crossfade's own are left"
    return GateState("still", facts.still_seconds >= order.settle, sentence, hint)
