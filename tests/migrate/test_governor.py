"""Keeping out of the way: what is decided is bounded and monotone and comes to rest; what is done keeps to the ceiling."""

from __future__ import annotations

import json
import multiprocessing
import os
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.conninfo import make_conninfo

from crossfade.migrate.audit.scribe import Scribe
from crossfade.migrate.governor import Ceiling, Governor
from crossfade.migrate.plan import CPU_PERCENT
from crossfade.migrate.telling import Teller
from crossfade.migrate.throttle import gate as gates
from crossfade.migrate.throttle import machine
from crossfade.migrate.throttle.gate import Gate, Pause, booked, owed
from crossfade.migrate.throttle.judge import AFTERWARDS, Signal, Stance, judge, waited_by_others
from crossfade.migrate.throttle.machine import Machine, cpu_seconds_of, limits_above, quota_of, stalled_of
from crossfade.migrate.throttle.sample import FLOOR, LAST, MARKS, Health, Sample, signals_of
from crossfade.migrate.throttle.server import Ever, ServerWatch, archive_lag
from crossfade.observe.progress import Progress
from support.running import wait_for
from support.servers import NAMES, Database
from support.stores import MIGRATION, claimed

SHARES = st.floats(LAST, 1.0)
SECONDS = st.floats(0.0, 100.0)


@st.composite
def samples(draw: st.DrawFn, at: float = 0.0) -> Sample:
    """Anything that can be seen, or not be seen."""
    share = st.none() | st.floats(0.0, 1.0)
    health = Health(
        draw(st.none() | st.integers(0, 9)), draw(st.none() | st.floats(0.0, 99.0)), draw(st.none() | st.floats(0.0, 1e12))
    )
    return Sample(at, 2.0, 0.0, draw(share), draw(share), draw(st.none() | st.floats(0.0, 9.0)), health)


# What is decided


@given(SHARES, samples(), SECONDS)
def test_a_share_is_never_nothing_and_never_more_than_all(share: float, sample: Sample, seconds: float):
    """Work goes on, however bad it is; and it says why it is slow exactly when it is."""
    found = judge(Stance(share), signals_of(sample), seconds)
    assert LAST <= found.share <= 1.0
    if found.share < share:
        assert found.reason in {reason for *_, reason in MARKS.values()}
    if found.share == 1.0:
        assert not found.reason


@given(SHARES, samples(), SECONDS, st.sampled_from([*MARKS]), st.floats(0.0, 1e12))
def test_more_pressure_never_gives_more(share: float, sample: Sample, seconds: float, name: str, more: float):
    """Whatever else is seen, from the same stance and over the same time."""
    signals = signals_of(sample)
    at = [*MARKS].index(name)
    worse = [*signals]
    worse[at] = replace(signals[at], value=(signals[at].value or 0.0) + more)
    assert judge(Stance(share), worse, seconds).share <= judge(Stance(share), signals, seconds).share


@given(SHARES, samples())
def test_all_comes_back_once_the_pressure_has_ended(share: float, sample: Sample):
    """Within twenty seconds, and then nothing is said any more."""
    stance = judge(Stance(share), signals_of(sample), 1.0)
    for _ in range(25):
        stance = judge(stance, signals_of(Sample(0.0, 2.0, 0.0, 0.0, 0.0)), 1.0)
    assert stance == Stance()


@given(SHARES)
def test_what_does_not_get_better_by_our_resting_is_not_waited_for_for_ever(share: float):
    """A replica that is behind on purpose: next to nothing for a minute, then a fifth, and all of it when it is over."""
    stance, late = Stance(share), signals_of(Sample(0.0, 2.0, 0.0, 0.0, health=Health(0, 3600.0)))
    for _ in range(30):
        stance = judge(stance, late, 1.0)
    assert stance.share == pytest.approx(LAST)
    for _ in range(60):
        stance = judge(stance, late, 1.0)
    assert stance.share == pytest.approx(AFTERWARDS)
    for _ in range(20):
        stance = judge(stance, signals_of(Sample(0.0, 2.0, 0.0, 0.0)), 1.0)
    assert stance == Stance()


