"""The look at everything, while writers wait for it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from crossfade.errors import GateShut
from crossfade.migrate.decide import Task
from crossfade.migrate.follow.sweep import Sweep

_SECONDS = 0.3


def _slowly() -> Iterator[Task | None]:
    time.sleep(_SECONDS)
    yield None


def _ignored(found: list[Task]) -> None:
    del found


def test_writers_do_not_wait_for_a_look_that_took_longer_before():
    sweep = Sweep(_slowly)
    sweep.measure(_ignored, 10.0, is_needed=True)
    began = time.monotonic()
    with pytest.raises(GateShut):
        sweep.rush(_ignored, began + _SECONDS / 2)

    assert time.monotonic() - began < _SECONDS / 3
    sweep.rush(_ignored, time.monotonic() + 10.0)
    assert sweep.rounds == 2


def test_a_look_that_takes_longer_than_writers_may_wait_is_known_before_they_do():
    sweep = Sweep(_slowly)
    with pytest.raises(GateShut):
        sweep.measure(_ignored, _SECONDS / 2, is_needed=True)


def test_where_all_is_heard_of_nothing_is_looked_at():
    sweep = Sweep(_slowly)
    sweep.measure(_ignored, 0.0, is_needed=False)
    sweep.rush(_ignored, 0.0)

    assert sweep.rounds == 0
