"""What all workers of a run keep to together, in memory that they share: the rate, the processors' share, and what is owed.

Rates are booked ahead: each page takes its stretch of a common clock, and is applied at the stretch's end. Processor time is
owed afterwards: what was used is a debt, which the share pays off; whoever has used some waits until nothing is owed.
A gate that is held lets the page in hand pass at once, and nobody begin another.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.context import BaseContext
from typing import Any

from crossfade.migrate.plan import rate_text
from crossfade.migrate.throttle.judge import Stance
from crossfade.migrate.throttle.sample import MARKS

LATE_SECONDS = 0.25
"""How late a page may be and still begin when it should have: reading and applying take their time, and are no pause."""

SAVED_SECONDS = 1.0
"""How long a share that nobody used is kept for later."""

OWED_SECONDS_MAX = 60.0
"""No more is owed than the whole share pays off in this time."""

PAUSE_SECONDS_MAX = 5.0
"""No single pause is longer; what is owed beyond it stands over."""

BRIEF_SECONDS = 0.1
"""The longest rest between two pages of whoever others wait for, while what is owed would be paid off within a whole pause.

What the server does once in a while, an ANALYZE of its own for one, is owed at once: paid off at once, it would be seconds of lag.
"""

LITTLE_SECONDS = 1.0
"""While less is owed than is paid off in this time, time that passed since the last page was rest enough."""

_HELD_SECONDS = 0.05
_TELL_SECONDS = 1.0
"""While somebody waits, how far it is goes on being shown: the lag grows meanwhile. What was not waited for is not counted, either."""

_STEP_SECONDS = 0.1

_RECORDS, _BYTES, _CLOCK, _TURN, _CPUS, _PERCENT, _SHARE, _WHY, _OWED, _PAID_AT, _UNUSED, _CHARGED, _HELD, _AT_WORK = range(
    14
)
_REASONS = ("", *dict.fromkeys(reason for *_, reason in MARKS.values()))


@dataclass(frozen=True)
class Pause:
    """How long to wait, and why; 0.0 and nothing where there is no need to."""

    seconds: float = 0.0
    reason: str = ""


def booked(clock: float, now: float, seconds: float) -> float:
    """The end of the stretch of so many *seconds* that begins when the *clock* stands, or now. 0.0 is a clock that never ran."""
    begins = max(now - LATE_SECONDS, clock) if clock else now
    return begins + max(seconds, 0.0)


def owed(debt: float, allowed: float, passed: float) -> float:
    """What is owed of *debt*, in seconds of processors, after *allowed* of them a second were paid for so long.

    Below zero is what is saved; bounded both ways.
    """
    saved = SAVED_SECONDS * allowed
    return max(debt - allowed * max(passed, 0.0), -saved)


class Gate:
    """Shared by the workers of *context*; made by the runner, and handed to them when they are born."""

    def __init__(self, context: BaseContext) -> None:
        self._cells: Any = context.Array("d", 14)

    def change(self, records: float, size: float) -> None:
        """Keep to another rate from now on: records and bytes a second, 0.0 for no limit. Whoever waits books anew."""
        with self._cells.get_lock():
            self._cells[_RECORDS], self._cells[_BYTES] = records, size
            self._cells[_CLOCK] = 0.0
            self._cells[_TURN] += 1

    @property
    def rates(self) -> tuple[float, float]:
        """Records and bytes a second."""
        return self._cells[_RECORDS], self._cells[_BYTES]

    def allow(self, cpus: float, percent: float, stance: Stance) -> None:
        """Take so much *percent* of *cpus*, and of that the share of *stance*. All of all is no limit."""
        with self._cells.get_lock():
            self._settle(time.monotonic())
            self._cells[_CPUS], self._cells[_PERCENT], self._cells[_SHARE] = cpus, percent, stance.share
            self._cells[_WHY] = _REASONS.index(stance.reason)

    def charge(self, seconds: float) -> None:
        """So much processor time was used by somebody, not long ago: what nobody used since the last look pays first."""
        with self._cells.get_lock():
            self._charge(max(seconds, 0.0))

    def correct(self, used: float) -> None:
        """What was ever used comes to *used*: charge what is missing of that, and give back what was charged beyond."""
        with self._cells.get_lock():
            missing = used - self._cells[_CHARGED]
            if missing >= 0:
                self._charge(missing)
                return
            self._settle(time.monotonic())
            self._cells[_OWED] = max(self._cells[_OWED] + missing, min(self._cells[_OWED], 0.0))
            self._cells[_CHARGED] = used

    def _charge(self, cost: float) -> None:
        """The lock is held."""
        self._settle(time.monotonic())
        unused = min(cost, self._cells[_UNUSED])
        self._cells[_UNUSED] -= unused
        self._cells[_OWED] = min(self._cells[_OWED] + cost - unused, OWED_SECONDS_MAX * self._full)
        self._cells[_CHARGED] += cost

    def forget(self) -> None:
        """All that was used until now is charged: what was not used is gone."""
        with self._cells.get_lock():
            self._settle(time.monotonic())
            self._cells[_UNUSED] = 0.0

    @property
    def charged(self) -> float:
        """All that was ever charged."""
        return float(self._cells[_CHARGED])

    def pause(self) -> Pause:
        """How long nothing may be done, for what is owed."""
        seconds = self.owed_seconds
        return Pause(min(seconds, PAUSE_SECONDS_MAX), self._reason) if seconds else Pause()

    @property
    def owed_seconds(self) -> float:
        """How long it takes to pay off what is owed."""
        with self._cells.get_lock():
            self._settle(time.monotonic())
            return max(self._cells[_OWED], 0.0) / self._limit if self._limit else 0.0

    @property
    def _full(self) -> float:
        """Seconds of processors a second, at most."""
        return float(self._cells[_CPUS] * self._cells[_PERCENT] / 100)

    @property
    def allowed(self) -> float:
        """What of that is taken now."""
        return self._full * float(self._cells[_SHARE])

    @property
    def _limit(self) -> float:
        """The same; 0.0 where there is none."""
        is_free = self._cells[_PERCENT] >= 100 and self._cells[_SHARE] >= 1
        return 0.0 if is_free else self.allowed

    @property
    def _reason(self) -> str:
        cap = f"--cpu-max, {self._cells[_PERCENT]:g} % of {self._cells[_CPUS]:g} processors"
        return _REASONS[int(self._cells[_WHY])] or cap

    def _settle(self, now: float) -> None:
        """Pay off what the time since the last look pays. The lock is held."""
        cells = self._cells
        if not self._limit:
            cells[_OWED] = cells[_UNUSED] = 0.0
        elif cells[_PAID_AT]:
            passed = now - cells[_PAID_AT]
            left = owed(cells[_OWED], self._limit, passed)
            cells[_UNUSED] += left - (cells[_OWED] - self._limit * passed)
            cells[_OWED] = left
        cells[_PAID_AT] = now

    def book(self, records: int, size: int) -> Pause:
        """The turn of a page of so many *records* and bytes: it is to be applied when the pause is over."""
        with self._cells.get_lock():
            return self._book(records, size)

    def _book(self, records: int, size: int) -> Pause:
        limits = (self._cells[_RECORDS], records), (self._cells[_BYTES], size)
        seconds = max((amount / limit for limit, amount in limits if limit), default=0.0)
        if not seconds:
            return Pause()
        now = time.monotonic()
        self._cells[_CLOCK] = booked(self._cells[_CLOCK], now, seconds)
        return Pause(max(self._cells[_CLOCK] - now, 0.0), rate_text(*self.rates))

    # Standing still

    def hold(self, *, held: bool) -> None:
        """Let nobody begin a page from now on; or let them go on."""
        with self._cells.get_lock():
            self._cells[_HELD] = held

    @property
    def is_held(self) -> bool:
        """True while nobody is to begin a page."""
        return bool(self._cells[_HELD])

    @property
    def is_still(self) -> bool:
        """True while nobody has a page in hand."""
        return not self._cells[_AT_WORK]

    @contextmanager
    def at_work(self, stop: Callable[[], bool]) -> Iterator[None]:
        """Around work on pages: it begins once the gate is not held, or *stop*."""
        self._enter(stop)
        try:
            yield
        finally:
            self._leave()

    def rest(self, stop: Callable[[], bool]) -> None:
        """Within ``at_work``, between two pages: stand still as long as the gate is held."""
        if self.is_held:
            self._leave()
            self._enter(stop)

    def _enter(self, stop: Callable[[], bool]) -> None:
        while not self._may_enter(stop):
            time.sleep(_HELD_SECONDS)

    def _may_enter(self, stop: Callable[[], bool]) -> bool:
        with self._cells.get_lock():
            may = not self._cells[_HELD] or stop()
            self._cells[_AT_WORK] += may
            return may

    def _leave(self) -> None:
        with self._cells.get_lock():
            self._cells[_AT_WORK] -= 1

    # For workers

    def wait(
        self,
        records: int,
        size: int,
        *,
        stop: Callable[[], bool],
        tell: Callable[[Pause], None],
        last_page_at: float | None = None,
    ) -> None:
        """Wait for the turn of a page, and until nothing is owed. *tell* hears of each second of that, and why.

        Whoever others wait for says when it was done with its last page: a moment after that is enough, unless much is owed.
        Nobody waits while the gate is held: the page in hand is to be done.
        """

        def over() -> bool:
            return self.is_held or stop()

        while not over() and not self._wait_for_turn(records, size, over, tell):
            pass
        began, tells_at = time.monotonic(), 0.0
        while not over() and (pause := self._pause(began, last_page_at)).seconds:
            tells_at = _told(tell, pause, tells_at)
            time.sleep(min(pause.seconds, _STEP_SECONDS))

    def _pause(self, began: float, last_page_at: float | None) -> Pause:
        """What is left of the pause that *began* then."""
        pause = self.pause()
        if last_page_at is None or not pause.seconds:
            return pause
        since = last_page_at if self.owed_seconds < LITTLE_SECONDS else began
        brief = min(pause.seconds, since + BRIEF_SECONDS - time.monotonic())
        return Pause(max(brief, self.owed_seconds - PAUSE_SECONDS_MAX, 0.0), pause.reason)

    def _wait_for_turn(self, records: int, size: int, stop: Callable[[], bool], tell: Callable[[Pause], None]) -> bool:
        """Book, and wait for it; False where the rate was changed meanwhile."""
        with self._cells.get_lock():
            turn, pause = self._cells[_TURN], self._book(records, size)
        until, tells_at = time.monotonic() + pause.seconds, 0.0
        while (left := until - time.monotonic()) > 0 and not stop():
            if self._cells[_TURN] != turn:
                return False
            tells_at = _told(tell, Pause(left, pause.reason), tells_at)
            time.sleep(min(left, _STEP_SECONDS))
        return True


def _told(tell: Callable[[Pause], None], pause: Pause, at: float) -> float:
    """Tell of the next second of a *pause*, if it is time *at* last; when it is the next time."""
    now = time.monotonic()
    if now < at:
        return at
    tell(Pause(min(pause.seconds, _TELL_SECONDS + _STEP_SECONDS), pause.reason))
    return now + _TELL_SECONDS