@given(SHARES, st.floats(0.051, 0.119))
def test_between_the_marks_nothing_moves_except_out_of_the_cellar(share: float, waited: float):
    """That is what keeps it from swinging: a pressure between low and high changes nothing."""
    signals = signals_of(Sample(0.0, 2.0, 0.0, waited))
    found = judge(Stance(share, "before"), signals, 1.0)
    assert found.share == share if share >= FLOOR else share < found.share <= FLOOR


@given(st.floats(0.0, 0.2), st.floats(0.0, 1.0))
def test_a_load_that_answers_to_ours_settles(others: float, ours: float):
    """The pressure is what others make, and what we do: after a minute the share holds still, or moves one way only."""
    stance, shares = Stance(), []
    for _ in range(200):
        stance = judge(stance, signals_of(Sample(0.0, 2.0, 0.0, min(others + ours * stance.share, 1.0))), 1.0)
        shares.append(stance.share)
    late = shares[60:]
    turns = sum((b - a) * (c - b) < 0 for a, b, c in zip(late, late[1:], late[2:], strict=False))
    assert turns == 0, late


@given(st.floats(0.0, 5.0), st.floats(0.0, 5.0))
def test_our_own_waiting_is_no_pressure(some: float, ours: float):
    """Or a process that gives way would throttle itself for giving way."""
    found = waited_by_others(min(some, 1.0), ours)
    assert 0.0 <= found <= 1.0
    assert found <= some
    assert waited_by_others(some, some) == 0.0


@given(st.floats(-9.0, 99.0), st.floats(0.0, 64.0), st.floats(-1.0, 1e6), st.floats(0.0, 1e6))
def test_what_is_owed_only_shrinks_with_time_and_saves_a_second_at_most(
    debt: float, allowed: float, one: float, more: float
):
    """And a clock that goes back pays nothing."""
    first, second = owed(debt, allowed, one), owed(debt, allowed, max(one, 0.0) + more)
    assert second <= first
    assert min(debt, -gates.SAVED_SECONDS * allowed) <= first <= max(debt, 0.0)


@given(st.floats(0.0, 1e6), st.floats(0.001, 1e6), st.lists(st.floats(0.0, 10.0), max_size=20))
def test_turns_follow_one_another(clock: float, now: float, pages: list[float]):
    """No page's stretch begins before the one before it ends, or so long ago that a pause could be made up for."""
    for seconds in pages:
        until = booked(clock, now, seconds)
        assert until >= clock or until >= now - gates.LATE_SECONDS + seconds - 1e-6
        assert until >= now - gates.LATE_SECONDS
        clock = until


def test_the_marks_leave_room_and_the_target_counts_most():
    """Low is below high, or a share would swing between two seconds."""
    for low, high, floor, reason in MARKS.values():
        assert low < high
        assert 0 < LAST <= floor < 1
        assert reason
    signals = [Signal(1.0, 0.1, 0.2, FLOOR, "machine"), Signal(1.0, 0.1, 0.2, LAST, "target")]
    assert judge(Stance(), signals, 1.0).reason == "target"


# What is seen


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("max 100000", None), ("50000 100000", 0.5), ("-1 100000", None), ("", None), ("150000 100000\n", 1.5)],
)
def test_quotas_of_both_kinds_of_control_groups(text: str, wanted: float | None):
    """``cpu.max`` of the second kind; quota and period of the first, put into a line."""
    assert quota_of(text) == wanted


def test_the_smallest_limit_above_counts(tmp_path: Path):
    """A container within a container has what the outer one leaves it."""
    inner = tmp_path / "outer" / "inner"
    inner.mkdir(parents=True)
    (tmp_path / "outer" / "cpu.max").write_text("50000 100000\n")
    (inner / "cpu.max").write_text("max 100000\n")
    first = tmp_path / "cpu" / "jail"
    first.mkdir(parents=True)
    (first / "cpu.cfs_quota_us").write_text("75000\n")
    (first / "cpu.cfs_period_us").write_text("100000\n")

    assert limits_above("0::/outer/inner\n", str(tmp_path)) == [0.5]
    assert limits_above("4:memory:/x\n1:cpu,cpuacct:/jail\n0::/\n", str(tmp_path)) == [0.75]


