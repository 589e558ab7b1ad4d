"""The soak programs in a short form: what they show in minutes, a few seconds of it in every run of the tests."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from bench.running import workplace
from bench.server import Bench, bench
from crossfade.observe.failpoints import FAILPOINTS
from soak import (
    appender,
    judging,
    program,
    soak_crashes,
    soak_idle,
    soak_lag,
    soak_overhead,
    soak_rounds,
    soak_watching,
    soak_writer,
)
from soak.scenarios import SCENARIOS, Scenario
from soak.stage import Stage
from soak.table import printed


@pytest.fixture(scope="module")
def server() -> Iterator[Bench]:
    """A soak's server."""
    with workplace() as place, bench(place) as running:
        yield running


def test_a_program_that_knows_nothing_of_crossfade_writes_and_dies_and_the_target_is_the_same(server: Bench):
    """And so does the follower, which is paused as well: all at random, the seed in the output."""
    options = soak_writer.options_of(["--seconds", "15", "--rate", "700", "--every", "2.5"])
    figures = soak_writer.soaked(server, options)
    print(json.dumps(figures | {"seed": options.seed}))

    assert figures["operations"] > 1_000
    assert figures["follower_kills"] >= 1
    assert figures["follower_pauses"] >= 1
    assert figures["writer_deaths"] >= 1
    assert figures["lines"] > 1_000
    assert figures["target"] == "identical"


def test_a_writer_that_died_catches_up_with_what_its_death_cost(tmp_path: Path):
    """The pace is that of the whole soak: with a pace anew for each life, every death would make it slower."""
    program.plant(tmp_path / "live")
    tally = program.Tally(tmp_path / "tally")
    writer, now = program.Program(tmp_path / "live", 1, tally, dies=False), time.monotonic()
    writer.work(now + 1.0, 20.0, now - 9.0)  # since then it was dead

    assert 190 <= tally.count <= 201


def test_a_soak_that_was_slower_than_it_should_be_says_so_unless_it_is_a_short_one():
    """2,000 operations a second for a minute are what it is to show."""
    full, short = soak_writer.options_of([]), soak_writer.options_of(["--seconds", "6"])

    assert "1,530 operations a second were done, 2,000 are wanted" in soak_writer.too_slow(_done(1_530), full)
    assert soak_writer.too_slow(_done(1_995), full) == ""
    assert soak_writer.too_slow(_done(1_530), short) == ""


def _done(rate: int) -> dict[str, int]:
    return {"operations_per_second": rate}


def test_the_lag_is_of_marked_writes_that_another_connection_sees(server: Bench):
    """Every marked event and every new document arrives; how soon is no business of a test."""
    figures = soak_lag.measured(
        server, soak_lag.options_of(["--seconds", "2", "--rate", "500", "--others", "300", "--cpu-max", "100"])
    )

    assert figures["events_ms"]["count"] == 200
    assert figures["new_documents_ms"]["count"] == 10
    assert 0 < figures["events_ms"]["p50"] <= figures["events_ms"]["p99"] <= figures["events_ms"]["max"]
    assert "events_ms.p99" in printed(figures)


def test_the_rate_of_the_lag_is_that_of_the_time_that_writing_took():
    """A program that is late catches up, and comes to as many events as it would have in time."""

    class Slow:
        def append(self, _number: int, _marker: str = "") -> None:
            time.sleep(0.02)

        def make(self, _marker: str) -> None:
            """Takes no time."""

    options = argparse.Namespace(seconds=0.1, rate=100.0, marked=10.0, files=10.0)
    written, took = appender._append(Slow(), options)  # type: ignore[arg-type]

    assert written == 10
    assert took >= 0.2


def test_a_lag_that_is_too_long_is_no_success():
    """Less than 500 ms for events and for new documents, at the rate that is wanted; a short soak only shows that it is measured."""
    full, short = soak_lag.options_of([]), soak_lag.options_of(["--seconds", "59"])

    assert soak_lag.too_late(_lagged(499.9, 499.9, 4_990), full) == ""
    assert "events_ms: 500.0 ms (p99), less than 500 are wanted" in soak_lag.too_late(_lagged(500.0, 10.0, 5_000), full)
    assert "new_documents_ms: 500.0 ms" in soak_lag.too_late(_lagged(10.0, 500.0, 5_000), full)
    assert "4,900 events a second were written, 5,000 are wanted" in soak_lag.too_late(_lagged(10.0, 10.0, 4_900), full)
    assert soak_lag.too_late(_lagged(900.0, 900.0, 100), short) == ""


def _lagged(events: float, documents: float, rate: int) -> dict[str, Any]:
    return {"events_per_second": rate, "events_ms": {"p99": events}, "new_documents_ms": {"p99": documents}}


def test_a_loss_that_is_too_great_is_no_success():
    """Less than 5 % in the median of ten pairs of 20 s; fewer or shorter ones only show that it is measured."""
    full = soak_overhead.options_of([])

    assert soak_overhead.too_dear({"loss_percent": 4.99}, full) == ""
    assert "5.0 % less was done" in soak_overhead.too_dear({"loss_percent": 5.0}, full)
    for words in (["--pairs", "9"], ["--seconds", "19"]):
        assert soak_overhead.too_dear({"loss_percent": 9.0}, soak_overhead.options_of(words)) == ""


