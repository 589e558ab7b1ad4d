"""A hand-over's order, on values: what is undone, what is not, which gate stops it, and which verb fits which phase."""

from __future__ import annotations

import errno
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from crossfade.errors import CrossfadeError, Fenced, GateShut, TargetUnwritable
from crossfade.migrate.handover.carry import Attempts, Undecided, carry_out
from crossfade.migrate.handover.gates import Facts, GateState, gates, shut, to_end
from crossfade.migrate.handover.order import Order, Verb, ordered
from crossfade.migrate.handover.phases import forbidden
from crossfade.migrate.handover.standing import Move, Standing, move_of
from crossfade.migrate.handover.steps import steps, steps_of_databases
from crossfade.store.backends.postgres import proofs

STEPS = steps(from_files=True)
NAMES = [step.name for step in STEPS]
DECISION = NAMES.index("decide")
GOOD = Facts(
    following=True,
    in_step=True,
    lag_seconds=0.1,
    behind=2,
    proved_seconds=3600.0,
    unverified=0,
    quarantined=0,
    budget_allows=True,
    drift=0,
    from_files=True,
    still_seconds=10.0,
    writers=(),
)


class Doer:
    """Writes down what it is told, and fails where it is to fail."""

    def __init__(self, failing: str = "", error: BaseException | None = None) -> None:
        self.failing = failing
        self.error = error or GateShut("shut", hint="wait")
        self.said: list[str] = []

    def act(self, name: str) -> None:
        self.said.append(name)
        if name == self.failing:
            raise self.error

    def undo(self, name: str) -> None:
        self.said.append(f"-{name}")

    def release(self) -> None:
        self.said.append("release")


def never() -> bool:
    return pytest.fail("nobody asks")


def test_all_steps_are_done_in_their_order():
    doer = Doer()
    carry_out(STEPS, doer, never)

    assert doer.said == [*NAMES, "release"]


@pytest.mark.parametrize("name", NAMES[: DECISION + 1])
def test_what_fails_before_the_decision_is_undone_in_reverse(name: str):
    """The step that failed may have been half done, so it is undone as well."""
    doer = Doer(name)
    with pytest.raises(GateShut):
        carry_out(STEPS, doer, never)

    done = NAMES[: NAMES.index(name) + 1]
    assert doer.said == [*done, *(f"-{step}" for step in reversed(done)), "release"]


BEHIND = [
    GateShut("another runner replaces the marker", hint="try again"),
    TargetUnwritable("it is read-only", hint="mend it"),
    OSError(errno.EROFS, "Read-only file system"),
    OSError(errno.ENOSPC, "No space left on device"),
    psycopg.errors.InsufficientPrivilege("no"),
]


@pytest.mark.parametrize("error", BEHIND)
@pytest.mark.parametrize("name", NAMES[DECISION + 1 :])
def test_what_fails_behind_it_is_left_to_be_completed(name: str, error: Exception):
    """It is decided: whoever follows does the rest, in the new direction. A refusal would have the old one followed on."""
    doer = Doer(name, error)
    left = carry_out(STEPS, doer, never)

    assert doer.said == [*NAMES, "release"]
    assert list(left) == [name]


def test_a_runner_that_was_replaced_goes_on_with_nothing_behind_it():
    """The other one completes it."""
    doer = Doer(NAMES[DECISION + 1], Fenced("replaced", hint="status"))
    with pytest.raises(Fenced):
        carry_out(STEPS, doer, never)

    assert doer.said == [*NAMES[: DECISION + 2], "release"]


def test_between_databases_the_source_is_closed_before_the_decision_and_opened_after_it():
    """In between nobody may write; the other way round there would be two who may."""
    cut_over, roll_back = ([step.name for step in steps_of_databases(from_source=way)] for way in (True, False))

    assert cut_over.index("prove") < cut_over.index("retire") == cut_over.index("decide") - 1
    assert "retire" not in roll_back
    assert roll_back.index("decide") == roll_back.index("open") - 1


def test_a_source_that_was_closed_in_vain_is_given_back():
    doer = Doer("decide")
    with pytest.raises(GateShut):
        carry_out(steps_of_databases(from_source=True), doer, never)

    assert doer.said[-8:] == ["-decide", "-retire", "-prove", "-drain", "-close", "-prepare", "-check", "release"]


def test_a_decision_that_nobody_heard_is_asked_for():
    """It stands: go on. It does not: undo. Nobody knows: leave everything to whoever comes next."""
    heard, unheard, unknown = (Doer("decide", psycopg.OperationalError("gone")) for _ in range(3))
    carry_out(STEPS, heard, lambda: True)
    with pytest.raises(psycopg.OperationalError):
        carry_out(STEPS, unheard, lambda: False)

    def away() -> bool:
        raise CrossfadeError("away", hint="wait")

    with pytest.raises(Undecided):
        carry_out(STEPS, unknown, away)
    assert heard.said == [*NAMES[: DECISION + 1], "release", *NAMES[DECISION + 1 :], "release"]
    assert unheard.said[DECISION + 1 :] == ["release", *(f"-{step}" for step in reversed(NAMES[: DECISION + 1])), "release"]
    assert unknown.said == [*NAMES[: DECISION + 1], "release", "release"]