def test_pressure_is_read_as_the_kernel_writes_it():
    """The first line, its total, in microseconds."""
    text = "some avg10=0.83 avg60=18.27 avg300=33.99 total=2839397580\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n"
    assert stalled_of(text) == pytest.approx(2839.39758)
    assert stalled_of("") is None


def test_the_archive_is_behind_by_what_is_written_since_its_last_segment():
    """Segment 3 of the second stretch of 4 GiB ends 64 MiB in; names of other files in the archive say nothing."""
    segment = float(16 << 20)
    assert archive_lag(2**32 + 5.5 * segment, "000000010000000100000003", segment) == 1.5 * segment
    assert archive_lag(2**32, "000000010000000100000003", segment) == 0.0
    assert archive_lag(1.0, None, segment) is None
    assert archive_lag(1.0, "00000002.history", segment) is None
    assert archive_lag(None, "000000010000000100000003", segment) is None


def test_a_look_at_this_machine_adds_up():
    """What a child has used is ours, also once it is gone; and nothing that grows ever shrinks."""
    machine = Machine()
    before = machine.look()
    child = multiprocessing.get_context("spawn").Process(target=_burn, args=(0.4,))
    child.start()
    wait_for("the child works", lambda: child.pid and cpu_seconds_of(child.pid) > 0.1)
    during = machine.look()
    child.join()
    after = machine.look()

    assert before.cpus <= multiprocessing.cpu_count()
    assert before.cpu_seconds + 0.09 <= during.cpu_seconds <= after.cpu_seconds
    assert after.cpu_seconds - before.cpu_seconds >= 0.35


def test_where_the_kernel_does_not_tell_who_waits_the_load_does(monkeypatch: pytest.MonkeyPatch):
    """That of others: what we do ourselves is taken from it. It is said that less is seen."""
    monkeypatch.setattr(machine, "_PRESSURE", "/nowhere/")
    monkeypatch.setattr(os, "getloadavg", lambda: (8.0, 0.0, 0.0))
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    looks = Machine()
    first = looks.look()
    _burn(time.process_time() + 0.3)
    second = looks.look()
    ours = (second.cpu_seconds - first.cpu_seconds) / (second.at - first.at)

    assert first.load is None
    assert (second.waited, second.unseen[0]) == (None, "who waits for processors and disks (no /proc/pressure)")
    assert ours > 0
    assert second.load == pytest.approx((8.0 - ours) / 4)
    assert judge(Stance(), signals_of(second), 1.0).reason == "others wait for the processor"
    monkeypatch.setattr(os, "getloadavg", lambda: (0.0, 0.0, 0.0))
    time.sleep(0.01)
    assert looks.look().load == 0.0


def _burn(seconds: float) -> None:
    while time.process_time() < seconds:
        pass


PURPOSES = ["abcdef012345 worker", "abcdef012345 feed", "hand-over", "drift", "ledger"]
WAITED_FOR = [(NAMES[0], purpose) for purpose in PURPOSES] + [(name, PURPOSES[0]) for name in NAMES[1:]]


