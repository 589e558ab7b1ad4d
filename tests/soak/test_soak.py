"""The soak programs in a short form: what they show in minutes, a few seconds of it in every run of the tests."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.running import workplace
from bench.server import Bench, bench
from crossfade.observe.failpoints import FAILPOINTS
from soak import judging, program, soak_crashes, soak_lag, soak_overhead, soak_rounds, soak_watching, soak_writer
from soak.scenarios import SCENARIOS
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


def test_the_authority_goes_round_while_two_processes_write_and_both_sides_are_the_same_after_each(server: Bench):
    """No write fails, none is lost, none comes twice. How long they waited is measured as their writers saw it."""
    figures = soak_rounds.gone_round(server, soak_rounds.options_of(["--rounds", "2", "--events", "500"]))
    print(json.dumps(figures))

    assert figures["writes"] > 100
    assert 0 < figures["longest_write_ms"]["median"] <= figures["longest_write_ms"]["max"]
    assert figures["sides"] == "identical after each round"
    assert figures["rounds_compared"] == 2


def test_where_every_hand_over_was_done_before_its_runner_was_killed_nobody_waited():
    hold = soak_rounds.Hold()
    assert (soak_rounds._spread(hold.seen), hold.slowest_round) == ({}, None)


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