@pytest.mark.parametrize(
    ("soak", "figures", "why"),
    [
        (soak_lag, _lagged(612.0, 10.0, 5_000), "events_ms: 612.0 ms"),
        (soak_overhead, {"loss_percent": 7.1}, r"7\.1 % less"),
    ],
)
def test_who_misses_a_goal_ends_with_what_is_wrong(
    soak: ModuleType, figures: dict[str, Any], why: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """Once the figures are printed."""
    monkeypatch.setattr(soak, "bench", nullcontext)
    monkeypatch.setattr(soak, "measured", lambda *_: figures)

    with pytest.raises(SystemExit, match=why):
        soak.main(["--json"])
    assert json.loads(capsys.readouterr().out).items() >= figures.items()


@pytest.mark.parametrize(
    ("reached", "lost", "twice", "why"),
    [
        (True, 1, 0, "1 lost, 0 twice; not reached: nothing"),
        (True, 0, 2, "0 lost, 2 twice; not reached: nothing"),
        (False, 0, 0, "0 lost, 0 twice; not reached: copy, files → database: postgres.page:after"),
        (True, 0, 0, ""),
    ],
)
def test_what_is_lost_or_twice_or_not_died_at_is_no_success(
    reached: bool, lost: int, twice: int, why: str, monkeypatch: pytest.MonkeyPatch
):
    """However few scenarios were asked for."""

    def died(_server: object, scenario: Scenario, _places: Sequence[str] = ()) -> Iterator[soak_crashes.Death]:
        yield soak_crashes.Death(scenario, "postgres.page:after", reached, 0, lost, twice)

    monkeypatch.setattr(soak_crashes, "bench", nullcontext)
    monkeypatch.setattr(soak_crashes, "died", died)
    words = ["--json", "--only", "copy, files"]
    if not why:
        soak_crashes.main(words)
        return

    with pytest.raises(SystemExit, match=why):
        soak_crashes.main(words)


def test_the_authority_goes_round_while_two_processes_write_and_both_sides_are_the_same_after_each(server: Bench):
    """No write fails, none is lost, none comes twice. How long they waited is measured as their writers saw it."""
    figures = soak_rounds.gone_round(server, soak_rounds.options_of(["--rounds", "2", "--events", "500"]))
    print(json.dumps(figures))

    assert figures["writes"] > 100
    assert 0 < figures["longest_write_ms"]["median"] <= figures["longest_write_ms"]["max"]
    assert (figures["hold_ms"]["count"], figures["longest_write_ms"]["count"]) == (4, 2)
    assert figures["slowest_round"] in (1, 2)
    assert figures["sides"] == "identical after each round"
    assert figures["rounds_compared"] == 2


def test_the_longest_write_of_a_round_is_the_longest_of_all_its_time(tmp_path: Path):
    """Also of a write long before or after a hand-over; but none that had returned before the round began."""
    (tmp_path / "one.slow").write_text("98.0 1.5\n100.5 0.02\n109.9 0.4\n")
    (tmp_path / "two.slow").write_text("103.0 0.03\n")

    assert soak_rounds._longest(tmp_path, 100.0) == 0.4
    assert soak_rounds._longest(tmp_path, 111.0) == 0.0


def test_the_slowest_round_is_the_one_with_the_longest_write():
    assert soak_rounds.Hold(seen=[20.0, 90.0, 30.0]).slowest_round == 2


def test_where_every_hand_over_was_done_before_its_runner_was_killed_nobody_waited():
    hold = soak_rounds.Hold()
    assert (soak_rounds._spread(hold.said), soak_rounds._spread(hold.seen), hold.slowest_round) == ({}, {}, None)


@pytest.mark.parametrize(
    ("arguments", "longest", "nearly", "is_told"),
    [
        ([], 250.1, 100.0, True),
        ([], 250.0, 100.0, False),
        (["--rounds", "9"], 250.1, 250.1, False),
        (["--kill", "0.3"], 250.1, 250.1, False),
        (["--rounds", "200"], 300.0, 250.0, False),
        (["--rounds", "200"], 300.0, 250.1, True),
    ],
)
def test_a_hold_that_is_too_long_is_no_success(arguments: list[str], longest: float, nearly: float, is_told: bool):
    """At most 250 ms in each of ten rounds, and for p99 of two hundred; writers wait longer for a runner who is dead."""
    figures = {"longest_write_ms": {"p99": nearly, "max": longest}, "slowest_round": 7}
    assert bool(soak_rounds.too_long(figures, soak_rounds.options_of(arguments))) is is_told


@pytest.mark.parametrize(
    ("title", "places"), [("follow, files → database", ()), ("roll back, files → database", ("file.append:before",))]
)
def test_dying_while_following_loses_nothing_and_repeats_nothing(server: Bench, title: str, places: tuple[str, ...]):
    """At each place that it passes, while a program writes; what it was told is done is there once. Or in the midst of a hand-over."""
    (scenario,) = soak_crashes.chosen(title)
    deaths = list(soak_crashes.died(server, scenario, places, each=False))

    assert [death.place for death in deaths if not death.reached] == []
    assert [(death.lost, death.twice) for death in deaths] == [(0, 0)] * len(deaths)
    assert min(death.acknowledged for death in deaths) > 20
    assert f"{len(deaths)} deaths, 0 lost, 0 twice" in soak_crashes.matrix(deaths)


def test_a_restore_that_dies_is_one_of_the_migration_that_filled_the_store(server: Bench):
    """Its files have vanished, and come back into the same directory; a copy into another one would be no restore."""
    (scenario,) = soak_crashes.chosen("restore")
    stage = Stage(server, scenario, "restored_soak")
    stage.set_up()
    try:
        status = soak_crashes._ended(server, stage, {"CROSSFADE_FAILPOINT": "file.rename:after@2"})
        assert (status, server.run("SELECT phase FROM restored_soak.migrations")) == (-9, [("restoring",)])
    finally:
        stage.tear_down()


def test_a_restore_that_died_is_compared_with_what_was_there_and_its_copy_goes_on(server: Bench):
    """The same command brings all of it back, and the copy brings no record again. Or so the soak has found out."""
    (scenario,) = soak_crashes.chosen("restore")
    (death,) = soak_crashes.died(server, scenario, ["file.rename:after"])

    assert (death.reached, death.lost, death.twice) == (True, 0, 0)


@pytest.mark.parametrize("title", ["copy, database → files", "restore, database → files"])
def test_what_comes_out_of_the_database_is_compared_with_what_was_there(server: Bench, title: str):
    """Two directories out of one database are the same even where both are wrong."""
    (scenario,) = soak_crashes.chosen(title)
    stage = Stage(server, scenario, "compared_soak")
    stage.set_up()
    try:
        assert soak_crashes._ended(server, stage, {}) == 0
        stage.compare()
        (stage._planted / "sessions/s1.json").write_text("{}")
        with pytest.raises(SystemExit, match=r"content +sessions/s1.json"):
            stage.compare()
    finally:
        stage.tear_down()


def test_who_writes_files_in_a_hand_over_dies_around_every_file_that_it_writes():
    """A cut-over of a database and a roll back to files bring over what is left, as whoever follows does."""
    for title in ("cut over, database → files", "roll back, files → database"):
        (scenario,) = soak_crashes.chosen(title)
        places = soak_crashes.places_of(scenario)

        written = ("postgres.intents", "file.append", "file.sync", "file.directory", "postgres.marks")
        assert {f"{name}:after" for name in written} <= set(places)
        assert len(places) == len(set(places))


def test_each_failpoint_is_in_some_scenario():
    """A place where nobody dies is one of which nobody knows whether it is safe; others have tests of their own."""
    named = {name for scenario in SCENARIOS for name in scenario.places}
    elsewhere = {"journal.spool", "file.aside", "postgres.route"}  # test_spool.py, test_drift.py, test_handover_databases.py

    assert named | elsewhere == set(FAILPOINTS)


def test_what_following_costs_the_program_is_measured_in_pairs(server: Bench):
    """How much it is depends on the machine; that both were measured, and who used what, does not."""
    figures = soak_overhead.measured(server, soak_overhead.options_of(["--pairs", "1", "--seconds", "1", "--others", "50"]))

    assert figures["loss_percent_range"][0] == figures["loss_percent"] == figures["loss_percent_range"][1] < 100
    assert figures["processor_percent_of_one"]["runner"] > 0


def test_what_following_costs_while_nobody_writes_is_measured(server: Bench):
    """As above."""
    figures = soak_idle.measured(server, soak_idle.options_of(["--seconds", "1", "--files", "50"]))

    assert figures["first_look_seconds"] >= 0
    assert figures["processor_percent_of_one"]["runner"] > 0


def test_what_being_watched_costs_is_measured_in_both_ways(tmp_path: Path):
    """As above."""
    figures = soak_watching.measured(tmp_path / "live", soak_watching.options_of(["--rounds", "1", "--seconds", "0.5"]))

    assert set(figures["loss_percent"]) == {"looked_at", "waited_for"}
    assert max(figures["loss_percent"].values()) < 100


def test_a_line_that_is_missing_is_found(tmp_path: Path):
    """The judges' own test: one line more, one log more, a last line without an end."""
    log = tmp_path / "events" / "r" / "j.jsonl"
    log.parent.mkdir(parents=True)
    log.write_bytes(b"{}\n\n{}")
    assert judging.lines_in(tmp_path) == {b"events/r/j.jsonl": 3}
    assert judging.first_difference({b"a": 1}, {b"a": 1}) == ""
    assert judging.first_difference({b"a": 1}, {b"a": 2}) == "a: 1 lines, 2 rows"
    assert judging.first_difference({b"a": 1}, {}) == "a: 1 lines, None rows"