@pytest.mark.parametrize(("database", "purpose"), WAITED_FOR, indirect=["database"])
def test_a_server_tells_who_waits_for_us_and_what_it_uses(database: Database, purpose: str):
    """A session of a stranger stands behind a lock of ours: that is seen, and seen to be over."""
    watch = ServerWatch(database.server, "abcdef012345")
    with ExitStack() as held:
        held.callback(watch.close)
        ours = held.enter_context(database.server.connect(purpose))
        database.run(f"CREATE SCHEMA {database.location.schema}", "CREATE TABLE wanted (x int)")
        ours.execute(psycopg.sql.SQL("LOCK TABLE {}.wanted").format(psycopg.sql.Identifier(database.location.schema)))
        ours.execute("SELECT sum(length(md5(n::text))) FROM generate_series(1, 200000) AS n")
        stranger = held.enter_context(database.connect())
        waiting = held.enter_context(_in_background(lambda: stranger.execute("SELECT * FROM wanted")))
        watch.begin()

        wait_for("it is seen", lambda: watch.health().blocked)
        assert watch.health().blocked == 1
        assert watch.health().cpu_seconds > 0.01
        assert watch.health().replica_lag_seconds is None
        ours.rollback()
        wait_for("it is over", lambda: watch.health().blocked == 0)
        assert waiting.is_alive() is False or wait_for("it goes on", lambda: not waiting.is_alive())


PARALLEL = [(NAMES[0], "abcdef012345 worker", True), (NAMES[0], "fedcba543210 worker", False)]
PARALLEL += [(name, "ledger", True) for name in NAMES]


@pytest.mark.parametrize(("database", "purpose", "is_ours"), PARALLEL, indirect=["database"])
def test_who_works_beside_a_session_works_for_whom_that_works(database: Database, purpose: str, is_ours: bool):
    """An index that is built in parallel costs what its builders use, and none of them was opened by anybody."""
    watch = ServerWatch(database.server, "abcdef012345")
    with ExitStack() as held:
        held.callback(watch.close)
        session = database.server.connect(purpose) if is_ours else _in_another_process(database, purpose)
        held.callback(session.close)
        setting = "debug_parallel_query" if session.info.server_version >= 160000 else "force_parallel_mode"
        session.execute(f"SET {setting} = on")
        watch.begin()
        wait_for("a first look", lambda: watch.health().cpu_seconds is not None)
        before = watch.health().cpu_seconds

        def long() -> None:
            with suppress(psycopg.errors.QueryCanceled):
                session.execute("SELECT sum(length(md5(n::text))) FROM generate_series(1, 100000000) AS n")

        with _in_background(long):
            beside = "SELECT count(*) FROM pg_stat_activity WHERE leader_pid = %s"
            wait_for("somebody beside it", lambda: database.one(beside, session.info.backend_pid))
            time.sleep(4.5)  # longer than between three looks
            used = watch.health().cpu_seconds - before
            session.cancel()
    assert used > 0.5 if is_ours else used < 0.3


def _in_another_process(database: Database, purpose: str) -> psycopg.Connection:
    """A session that bears a name of ours, and was opened by nobody here."""
    secret = {"password": database.server.secret} if database.server.secret else {}
    return psycopg.connect(database.server.conninfo, application_name=f"crossfade {purpose}", **secret)


@pytest.mark.parametrize("purpose", ["abcdef012345 validate", "ledger", "fedcba543210 worker", "writer"])
def test_what_others_use_of_the_server_is_not_charged_to_a_run(database: Database, purpose: str):
    """Who validates while it is followed, another migration, and a program: a follower would stand still to pay for them."""
    watch = ServerWatch(database.server, "abcdef012345")
    with ExitStack() as held:
        held.callback(watch.close)
        worker = held.enter_context(database.server.connect("abcdef012345 worker"))
        other = held.enter_context(_in_another_process(database, purpose))
        worker.execute("SELECT 1")
        watch.begin()
        wait_for("a first look", lambda: watch.health().cpu_seconds is not None)
        before = watch.health().cpu_seconds
        other.execute("SELECT sum(length(md5(n::text))) FROM generate_series(1, 1000000) AS n")
        time.sleep(2.5)  # longer than between two looks
        assert watch.health().cpu_seconds == pytest.approx(before, abs=0.1)


