"""The crash matrix: ``kill -9`` just before and just after every durable call of every scenario, and the same command again.

Each time nothing that was acknowledged is lost, nothing is there twice, and both sides are the same to the byte. The last line
is one JSON object; --into FILE writes the matrix for people to read. Ends with 1 where something was lost, is twice, or was not
died at.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.running import machine, popen, say, workplace
from bench.server import Bench, bench
from crossfade.observe.failpoints import FAILPOINTS
from soak.following import Following
from soak.scenarios import SCENARIOS, Scenario
from soak.stage import Stage
from soak.table import printed

_MEANWHILE_SECONDS = 0.3


@dataclass(frozen=True)
class Death:
    """One: where, whether it was *reached*, how many events were *acknowledged* by then, and how many of them were *lost* or *twice*."""

    scenario: Scenario
    place: str
    reached: bool
    acknowledged: int
    lost: int
    twice: int


def main(arguments: Sequence[str] | None = None) -> None:
    """Die everywhere, print."""
    options = options_of(arguments)
    began = time.monotonic()
    with workplace() as place, bench(place) as server:
        about = machine(place)
        deaths = [death for scenario in chosen(options.only) for death in died(server, scenario)]
    figures = {"soak": "crashes", "machine": about} | summary(deaths) | {"seconds": round(time.monotonic() - began)}
    if options.into:
        options.into.write_text(matrix(deaths))
    if not options.json:
        print(f"{matrix(deaths)}\n{printed(figures)}")
    print(json.dumps(figures))
    if why := what_is_wrong(figures):
        raise SystemExit(why)


def what_is_wrong(figures: dict[str, Any]) -> str:
    """What is to be said where something was lost or is there twice, or where nobody could die."""
    if not (figures["lost"] or figures["twice"] or figures["not_reached"]):
        return ""
    not_reached = ", ".join(figures["not_reached"]) or "nothing"
    return f"{figures['lost']} lost, {figures['twice']} twice; not reached: {not_reached}"


def options_of(arguments: Sequence[str] | None) -> argparse.Namespace:
    """What was asked for on the command line."""
    parser = argparse.ArgumentParser("scripts/soak crashes", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print only the JSON line")
    parser.add_argument("--only", default="", metavar="WORDS", help="just the scenarios whose titles have this in them")
    parser.add_argument("--into", type=Path, metavar="FILE", help="write the matrix there, as docs/crash-matrix.md")
    return parser.parse_args(arguments)


def chosen(words: str) -> list[Scenario]:
    """The scenarios whose titles have *words* in them."""
    return [scenario for scenario in SCENARIOS if words in scenario.title]


def places_of(scenario: Scenario) -> list[str]:
    """Where it is to die, in order."""
    return [f"{name}:{side}" for name in dict.fromkeys(scenario.places) for side in ("before", "after")]


def died(server: Bench, scenario: Scenario, places: Sequence[str] = (), *, each: bool = True) -> Iterator[Death]:
    """Die at *places* of *scenario*, or at all that it passes, one after the other; what was lost or is twice by each.

    Ends where a tree differs: they are compared after *each*, or after the last.
    """
    name = f"crash_{SCENARIOS.index(scenario)}"
    say(scenario.title)
    if not scenario.follows:
        for number, place in enumerate(places or places_of(scenario)):
            yield _died_once(server, scenario, place, f"{name}_{number}")
        return
    stage = Stage(server, scenario, name)
    stage.set_up()
    try:
        with stage.follower() as follower:
            yield from _died_following(stage, scenario, follower, places or places_of(scenario), each=each)
    finally:
        stage.tear_down()


def _died_once(server: Bench, scenario: Scenario, place: str, name: str) -> Death:
    """A copy that dies, and is given again."""
    stage = Stage(server, scenario, name)
    stage.set_up()
    environment = {"CROSSFADE_FAILPOINT": f"{place}@{2 if place.startswith(('postgres.page', 'file')) else 1}"}
    reached = _ended(server, stage, environment) == -9
    if status := _ended(server, stage, {}):
        raise SystemExit(f"{scenario.title}, {place}: the same command again ended with {status}")
    stage.compare()
    lost, twice = stage.lost_and_twice()
    stage.tear_down()
    return _told(Death(scenario, place, reached, 0, lost, twice))


def _ended(server: Bench, stage: Stage, environment: dict[str, str]) -> int:
    with popen(server.place, *stage.command(), environment=environment) as process:
        process.communicate()
    return process.returncode


def _died_following(
    stage: Stage, scenario: Scenario, follower: Following, places: Sequence[str], *, each: bool
) -> Iterator[Death]:
    """A follower that dies at one place, is started again, is judged once it is in step, and dies at the next."""
    follower.arrive()
    for verb in scenario.first:
        stage.ask(verb)
    activity = stage.write()
    activity.go_on()
    begun = stage.authority
    follower.kill()
    for place in places:
        follower.arrive(**stage.failpoint(place))
        if stage.authority != begun:
            stage.ask("rollback" if scenario.verb == "cutover" else "cutover")
        reached = stage.die(follower, place)
        time.sleep(_MEANWHILE_SECONDS)
        follower.arrive()
        activity.rest()
        stage.settle(follower)
        death = Death(scenario, place, reached, len(activity.acknowledged), *stage.lost_and_twice())
        if each or place == places[-1]:
            stage.compare()
        follower.kill()
        activity.go_on()
        yield _told(death)
    activity.rest()


def _told(death: Death) -> Death:
    what = f"{death.lost} lost, {death.twice} twice, identical" if death.reached else "not reached"
    say(f"  {death.place:<24} {what}")
    return death


def summary(deaths: Sequence[Death]) -> dict[str, Any]:
    """In figures."""
    reached = [death for death in deaths if death.reached]
    return {
        "deaths": len(reached),
        "not_reached": [f"{death.scenario.title}: {death.place}" for death in deaths if not death.reached],
        "lost": sum(death.lost for death in deaths),
        "twice": sum(death.twice for death in deaths),
        "trees": "identical",
    }


def matrix(deaths: Sequence[Death]) -> str:
    """A page for people: what was done, and a line for each place with a column for each scenario."""
    scenarios = list(dict.fromkeys(death.scenario for death in deaths))
    found = {(death.scenario, death.place): death for death in deaths}
    figures = summary(deaths)
    lines = [
        "# The crash matrix",
        "",
        "Printed by `scripts/soak crashes --into docs/crash-matrix.md`; what is in it was done, not written by hand.",
        "",
        "Each cell is a process, with all its workers, that was killed (`kill -9`) just before or just after a durable call,",
        "and the same command given again. *0/0* says: none of the writes that a program was told are done is lost, none is there",
        "twice, counted by SQL; and both sides are the same to the byte, by a comparer that imports nothing of crossfade.",
        "A program writes all the while, but for a copy and a restore: what those leave in files is compared with what was there at",
        "first. A restore fills the directory of a copy whose files have vanished; the copy then goes on, and brings no record again.",
        "Whoever hands over is killed once it has begun to; at `feed.cursor`, which it passes now and then, before.",
        "Where a cell is empty, nobody was killed: that scenario does not pass the place, or passes it only beside what it is about.",
        "`postgres.route` is died at in",
        "`tests/e2e/test_handover_databases.py`, `file.aside` in `tests/e2e/test_drift.py`, `journal.spool` in `tests/faults/test_spool.py`.",
        "",
        f"{figures['deaths']} deaths, {figures['lost']} lost, {figures['twice']} twice, trees {figures['trees']}.",
        "",
        "| killed at | " + " | ".join(scenario.title for scenario in scenarios) + " |",
        "|---|" + "---|" * len(scenarios),
    ]
    for name, meaning in FAILPOINTS.items():
        for side in ("before", "after"):
            cells = [_cell(found.get((scenario, f"{name}:{side}"))) for scenario in scenarios]
            lines.append(f"| `{name}`, {side}: {meaning} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(death: Death | None) -> str:
    if death is None:
        return ""
    return f"{death.lost}/{death.twice}" if death.reached else "not reached"


if __name__ == "__main__":
    main()
