"""A hold ends by itself, whatever the work inside is waiting for; and never once the decision is on its way."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from crossfade.errors import GateShut
from crossfade.migrate.handover.hold import Hold
from crossfade.store.backends.file.gate import Gate


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    (tmp_path / "tree").mkdir()
    return Gate(bytes(tmp_path / "tree"))


def test_writers_go_on_when_it_is_over_and_nothing_is_decided_any_more(gate: Gate):
    """The work does not come back to look at the clock; when it does, it is too late."""
    said: list[str] = []
    hold = Hold(0.2, lambda: said.append("given back"))
    hold.begin(gate.closed)
    with gate.entered(5):
        assert said == ["given back"]
    with pytest.raises(GateShut, match="writers would wait longer than"):
        hold.decide()
    hold.release()

    assert 0.2 <= hold.lasted < 2
    assert said == ["given back"]


def test_it_does_not_end_between_the_decision_and_its_answer(gate: Gate):
    """Whoever releases it knows the answer, or that nobody does."""
    hold = Hold(0.2, lambda: pytest.fail("it was decided"))
    hold.begin(gate.closed)
    hold.decide()
    with pytest.raises(GateShut), gate.entered(0.5):
        pytest.fail("a writer came in")
    hold.release()
    with gate.entered(0.5):
        pass
    assert hold.lasted > 0.2


def test_writers_in_flight_are_waited_for_no_longer_than_that(gate: Gate):
    """Meanwhile others wait behind the turnstile, so that it counts."""
    hold = Hold(0.2, lambda: pytest.fail("nothing is to be given back"))
    with gate.entered(), pytest.raises(GateShut):
        hold.begin(gate.closed)
    hold.release()
    time.sleep(0.3)
    assert hold.lasted >= 0.2


def test_what_cannot_be_given_back_lets_writers_go_on_all_the_same(gate: Gate):
    """They ask the database then."""

    def fails() -> None:
        raise OSError(28, "No space left on device")

    hold = Hold(0.1, fails)
    hold.begin(gate.closed)
    with gate.entered(5):
        pass
    hold.release()
