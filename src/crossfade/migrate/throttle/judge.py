"""How much of its share crossfade takes, decided on samples alone.

Each signal has a high and a low mark. Above a high mark the share shrinks, second by second, down to a floor; it grows to
the whole again once every signal is below its low mark; in between it stays. So a load that answers to ours settles between the marks instead
of swinging. The idea of several signals of which the first is named is gh-ost's; that a throttle must say why, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

SHRINK = 0.7
"""What is left of the share after a second above a high mark."""

GROW = 0.05
"""What comes back with each second below all low marks: all of it after twenty."""

PATIENCE_SECONDS = 60.0
"""How long next to nothing is done for somebody's sake. What is no better by then is not of our making: a replica that is
behind on purpose, an archive that fails."""

AFTERWARDS = 0.2
"""The share that is taken from then on, at least."""

_SECONDS_MAX = 5.0
"""A sample that comes late counts as one of so many seconds: nothing was seen in between."""


@dataclass(frozen=True)
class Signal:
    """Something that tells of a strain. *value* is None where it cannot be seen; *floor* is the share that is always left."""

    value: float | None
    low: float
    high: float
    floor: float
    reason: str


@dataclass(frozen=True)
class Stance:
    """How much of its share is taken now, 0 < ``share`` <= 1, and why it is not all of it.

    ``low_seconds`` is how long it has been next to nothing.
    """

    share: float = 1.0
    reason: str = ""
    low_seconds: float = 0.0

    def tidied(self) -> Stance:
        """The same; one that takes all has no reason."""
        return self if self.share < 1.0 else Stance()


def judge(stance: Stance, signals: Sequence[Signal], seconds: float) -> Stance:
    """The stance after *seconds* of what *signals* say. Monotone: a higher value never gives a larger share."""
    seen = [(signal, signal.value) for signal in signals if signal.value is not None]
    span = min(max(seconds, 0.0), _SECONDS_MAX)
    strained = [signal for signal, value in seen if value >= signal.high]
    least = AFTERWARDS if stance.low_seconds >= PATIENCE_SECONDS else 0.0
    floor = min((max(signal.floor, least) for signal, value in seen if value > signal.low), default=1.0)
    reason = min(strained, key=lambda signal: signal.floor).reason if strained else stance.reason
    low = 0.0 if floor == 1.0 else stance.low_seconds + (span if strained and stance.share < AFTERWARDS else 0.0)
    if stance.share < floor:
        return Stance(min(stance.share + GROW * span, floor), reason, low).tidied()
    if strained:
        return Stance(max(stance.share * SHRINK**span, floor), reason, low).tidied()
    return replace(stance, low_seconds=low).tidied()


def waited_by_others(some: float, ours: float) -> float:
    """The share of time in which somebody else waited for a processor: at least what is left without our own waiting.

    *some* is what the kernel says: the share of time in which anybody waited. *ours* may be more than 1, for several waited.
    """
    return min(max(some - ours, 0.0), 1.0)
