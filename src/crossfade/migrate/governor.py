"""Keeping out of the way of those who work: a part of the machine's processors, less of it where others suffer.

What is decided is decided in ``throttle.judge`` and ``throttle.gate``, on values; this looks, remembers, and tells. A governor
without a ceiling holds nothing back, and only measures.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from crossfade.migrate.plan import Manner
from crossfade.migrate.throttle.gate import PAUSE_SECONDS_MAX, Gate, Pause, owed
from crossfade.migrate.throttle.judge import Stance, judge
from crossfade.migrate.throttle.machine import Machine
from crossfade.migrate.throttle.sample import Sample, signals_of
from crossfade.migrate.throttle.server import ServerWatch
from crossfade.store.backends.postgres.server import Server

_LOOK_SECONDS = 1.0
_SHORT_SECONDS = 2.0
_NICE = 10


@dataclass(frozen=True)
class Ceiling:
    """How much of the machine's processors may be used; None governs nothing."""

    cpu_percent: float | None = None


@dataclass(frozen=True)
class Overhead:
    """What a run has cost: shares of all processors, in percent. ``postgres`` is None where the server cannot be seen."""

    seconds: float
    cpus: float
    ours: float
    postgres: float | None
    unseen: tuple[str, ...]

    def values(self) -> dict[str, Any]:
        """As a report shows it."""
        postgres = None if self.postgres is None else round(self.postgres, 2)
        return {
            "cpu_percent": round(self.ours, 2),
            "postgres_cpu_percent": postgres,
            "cpus": self.cpus,
            "not_seen": list(self.unseen),
        }


class Governor:
    """Says after each piece of work how long to rest. *sample* looks at the machine and the server.

    For any thread of one process; *gate* is what workers in other processes keep to.
    """

    def __init__(
        self, ceiling: Ceiling, sample: Callable[[], Sample], gate: Gate | None = None, watch: ServerWatch | None = None
    ) -> None:
        self.gate = gate or Gate(multiprocessing.get_context("spawn"))
        self.seconds_total = 0.0
        self._ceiling = ceiling
        self._sample = sample
        self._watch = watch
        self._stance = Stance()
        self._heard: dict[str, Any] = {}
        self._lock = threading.RLock()
        self._spent = time.process_time()
        self._rest_until = 0.0
        self._reason = ""
        self._first = self._last = sample()
        self._apply()

    @property
    def reason(self) -> str:
        """Why the work rests now; nothing while it is free to go on."""
        return self._reason if time.monotonic() < self._rest_until else ""

    @property
    def is_short(self) -> bool:
        """True where something is owed, or work had to rest within the last seconds: there is less than it could use."""
        return time.monotonic() - self._rest_until < _SHORT_SECONDS or self.gate.pause().seconds > 0

    def pace(self, cost_seconds: float, records: int = 0, size: int = 0) -> Pause:
        """After work that has cost so many seconds of a processor, or before a page of so much: rest so long, and why.

        A pause is at most five seconds; what it does not pay off stands over, and comes with the next.
        """
        self.gate.charge(cost_seconds)
        self.look()
        pause = max(self.gate.book(records, size), self.gate.pause(), key=lambda found: found.seconds)
        return self._noted(Pause(min(pause.seconds, PAUSE_SECONDS_MAX), pause.reason))

    def part(self, share: float) -> Part:
        """A budget within this one, for work that must not keep the rest waiting."""
        return Part(self, share)

    def turn(
        self,
        records: int = 0,
        size: int = 0,
        *,
        stop: Callable[[], bool],
        tell: Callable[[Pause], None],
        last_page_at: float | None = None,
    ) -> None:
        """Wait for the turn of a page of so much, and until nothing is owed, also not what this process used; or until *stop*.

        *tell* hears of each second of that, and why; *last_page_at* is the gate's. It goes on looking meanwhile: who
        waits for others' sake goes on once they do not suffer any more.
        """

        def over() -> bool:
            self.look()
            return stop()

        with self._lock:
            spent, self._spent = self._spent, time.process_time()
            self.gate.charge(self._spent - spent)
        self.gate.wait(records, size, stop=over, tell=lambda pause: tell(self._noted(pause)), last_page_at=last_page_at)

    def look(self) -> None:
        """Look at the machine and the server, if it was a second ago; take more or less from now on."""
        if time.monotonic() - self._last.at < _LOOK_SECONDS:
            return
        with self._lock:
            if self._watch is not None:
                self._watch.begin()
            before, self._last = self._last, self._sample()
            if self._ceiling.cpu_percent is None:
                return
            self._stance = judge(self._stance, signals_of(self._last), self._last.at - before.at)
            self._charge_the_rest()
            self._apply()

    def change(
        self, rate_records: float | None = None, rate_bytes: float | None = None, cpu_percent: float | None = None
    ) -> None:
        """Keep to other limits from now on; None leaves one as it is, 0.0 takes a rate's limit away."""
        with self._lock:
            if rate_records is not None or rate_bytes is not None:
                records, size = self.gate.rates
                self.gate.change(
                    records if rate_records is None else rate_records, size if rate_bytes is None else rate_bytes
                )
            if cpu_percent is not None:
                self._ceiling = Ceiling(cpu_percent)
                self._apply()

    def hear(self, wishes: dict[str, Any]) -> None:
        """Keep to what was wished, where it is another thing than the last time: the names are those of ``limits_of``."""
        news = {name: value for name, value in wishes.items() if self._heard.get(name, None) != value}
        self._heard = dict(wishes)
        if news:
            self.change(news.get("records_per_second"), news.get("bytes_per_second"), news.get("cpu_max"))

    def overhead(self) -> Overhead:
        """What the run has cost since the governor was made."""
        with self._lock:
            self._last = self._sample()
        first, last = self._first, self._last
        whole = max(last.at - first.at, 1e-9) * last.cpus
        server = last.health.cpu_seconds
        postgres = None if server is None else 100 * (server - (first.health.cpu_seconds or 0.0)) / whole
        ours = 100 * (last.cpu_seconds - first.cpu_seconds) / whole
        return Overhead(last.at - first.at, last.cpus, ours, postgres, last.unseen)

    def close(self) -> None:
        """Look no more."""
        if self._watch is not None:
            self._watch.close()

    def _apply(self) -> None:
        percent = self._ceiling.cpu_percent
        self.gate.allow(self._last.cpus, 100.0 if percent is None else percent, self._stance)

    def _charge_the_rest(self) -> None:
        """What was used and not told by a worker: the runner's own, and the server's. What was told twice, or by a clock that went
        on while others were at work, is given back.
        """
        self.gate.correct(self._last.used_seconds - self._first.used_seconds)
        self.gate.forget()

    def _noted(self, pause: Pause) -> Pause:
        """*pause*, counted; two at the same time count once."""
        if pause.seconds > 0:
            with self._lock:
                now = time.monotonic()
                until = max(self._rest_until, now + pause.seconds)
                self.seconds_total += until - max(self._rest_until, now)
                self._rest_until, self._reason = until, pause.reason
        return pause


