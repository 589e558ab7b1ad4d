"""How much the look at everything may cost, which goes on beside the following: a share of one core, by what else there is to do."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from crossfade.migrate.follow import sweep
from crossfade.migrate.follow.dirty import Dirty
from crossfade.migrate.follow.sweep import Sweep

MINUTE = 60.0


class Clock:
    """Time as a test has it pass, and how much of it the thread has worked."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.worked = 0.0

    def monotonic(self) -> float:
        return self.now

    def thread_time(self) -> float:
        return self.worked


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The sweep's."""
    clock = Clock()
    monkeypatch.setattr(sweep, "time", clock)
    return clock


def paths(clock: Clock, count: int) -> Iterator[None]:
    """So many paths that are in step, each of which costs a millisecond."""
    for _ in range(count):
        clock.worked += 0.001
        yield None


@pytest.mark.parametrize(
    ("is_sought", "is_short", "is_hurried", "share"),
    [
        (False, False, False, 0.1),
        (True, False, False, 0.25),
        (False, True, False, 0.02),
        (True, True, False, 0.1),
        (False, True, True, 0.5),
    ],
    ids=["at rest", "something was missed", "following waits", "both", "somebody waits for it"],
)
def test_a_round_keeps_to_its_share_of_a_core(clock: Clock, is_sought: bool, is_short: bool, is_hurried: bool, share: float):
    """However large the tree is."""
    found = Sweep(lambda: paths(clock, 1_000_000), is_short=lambda: is_short)
    if is_sought:
        dirty = Dirty()
        dirty.miss()
        found.make_good(dirty)
    began = clock.now
    while clock.now < began + MINUTE:
        if is_hurried:
            found.hurry()
        found.slice(clock.now)
        clock.now += 0.001

    assert clock.worked / MINUTE == pytest.approx(share, rel=0.05)


@pytest.mark.parametrize(("count", "rest_seconds"), [(10, 5.0), (2_000, 20.0)])
def test_after_a_round_it_rests_as_long_as_that_took_and_not_too_little(clock: Clock, count: int, rest_seconds: float):
    """The thousands of paths of a small tree, again and again, would be all that is done."""
    found = Sweep(lambda: paths(clock, count))
    while found.rounds == 0:
        found.slice(clock.now)
        clock.now += 0.01
    ended, worked = clock.now, clock.worked
    while clock.worked == worked:
        found.slice(clock.now)
        clock.now += 0.01

    assert clock.now - ended == pytest.approx(rest_seconds, abs=1.0)