def test_nobody_waits_while_it_is_asked_for():
    """A server that is away may be away for long; a writer that asks it is told once it knows."""
    doer = Doer("decide", psycopg.OperationalError("gone"))

    def asked() -> bool:
        assert doer.said[-1] == "release"
        return True

    carry_out(STEPS, doer, asked)


def test_what_cannot_be_undone_keeps_nothing_else_from_being_undone():
    """The error that is raised is the one that it was undone for."""

    class Stuck(Doer):
        def undo(self, name: str) -> None:
            super().undo(name)
            raise OSError(28, "No space left on device")

    doer = Stuck("drain")
    with pytest.raises(GateShut):
        carry_out(STEPS, doer, never)
    assert doer.said[NAMES.index("drain") + 1 :] == [
        *(f"-{step}" for step in reversed(NAMES[: NAMES.index("drain") + 1])),
        "release",
    ]


def test_before_the_decision_a_fault_that_passes_is_waited_for():
    """As long as the order says; any other ends it at once, and so does one behind the decision."""
    met = [GateState("following", True, "it follows")]

    def fails(error: BaseException) -> None:
        raise error

    full, broken = OSError(28, "No space left on device"), OSError(5, "Input/output error")
    waiting = Attempts(Order("cutover", timeout=60.0), lambda: met, lambda: fails(full))
    assert not waiting.turn()
    assert waiting.reason == "it was not possible just then (OSError 28: No space left on device); nothing was handed over"
    with pytest.raises(GateShut):
        Attempts(Order("cutover", timeout=0.0), lambda: met, lambda: fails(full)).turn()
    with pytest.raises(OSError):
        Attempts(Order("cutover"), lambda: met, lambda: fails(broken)).turn()
    with pytest.raises(OSError):
        Attempts(Order("cutover"), lambda: met, lambda: fails(full), lambda: True).turn()


def test_a_try_is_not_made_once_the_time_is_over(monkeypatch: pytest.MonkeyPatch):
    """Whoever runs it slept since the last one: what was shut then may be open now, and nobody waits for it. A first one is made."""
    now, made = 100.0, []
    monkeypatch.setattr(time, "monotonic", lambda: now)

    def fails() -> None:
        made.append(now)
        raise GateShut("behind", hint="wait")

    waiting = Attempts(Order("cutover", timeout=60.0), list, fails)
    assert not waiting.turn()
    now = 160.0
    with pytest.raises(GateShut, match="behind"):
        waiting.turn()
    assert made == [100.0]
    assert Attempts(Order("cutover", timeout=60.0), list, lambda: None, age=70.0).turn()
    with pytest.raises(GateShut, match="its time was over before it was begun"):
        Attempts(Order("cutover", timeout=60.0), list, fails, age=81.0).turn()


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("following", {"following": False}),
        ("in step", {"in_step": False}),
        ("lag", {"lag_seconds": 5.1}),
        ("authority", {"held_by": "migration 0123 has it"}),
        ("verified", {"proved_seconds": None}),
        ("verified", {"proved_seconds": 25 * 3600.0}),
        ("verified", {"proved_seconds": -60.0}),
        ("quarantine", {"budget_allows": False}),
        ("drift", {"drift": 1}),
        ("writers", {"writers": ("prodigy (process 7)",)}),
        ("writers", {"writers": None}),
        ("still", {"still_seconds": 1.9}),
    ],
)
def test_each_gate_stops_it_with_a_way_on(name: str, bad: dict[str, object]):
    assert shut(gates(Order("cutover"), GOOD, "0123")) is None
    found = shut(gates(Order("cutover"), replace(GOOD, **bad), "0123"))

    assert found is not None
    assert (found.name, bool(found.hint)) == (name, True)


@pytest.mark.parametrize(("name", "bad"), [("in step", {"in_step": False}), ("lag", {"lag_seconds": 5.1})])
def test_an_end_is_waited_for_until_little_is_left(name: str, bad: dict[str, object]):
    """No authority changes hands, so that nothing else has to hold."""
    assert shut(to_end(Order("finish"), replace(GOOD, drift=3, proved_seconds=None), "0123")) is None
    found = shut(to_end(Order("finish"), replace(GOOD, **bad), "0123"))

    assert found is not None
    assert (found.name, bool(found.hint)) == (name, True)