def test_what_had_the_number_of_a_process_before_is_another_one(monkeypatch: pytest.MonkeyPatch):
    """Numbers come round: a stranger's process that got that of an ended session has used what it has for somebody else."""
    began, used = {7: 100.0, 8: 10.0}, {7: 1.0, 8: 40.0}
    monkeypatch.setattr(machine, "began_seconds_of", lambda pid: began.get(pid, 0.0))
    ever = Ever(lambda pid: used.get(pid, 0.0), since=50.0)
    ever.meet([7, 8, 9])
    used |= {7: 3.0, 8: 42.0}
    assert ever.total() == pytest.approx(5.0)
    began[7], used[7] = 200.0, 90.0
    assert ever.total() == pytest.approx(5.0)
    del began[8]
    assert ever.total() == pytest.approx(5.0)
    ever.meet([7])
    assert ever.total() == pytest.approx(95.0)


@pytest.mark.parametrize("database", NAMES, indirect=True)
def test_a_server_tells_how_far_a_replica_is_behind(database: Database):
    """By what the replica says of itself: this one tells late that it has applied what it was sent. Once it is gone, nothing lags."""
    watch = ServerWatch(database.server, "abcdef012345")
    with ExitStack() as held:
        held.callback(watch.close)
        with _replica(database) as tells:
            database.run(f"CREATE SCHEMA {database.location.schema}", "CREATE TABLE wanted (x int)")
            written = database.one("SELECT pg_current_wal_flush_lsn()::text")
            is_sent = "SELECT bool_and(sent_lsn >= %s::pg_lsn) FROM pg_stat_replication"
            wait_for("it was sent", lambda: database.one(is_sent, written))
            time.sleep(0.5)
            tells(int(str(database.one("SELECT (%s::pg_lsn - '0/0')::bigint", written))))
            watch.begin()
            lag = wait_for("it is seen", lambda: watch.health().replica_lag_seconds)
        wait_for("it is over", lambda: watch.health().replica_lag_seconds is None)
    assert 0.5 <= float(str(lag)) < 60


@contextmanager
def _replica(database: Database) -> Iterator[Callable[[int], None]]:
    """The end of a stream of changes at which a replica stands, which reads nothing; what tells that it has applied all to a place."""
    begin = database.one("SELECT pg_current_wal_flush_lsn()::text")
    secret = {"password": database.server.secret} if database.server.secret else {}
    words = make_conninfo(database.server.conninfo, replication="database", **secret)
    connection = psycopg.pq.PGconn.connect(words.encode())
    answer = connection.exec_(f"START_REPLICATION PHYSICAL {begin}".encode())
    assert answer.status == psycopg.pq.ExecStatus.COPY_BOTH, answer.error_message

    def tell(place: int) -> None:
        connection.put_copy_data(b"r" + struct.pack("!QQQQB", place, place, place, 0, 0))
        connection.flush()

    try:
        yield tell
    finally:
        connection.finish()


