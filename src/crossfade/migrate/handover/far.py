"""The far side of a migration: the one that keeps no control state. Files, or a database whose twin is another one.

Whatever the far side says of the authority is a copy of the route in the control database, which is the truth.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from crossfade.migrate.handover.steps import Step


@dataclass(frozen=True)
class Leftover:
    """One thing that a crash left, and what ends it."""

    name: str
    sentence: str
    cure: str


class Far(Protocol):
    """What a hand-over needs of the far side. ``retire`` comes before the decision, where the authority leaves it; ``open``
    and ``mark`` after it. *kinds* are named as the route names them.
    """

    @property
    def names(self) -> tuple[str, str]:
        """What people call it, and the other side."""

    def steps(self, *, leaves: bool) -> tuple[Step, ...]:
        """The steps of a hand-over; *leaves* says that the authority is here until then."""

    def make(self, leaving: tuple[str, ...]) -> None:
        """Have there what a hand-over needs, of which the kinds *leaving* leave this side. Raises PhaseForbids."""

    def unmake(self) -> None:
        """Take back what costs something."""

    def fence(self, kinds: tuple[str, ...]) -> None:
        """Have writers ask the control database about *kinds*."""

    def unfence(self) -> None:
        """Have them do as before."""

    def closed(self, seconds: float) -> AbstractContextManager[None]:
        """Keep writers out; those in flight are waited for. Raises GateShut where that takes longer than *seconds*."""

    def noted(self, seconds: float) -> list[bytes]:
        """While it is closed: the paths of what it got, as far as the follower does not hear of them by itself."""

    def retire(self, kinds: tuple[str, ...]) -> None:
        """While it is closed: nobody writes *kinds* here from now on, whatever becomes of the decision."""

    def take_back(self) -> None:
        """There was no decision: writers go on here. Not while anything is closed."""

    def open(self) -> None:
        """While it is closed: have it follow the decision, so that writers may be let in."""

    def mark(self) -> None:
        """Have it say what is decided; let go of what was for the other direction."""

    def left(self, *, is_turned: bool) -> list[Leftover]:
        """What a crash left; *is_turned* says that some kinds, or all, have left their side of the plan."""

    def mend(self) -> None:
        """End that, as the migration's runner. Safe to repeat."""

    def clear_up(self) -> list[Leftover]:
        """Complete what an earlier fault, now over, kept this runner from completing; what that was."""

    def leave(self) -> None:
        """The migration ends here with nothing handed over."""