class Part:
    """A share of a governor's budget. What it uses is charged to the whole as well, so that both together keep the ceiling."""

    def __init__(self, governor: Governor, share: float) -> None:
        self._governor = governor
        self._share = share
        self._owed = 0.0
        self._paid_at = time.monotonic()

    def pace(self, cost_seconds: float) -> Pause:
        """As the governor's."""
        whole = self._governor.pace(cost_seconds)
        allowed = max(self._governor.gate.allowed * self._share, 1e-6)
        now = time.monotonic()
        self._owed = owed(self._owed, allowed, now - self._paid_at) + cost_seconds
        self._paid_at = now
        own = Pause(min(max(self._owed, 0.0) / allowed, PAUSE_SECONDS_MAX), f"{self._share:.0%} of the processors' share")
        return max(whole, own, key=lambda found: found.seconds)


def limits_of(manner: Manner) -> dict[str, Any]:
    """The limits of a run that may be wished otherwise while it goes on, by their names in the ledger."""
    return {
        "records_per_second": manner.records_per_second,
        "bytes_per_second": manner.bytes_per_second,
        "cpu_max": manner.cpu_max,
    }


def wanted_of(manner: Manner, *, once: bool, goes_on: bool = False) -> dict[str, Any]:
    """What a run keeps to, written down for whoever looks from elsewhere, or goes on with it.

    A run that *goes on* with what was begun may not delete, and takes nothing back of what its beginning was told to.
    """
    names = ["merge", "skip_unreadable", *([] if goes_on else ["delete_extra"])]
    left = {name: getattr(manner, name) for name in names}
    return {**limits_of(manner), "once": once, "error_budget": asdict(manner.budget), **left}


def governor_of(manner: Manner, server: Server, migration: str) -> Governor:
    """The governor of a run of *migration* that is carried out in that *manner*, with *server* on one of its sides."""
    watch = ServerWatch(server, migration)
    governor = Governor(Ceiling(manner.cpu_max), Machine(watch.health).look, watch=watch)
    governor.hear(limits_of(manner))
    return governor


def give_way() -> None:
    """Let others go first where processors are short: this process, and all that it starts from now on."""
    if hasattr(os, "nice") and os.nice(0) < _NICE:
        os.nice(_NICE - os.nice(0))