class _in_background:  # noqa: N801 - reads as what it is
    """Something that waits, in a thread."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._thread = threading.Thread(target=work, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self._thread

    def __exit__(self, *_: object) -> None:
        self._thread.join(5)


# What is done


class Seen:
    """Samples as they are set: a machine that can be made busy. With *due*, it was looked at long ago, every time."""

    def __init__(self, *, due: bool = False, **values: object) -> None:
        self.values = values
        self.used = 0.0
        self._due = due
        self._at = time.monotonic() - 1e6

    def __call__(self) -> Sample:
        self._at += 2.0
        at = self._at if self._due else time.monotonic()
        return Sample(**{"at": at, "cpus": 2.0, "cpu_seconds": self.used, **self.values})  # type: ignore[arg-type]


def test_work_that_costs_more_than_its_part_has_to_rest():
    """A quarter of two processors is half a second of one in each second: a second of work is paid off in two."""
    governor = Governor(Ceiling(CPU_PERCENT), Seen())

    pause = governor.pace(1.0)

    assert pause.seconds == pytest.approx(2.0, abs=0.2)
    assert pause.reason == "--cpu-max, 25 % of 2 processors"
    assert governor.reason == pause.reason
    assert governor.seconds_total == pytest.approx(pause.seconds)


def test_a_pause_is_bounded_and_the_rest_stands_over():
    """A huge piece of work does not stop everything for minutes, and is paid off in the end."""
    governor = Governor(Ceiling(10.0), Seen())
    assert governor.pace(3.0).seconds == gates.PAUSE_SECONDS_MAX
    assert governor.pace(0.0).seconds == gates.PAUSE_SECONDS_MAX


@pytest.mark.parametrize(("owed", "is_brief"), [(0.05, True), (2.0, True), (3.0, False)])
def test_whoever_is_waited_for_pays_little_by_little(owed: float, is_brief: bool):
    """Half a processor pays two seconds of one off in four: a wait of that length would be four seconds of lag.

    What is more than a whole pause pays off is waited for, so the ceiling holds in the long run.
    """
    gate = Gate(multiprocessing.get_context("spawn"))
    gate.allow(2.0, CPU_PERCENT, Stance())
    gate.charge(owed)
    told: list[Pause] = []
    began = time.monotonic()
    gate.wait(0, 0, stop=lambda: time.monotonic() - began > 0.8, tell=told.append, last_page_at=time.monotonic())
    waited = time.monotonic() - began

    assert (waited < 0.7) is is_brief
    assert (told[0].seconds <= gates.BRIEF_SECONDS) is is_brief
    assert (gate.pause().seconds > 0) is (owed > 1)


@pytest.mark.parametrize(("owed", "seconds"), [(0.4, 0.0), (2.0, gates.BRIEF_SECONDS), (2.7, 5.4 - gates.PAUSE_SECONDS_MAX)])
def test_time_that_passed_since_the_last_page_was_a_rest(owed: float, seconds: float):
    """Whoever waits for news between two pages has rested, and brings them at once when they come, while little is owed."""
    gate = Gate(multiprocessing.get_context("spawn"))
    gate.allow(2.0, CPU_PERCENT, Stance())
    gate.charge(owed)
    told: list[Pause] = []
    gate.wait(0, 0, stop=lambda: bool(told), tell=told.append, last_page_at=time.monotonic() - 60)

    assert sum(pause.seconds for pause in told) == pytest.approx(seconds, abs=0.05)


def test_processors_are_short_while_something_is_owed():
    """Also where nobody rests for it: longer beats, and a shorter look at everything, pay it off."""
    seen = Seen()
    governor = Governor(Ceiling(CPU_PERCENT), seen)
    assert not governor.is_short
    governor.gate.charge(10.0)
    assert governor.is_short


def test_what_was_used_in_a_quiet_hour_is_not_owed_at_its_end():
    """Nobody looked in between: the share of that time pays for what was used in it, and no second of it is paid twice."""
    gate = Gate(multiprocessing.get_context("spawn"))
    gate.allow(2.0, 50.0, Stance())
    gate.pause()
    time.sleep(2.5)
    gate.charge(2.3)
    assert gate.pause() == Pause()
    gate.charge(1.0)
    assert gate.pause().seconds > 0
    gate.charge(-9.0)
    assert gate.charged == pytest.approx(3.3)


def test_what_was_not_used_is_gone_after_the_next_look():
    """A second of it is saved, not more."""
    gate = Gate(multiprocessing.get_context("spawn"))
    gate.allow(2.0, 50.0, Stance())
    gate.pause()
    time.sleep(1.5)
    gate.forget()
    gate.charge(1.3)
    assert gate.pause().seconds == pytest.approx(0.3, abs=0.1)


def test_without_a_ceiling_nothing_is_held_back():
    """A copy takes what it gets, and its cost is measured all the same."""
    seen = Seen(waited=1.0, health=Health(blocked=3))
    governor = Governor(Ceiling(), seen)
    seen.used = 5.0
    assert governor.pace(5.0) == Pause()
    assert governor.reason == ""
    assert governor.overhead().ours > 0


def test_what_nobody_told_is_charged_when_it_is_seen():
    """The server's work for us, and the runner's own: each second of it once."""
    seen = Seen(due=True)
    governor = Governor(Ceiling(50.0), seen)
    governor.pace(1.0)
    seen.used = 1.0
    governor.pace(0.0)
    assert governor.gate.charged == pytest.approx(1.0)
    seen.used = 3.0
    governor.pace(0.5)
    assert governor.gate.charged == pytest.approx(3.0)
    seen.used = 3.5
    governor.pace(0.0)
    assert governor.gate.charged == pytest.approx(3.5)


def test_a_busy_machine_is_said_to_be_busy():
    """The reason is the pressure's, not the ceiling's, and it goes when the pressure goes."""
    seen = Seen(due=True, waited=0.9)
    governor = Governor(Ceiling(50.0), seen)
    seen.used = 1.0
    assert governor.pace(1.0).reason == "others wait for the processor"
    seen.values["waited"] = 0.0
    for _ in range(20):
        governor.look()
    seen.used = 2.0
    assert governor.pace(1.0).reason == "--cpu-max, 50 % of 2 processors"


def test_what_was_charged_twice_is_given_back():
    """A part of the work tells its cost, by a clock that goes on while others are at work; and the whole process's is told, too."""
    seen = Seen(due=True)
    governor = Governor(Ceiling(50.0), seen)
    seen.used = 1.0
    assert governor.pace(30.0).seconds == pytest.approx(1.0, abs=0.1)
    assert governor.gate.charged == pytest.approx(1.0)