@pytest.mark.parametrize(
    ("age", "is_stale"),
    [(None, True), (-60.0, True), (-0.5, False), (0.0, False), (23 * 3600.0, False), (25 * 3600.0, True)],
)
def test_a_status_calls_that_proof_stale_which_shuts_the_gate(age: float | None, is_stale: bool):
    """One that lies ahead of a clock which was set back is of no known age, and as good as none."""
    now = datetime.now(UTC)
    proved_at = None if age is None else now - timedelta(seconds=age)
    found = shut(gates(Order("cutover"), replace(GOOD, proved_seconds=age), "0123"))

    assert proofs.Standing(proved_at, None, now).is_stale == is_stale
    assert (found is not None) == is_stale


def test_who_holds_a_feed_back_does_not_hold_up_an_end():
    """A report in another database runs for hours; what is heard of is brought, and the rest is looked up past that."""
    held = replace(GOOD, lag_seconds=3600.0, behind=7, unread=7)
    assert shut(to_end(Order("finish"), held, "0123")) is None
    found = shut(to_end(Order("finish"), replace(held, behind=8), "0123"))
    assert found is not None
    assert found.name == "lag"
    turned = shut(gates(Order("rollback"), held, "0123"))
    assert turned is not None
    assert turned.name == "lag"


def test_somebody_may_vouch_for_the_writers_and_a_database_has_none():
    busy = replace(GOOD, writers=None, still_seconds=0.0)

    assert shut(gates(Order("cutover", writers_stopped=True), busy, "0123")) is None
    assert shut(gates(Order("rollback"), replace(busy, from_files=False), "0123")) is None
    assert shut(gates(Order("rollback", force=True), replace(GOOD, drift=3), "0123")) is None


def test_a_gate_that_waiting_may_open_is_waited_for_and_others_are_not():
    """Until the order's time is over."""
    lag = GateState("lag", False, "behind", "wait")
    waiting = Attempts(Order("cutover", timeout=60.0), lambda: [lag], never)
    assert not waiting.turn()
    with pytest.raises(GateShut):
        Attempts(Order("cutover", timeout=0.0), lambda: [lag], never).turn()
    with pytest.raises(GateShut):
        Attempts(Order("cutover"), lambda: [GateState("quarantine", False, "full", "look")], never).turn()


def test_an_order_is_read_as_it_was_written():
    order = Order("rollback", hold_max=0.25, only=("events",))

    assert ordered({"switch": order.values(), "cpu_max": 5}) == order
    assert ordered({}) is None


FORWARD, REVERSED = Standing(), Standing(is_reversed=True)
APART, LEFT = Standing(cut=frozenset({"events"})), Standing(is_reversed=True, cut=frozenset({"events"}))


@pytest.mark.parametrize(
    ("verb", "only", "now", "phase", "fits"),
    [
        ("cutover", (), FORWARD, "following", True),
        ("cutover", (), FORWARD, "copied", True),
        ("cutover", (), FORWARD, "copying", False),
        ("cutover", (), REVERSED, "cut-over", False),
        ("cutover", ("events",), FORWARD, "following", True),
        ("cutover", ("events",), APART, "following", False),
        ("cutover", ("events",), LEFT, "cut-over", True),
        ("rollback", (), FORWARD, "following", True),
        ("rollback", (), REVERSED, "cut-over", True),
        ("rollback", ("events",), REVERSED, "cut-over", True),
        ("rollback", ("events",), FORWARD, "following", False),
        ("rollback", ("dlq",), APART, "following", False),
        ("rollback", (), FORWARD, "rolled-back", False),
        ("finish", (), REVERSED, "cut-over", True),
        ("finish", (), LEFT, "cut-over", False),
        ("finish", (), FORWARD, "following", False),
        ("cutover", (), FORWARD, "finished", False),
        ("rollback", (), REVERSED, "finished", False),
        ("finish", (), REVERSED, "finished", False),
    ],
)
def test_each_verb_has_its_phases(verb: Verb, only: tuple[str, ...], now: Standing, phase: str, fits: bool):
    assert (forbidden(Order(verb, only=only), now, phase) == "") == fits


@pytest.mark.parametrize(
    ("verb", "only", "now", "move"),
    [
        ("cutover", (), FORWARD, Move(("",), True, REVERSED)),
        ("cutover", (), APART, Move(("",), True, REVERSED)),
        ("cutover", ("events",), FORWARD, Move(("events",), True, APART)),
        ("cutover", ("events",), LEFT, Move(("events",), False, REVERSED)),
        ("cutover", (), LEFT, Move(("events",), False, REVERSED)),
        ("rollback", (), REVERSED, Move(("",), True, FORWARD)),
        ("rollback", (), LEFT, Move(("",), True, FORWARD)),
        ("rollback", (), APART, Move(("events",), False, FORWARD)),
        ("rollback", ("events",), REVERSED, Move(("events",), True, LEFT)),
    ],
)
def test_kinds_move_by_themselves_or_with_the_rest(verb: Verb, only: tuple[str, ...], now: Standing, move: Move):
    """Whatever was moved before, a hand-over of all ends with one side that decides about everything."""
    assert move_of(verb, only, now) == move
