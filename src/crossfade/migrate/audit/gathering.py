"""What happens often becomes few lines: a burst of retries is one with a count, a throttle has a beginning and an end.

Plain values and times that are handed in; nothing here waits or writes.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from crossfade.store.backends.postgres.journal import Line

BURST_QUIET_SECONDS = 3.0
"""A burst of retries is over when none came for so long."""

BURST_TOLD_SECONDS = 10.0
"""One that goes on is told after this time, and then after twice as long each time: an outage of a day makes a dozen lines."""

THROTTLE_QUIET_SECONDS = 10.0
"""A throttle has ended when nothing was held back for so long."""


@dataclass
class _Burst:
    """Faults that were tried again since the last telling."""

    since: float
    last: float
    faults: Counter[str] = field(default_factory=Counter)
    told: int = 0

    def is_over(self, now: float) -> bool:
        return now - self.last >= BURST_QUIET_SECONDS

    def is_due(self, now: float) -> bool:
        return self.is_over(now) or now - self.since >= BURST_TOLD_SECONDS * 2**self.told


@dataclass
class _Throttle:
    """An episode in which the work was held back, and the seconds that each reason cost."""

    last: float
    seconds: dict[str, float] = field(default_factory=dict)


class Gathering:
    """Takes what happens, gives what is to be said. Times are seconds of one clock that never goes back."""

    def __init__(self) -> None:
        self._burst: _Burst | None = None
        self._throttle: _Throttle | None = None
        self._items: Counter[str] = Counter()
        self._pages = 0
        self._said: list[Line] = []

    def say(self, line: Line) -> None:
        """A line as it is."""
        self._said.append(line)

    def retry(self, fault: str, now: float) -> None:
        """*fault*, a class and a code, is being tried again."""
        if self._burst is None:
            self._burst = _Burst(now, now)
        self._burst.faults[fault] += 1
        self._burst.last = now

    def throttle(self, reason: str, seconds: float, now: float) -> None:
        """The work waits so many *seconds*, because of *reason*."""
        if self._throttle is None:
            self._throttle = _Throttle(now)
        if reason not in self._throttle.seconds:
            self.say(Line("throttled", {}, reason))
        self._throttle.seconds[reason] = self._throttle.seconds.get(reason, 0.0) + seconds
        self._throttle.last = max(now + seconds, self._throttle.last)

    def quarantined(self, kind: str, items: int) -> None:
        """A page left *items* of a kind in quarantine."""
        self._items[kind] += items
        self._pages += 1

    def due(self, now: float) -> list[Line]:
        """What is to be said by *now*, in the order in which it began."""
        self._tell_items()
        if self._burst is not None and self._burst.is_due(now):
            self._tell_burst(self._burst, now)
        if self._throttle is not None and now - self._throttle.last >= THROTTLE_QUIET_SECONDS:
            self._tell_throttle(self._throttle)
        said, self._said = self._said, []
        return said

    def end(self, now: float) -> list[Line]:
        """All that is left to be said: nothing more will happen."""
        if self._burst is not None:
            self._tell_burst(self._burst, now)
        if self._throttle is not None:
            self._tell_throttle(self._throttle)
        self._burst = None
        return self.due(now)

    def _tell_items(self) -> None:
        if self._items:
            self.say(Line("quarantined", {"items": dict(self._items), "pages": self._pages}))
            self._items, self._pages = Counter(), 0

    def _tell_burst(self, burst: _Burst, now: float) -> None:
        if burst.faults:
            detail = {"faults": dict(burst.faults), "count": burst.faults.total(), "seconds": round(now - burst.since, 1)}
            self.say(Line("retried", detail, f"after {burst.faults.most_common(1)[0][0]}"))
        self._burst = None if burst.is_over(now) else _Burst(now, burst.last, told=burst.told + 1)

    def _tell_throttle(self, throttle: _Throttle) -> None:
        seconds = {reason: round(lost, 3) for reason, lost in throttle.seconds.items()}
        self.say(Line("throttle ended", {"seconds": seconds}, max(seconds, key=lambda reason: seconds[reason])))
        self._throttle = None