def test_who_rests_for_the_sake_of_others_goes_on_once_they_do_not_suffer_any_more():
    """It looks while it waits: what it owes would be a minute at the rate of when it began."""
    seen = Seen(due=True, waited=0.9)
    governor = Governor(Ceiling(100.0), seen)
    for _ in range(10):
        governor.look()
    seen.used = 20.0
    governor.look()
    assert governor.gate.pause().seconds == gates.PAUSE_SECONDS_MAX
    seen.values["waited"] = 0.0
    began = time.monotonic()
    governor.turn(stop=lambda: time.monotonic() > began + 30, tell=lambda _: None)
    assert time.monotonic() - began < 20


def test_a_part_has_a_budget_of_its_own_within_the_whole():
    """It rests long before the following has to; and what it used is not used twice."""
    governor = Governor(Ceiling(50.0), Seen())
    part = governor.part(0.2)

    pause = part.pace(0.1)

    assert pause.seconds == pytest.approx(0.5, abs=0.1)
    assert governor.gate.charged == pytest.approx(0.1)
    assert governor.pace(0.0).seconds <= 0.1


def test_a_rate_that_was_wished_is_kept_at_once():
    """Whoever waits for a turn under the old rate books anew under the new one."""
    governor = Governor(Ceiling(), Seen())
    governor.hear({"records_per_second": 1.0, "bytes_per_second": 0.0, "cpu_max": None})
    heard: list[Pause] = []
    began = time.monotonic()
    with _in_background(lambda: governor.gate.wait(100, 1, stop=lambda: False, tell=heard.append)) as waiting:
        wait_for("it waits", lambda: heard)
        governor.hear({"records_per_second": 1000.0, "bytes_per_second": 0.0, "cpu_max": None})
        waiting.join(5)

        assert not waiting.is_alive()
    assert time.monotonic() - began < 5
    assert list(dict.fromkeys(pause.reason for pause in heard)) == [
        "--rate-limit, 1 records/s",
        "--rate-limit, 1,000 records/s",
    ]


@pytest.mark.parametrize("why", ["a rate", "what is owed"])
def test_whoever_waits_long_says_so_each_second(why: str):
    """By each word a status learns how far behind it is by then."""
    gate = Gate(multiprocessing.get_context("spawn"))
    if why == "a rate":
        gate.change(1.0, 0.0)
    else:
        gate.allow(1.0, 50.0, Stance())
        gate.charge(30.0)
    heard: list[Pause] = []
    began = time.monotonic()
    gate.wait(60, 0, stop=lambda: time.monotonic() - began > 2.5, tell=heard.append)

    assert 2 <= len(heard) <= 3
    assert all(pause.seconds == pytest.approx(1.1) for pause in heard), "what is not waited for in the end is not told"


