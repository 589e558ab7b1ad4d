"""How far following is: what all its directions come to, as one progress."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from crossfade.migrate.handover.gates import NAMED, with_reasons
from crossfade.observe.progress import Position, Progress


class Proved(Protocol):
    """A verified position, kept up to date."""

    @property
    def position(self) -> Position:
        """As it is shown."""


class Measured(Protocol):
    """One direction."""

    @property
    def proving(self) -> Proved:
        """Its verified position."""

    @property
    def lag_seconds(self) -> float:
        """How long it is behind."""

    @property
    def behind(self) -> int:
        """By how many paths."""

    @property
    def unread(self) -> int:
        """Of these, how many changes it knows nothing of but that they are there."""

    @property
    def behind_bytes(self) -> int:
        """By how many bytes the others are, when that was last looked at."""

    @property
    def is_in_step(self) -> bool:
        """True while every change is heard of, and all was looked at since one may not have been."""

    @property
    def still_seconds(self) -> float:
        """Since when nothing was heard of the source."""

    @property
    def unreadable(self) -> Mapping[bytes, str]:
        """What cannot be read, and why."""

    @property
    def unheard(self) -> str:
        """Why not every change is heard of; empty where it is, or not known."""


def measured(progress: Progress, lanes: Sequence[Measured]) -> Progress:
    """*progress* with what *lanes* say, the main one first."""
    return replace(
        progress,
        lag_seconds=round(max(lane.lag_seconds for lane in lanes), 3),
        behind=sum(lane.behind for lane in lanes),
        unread=sum(lane.unread for lane in lanes),
        behind_bytes=sum(lane.behind_bytes for lane in lanes),
        in_step=all(lane.is_in_step for lane in lanes),
        still_seconds=round(lanes[0].still_seconds, 1),
        unreadable=tuple(named for lane in lanes for named in with_reasons(lane.unreadable))[:NAMED],
        unheard="; ".join(filter(None, (lane.unheard for lane in lanes))),
        position=added([lane.proving.position for lane in lanes]),
    )


def added(positions: Sequence[Position]) -> Position:
    """Those of several directions as one: all that was applied, verified up to where each of them is."""
    applied, unverified = sum(p.applied for p in positions), sum(p.unverified for p in positions)
    at = min(position.verified_at for position in positions)
    return Position(applied, unverified, sum(p.unverified_bytes for p in positions), at)
