"""A program that knows nothing of crossfade writes as programs do, and dies; the follower is killed again and again.

At the end the target is what the source is, byte for byte: a restore, compared by who shares no code with crossfade, and rows
counted by SQL against lines counted by a plain loop. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.content import expect
from bench.running import crossfade, machine, say, workplace
from bench.server import Bench, bench
from soak import judging, program
from soak.following import Following
from soak.table import printed

_FULL_SECONDS = 60.0
_ENOUGH = 0.99
"""So much of the wanted rate: a death in the last moment is not caught up with any more."""

_START_SECONDS = 0.1
"""A program that dies later than that before the end would come to nothing."""

_ROOM_SECONDS = 180.0
"""How long the follower may take, after the last write, until it has brought everything."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Write, kill, judge, print."""
    options = options_of(arguments)
    with workplace() as place, bench(place) as server:
        figures = {"soak": "writer", "machine": machine(place), "seed": options.seed} | soaked(server, options)
    if not options.json:
        print(printed(figures))
    print(json.dumps(figures))
    if why := too_slow(figures, options):
        raise SystemExit(why)


def too_slow(figures: dict[str, Any], options: argparse.Namespace) -> str:
    """What is to be said where so few operations a second were done that the soak shows less than it should; a short one may."""
    rate = figures["operations_per_second"]
    if options.seconds < _FULL_SECONDS or rate >= _ENOUGH * options.rate:
        return ""
    return f"{rate:,} operations a second were done, {options.rate:,.0f} are wanted: the machine is too slow, or not quiet"


def options_of(arguments: Sequence[str] | None) -> argparse.Namespace:
    """What was asked for on the command line."""
    parser = argparse.ArgumentParser("scripts/soak writer", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print only the JSON line")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rate", type=float, default=2_000, help="operations a second")
    parser.add_argument("--every", type=float, default=8, help="seconds between two deaths of a process, on average")
    parser.add_argument("--cpu-max", type=float, default=100, help="for the follower; it has a ceiling by default")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    return parser.parse_args(arguments)


def soaked(server: Bench, options: argparse.Namespace) -> dict[str, Any]:
    """The figures of one soak; ends with what is wrong, where something is."""
    say(f"seed {options.seed}")
    root, tally = server.place / "live", server.place / "tally"
    program.plant(root)
    with Following(server, "soak", root, server.url("soak"), "--cpu-max", options.cpu_max, "--grace", 60) as following:
        following.arrive()
        began = time.monotonic()
        deaths, pauses = _beset(server, root, tally, following, options)
        wrote = time.monotonic() - began
        in_step = _settled(server, root, following)
        following.stop()
        kills = following.kills
    lines = judging.lines_in(root)
    crossfade(server.place, "start", server.url("soak"), server.place / "restored", "--once", "--json")
    _compare(root, server.place / "restored")
    operations = program.Tally(tally).count
    return {
        "operations": operations,
        "seconds": round(wrote, 1),
        "operations_per_second": round(operations / options.seconds),
        "writer_deaths": deaths,
        "follower_kills": kills,
        "follower_pauses": pauses,
        "seconds_until_in_step": round(in_step, 1),
        "logs": len(lines),
        "lines": sum(lines.values()),
        "target": "identical",
    }


def _beset(server: Bench, root: Path, tally: Path, following: Following, options: argparse.Namespace) -> tuple[int, int]:
    """Let the program write, again whenever it died; kill it and the follower at random, and have the follower pause: on a machine
    however slow it is killed and pauses once at least. How often the program died, and the follower paused.
    """
    chance, deaths, pauses = random.Random(options.seed), 0, 0
    began = time.monotonic()
    until = began + options.seconds
    next_kill, next_death, next_pause = (time.monotonic() + _pause(chance, options.every) for _ in range(3))
    writer = _writer(root, tally, options, began)
    try:
        while _goes_on(until, pauses, following.kills):
            now = time.monotonic()
            if writer.poll() is not None and until - now > _START_SECONDS:
                deaths += 1
                writer = _writer(root, tally, options, began)
            if now >= next_death:
                writer.kill()
                next_death = now + _pause(chance, options.every)
            if next_kill <= now < next_pause:  # a pause that is due comes first: it waits until there is a follower to pause
                _kill(following, chance)
                next_kill = time.monotonic() + _pause(chance, options.every)
            if now >= next_pause and following.has_arrived():
                _stand_still(server, chance)
                pauses, next_pause = pauses + 1, time.monotonic() + _pause(chance, options.every)
            following.check()
            time.sleep(0.02)
        writer.wait(30)
    finally:
        writer.kill()
        writer.wait()
    return deaths, pauses


def _goes_on(until: float, *happened: int) -> bool:
    """True until its time is over, and as long as something has not happened yet."""
    return time.monotonic() < until or not all(happened)


def _stand_still(server: Bench, chance: random.Random) -> None:
    """Pause it, as from another terminal, and let it go on after a moment."""
    crossfade(server.place, "pause", "--store", server.url("soak"), "--json")
    time.sleep(chance.random())
    crossfade(server.place, "resume", "--store", server.url("soak"), "--json")


def _pause(chance: random.Random, seconds: float) -> float:
    """So many seconds on average, never none."""
    return seconds * (0.25 + 1.5 * chance.random())


def _writer(root: Path, tally: Path, options: argparse.Namespace, began: float) -> subprocess.Popen[bytes]:
    words = (
        "--seed",
        options.seed,
        "--rate",
        options.rate,
        "--seconds",
        options.seconds,
        "--began",
        began,
        "--tally",
        tally,
    )
    command = [sys.executable, program.__file__, root, *words]
    return subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL)


def _kill(following: Following, chance: random.Random) -> None:
    """Kill it wherever it is, and start it again after a moment."""
    following.kill()
    time.sleep(chance.random())
    following.start()


def _settled(server: Bench, root: Path, following: Following) -> float:
    """Wait until the rows are as many as the lines, and nothing is behind; how long that took."""
    lines = judging.lines_in(root)

    def in_step() -> bool:
        lag = following.progress().get("lag") or {"entries": 1}
        return not lag["entries"] and not judging.first_difference(lines, judging.rows_in(server, "soak"))

    try:
        return following.wait("the target in step", in_step, _ROOM_SECONDS)
    except SystemExit as error:
        raise SystemExit(f"{error}\n{judging.first_difference(lines, judging.rows_in(server, 'soak'))}") from None


def _compare(root: Path, restored: Path) -> None:
    """The independent comparer; what crossfade leaves out is left out."""
    comparer = Path(__file__).parents[1] / "scripts" / "compare_trees.py"
    excludes = ("--exclude", "**/*.checkpoint.tmp", "--exclude", "events/**/events-*.tmp")
    done = subprocess.run(
        [sys.executable, str(comparer), str(root), str(restored), *excludes], capture_output=True, check=False, text=True
    )
    expect(f"a restore\n{done.stdout[-2000:]}{done.stderr[-2000:]}", done.returncode, 0)


if __name__ == "__main__":
    main()