def test_a_wish_that_is_not_new_changes_nothing():
    """The row is read every second; a clock that was set back each time would keep no rate."""
    governor = Governor(Ceiling(), Seen())
    wishes = {"records_per_second": 10.0, "bytes_per_second": 0.0}
    governor.hear(wishes)
    first = governor.gate.book(10, 0)
    governor.hear(dict(wishes))
    second = governor.gate.book(10, 0)
    assert first.seconds == pytest.approx(1.0, abs=0.05)
    assert second.seconds == pytest.approx(2.0, abs=0.05)


def test_whoever_is_told_to_stop_stops_waiting():
    """Ctrl-C is not throttled."""
    gate = Gate(multiprocessing.get_context("spawn"))
    gate.change(1.0, 0.0)
    gate.allow(1.0, 1.0, Stance())
    gate.charge(60.0)
    began = time.monotonic()
    gate.wait(100, 0, stop=lambda: time.monotonic() - began > 0.2, tell=lambda _: None)
    assert time.monotonic() - began < 2


def test_a_reason_is_shown_while_it_holds_and_not_longer(database: Database):
    """A line that moves again says nothing of what held it back; how long that was is still told, and told once."""
    claimed(database)
    shown: list[Progress] = []
    scribe = Scribe(database.server, database.location.schema, MIGRATION)
    teller = Teller(shown.append, scribe)
    teller.throttled("busy", 0.0)
    teller.tell(at_once=True)
    teller.paused(Pause(0.3, "busy"))
    teller.throttled("busy", 0.2)
    teller.show(Progress(step="validating"))
    time.sleep(1.4)
    teller.tell(at_once=True)
    scribe.close()

    assert [progress.throttled for progress in shown] == ["", "busy", "busy", ""]
    assert shown[-1].throttled_seconds == pytest.approx(0.3, abs=0.01)
    assert [event for (event,) in database.all("SELECT event FROM journal ORDER BY seq")] == [
        "claimed",
        "throttled",
        "throttle ended",
    ]


WORKING = """
import json, sys, time
from crossfade.migrate.audit.scribe import Scribe
from crossfade.migrate.governor import Ceiling, Governor
from crossfade.migrate.throttle.machine import Machine

machine = Machine()
governor = Governor(Ceiling(float(sys.argv[1])), machine.look)
print("begins", flush=True)
began, spent = time.monotonic(), time.process_time()
while time.monotonic() - began < 30:
    until = time.process_time() + 0.01
    while time.process_time() < until:
        pass
    cost, spent = time.process_time() - spent, time.process_time()
    time.sleep(governor.pace(cost).seconds)
"""


@pytest.mark.parametrize("percent", [20.0, 8.0])
def test_the_ceiling_holds_beside_a_busy_machine(percent: float):
    """Measured from outside, by the kernel's counts, over five seconds, with somebody else who takes what there is.

    It may use less, where it gives way; it never uses more.
    """
    with ExitStack() as held:
        busy = held.enter_context(subprocess.Popen([sys.executable, "-c", "while True: pass"]))
        held.callback(busy.kill)
        working = held.enter_context(
            subprocess.Popen([sys.executable, "-c", WORKING, str(percent)], stdout=subprocess.PIPE, text=True)
        )
        held.callback(working.kill)
        assert working.stdout is not None
        assert working.stdout.readline() == "begins\n"
        time.sleep(0.5)
        began, used = time.monotonic(), cpu_seconds_of(working.pid)
        time.sleep(5)
        share = (cpu_seconds_of(working.pid) - used) / (time.monotonic() - began)
    allowed = Machine().look().cpus * percent / 100
    print(json.dumps({"allowed": allowed, "used": round(share, 3)}))
    assert share <= allowed * 1.1 + 0.01
    assert share >= allowed * FLOOR * 0.5, "it never stops either"
