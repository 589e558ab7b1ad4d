"""The end of waiting: raised wherever a command stands, and never once what was waited for is there."""

from __future__ import annotations

import signal
import time

import pytest

from crossfade.console import deadline
from crossfade.console.deadline import Deadline, TimeIsUp


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadline, "_LATE_SECONDS", 0.05)


def test_what_does_not_end_is_interrupted():
    began = time.monotonic()
    with pytest.raises(TimeIsUp), Deadline(0.1) as until:
        time.sleep(30)
    assert time.monotonic() - began < 20
    assert until.is_over


def test_what_was_met_is_not_interrupted():
    """What comes after, closing down a server for one, takes as long as it takes."""
    with Deadline(0.0) as until:
        until.met()
        time.sleep(0.3)
    assert until.is_over


@pytest.mark.parametrize("seconds", [None, 1e12])
def test_what_is_far_away_is_not_over(seconds: float | None):
    with Deadline(seconds) as until:
        assert not until.is_over


def test_an_alarm_of_somebody_else_goes_on():
    """Of what runs a test, for one."""
    heard: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, _: heard.append(number))
    timed = signal.setitimer(signal.ITIMER_REAL, 60.0)
    try:
        with Deadline(1.0):
            pass
        left, _ = signal.getitimer(signal.ITIMER_REAL)
        assert 50 < left <= 60
        signal.raise_signal(signal.SIGALRM)
        assert heard == [signal.SIGALRM]
    finally:
        signal.setitimer(signal.ITIMER_REAL, *timed)
        signal.signal(signal.SIGALRM, before)
