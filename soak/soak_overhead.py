"""What following costs the program that is followed: how much less it gets done while somebody follows it.

A program takes all of one processor, for some seconds with a follower and for some seconds without, in pairs whose order
alternates, so that whatever else the machine does meets both. The governor is at its default. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.cpu import of_server
from bench.running import crossfade, machine, say, workplace
from bench.server import Bench, bench
from crossfade.testing import prodigy
from soak import toiler
from soak.following import Following
from soak.table import printed

_SCHEMA = "overhead"

_FULL_PAIRS = 10
_FULL_SECONDS = 20.0
_LOSS_PERCENT = 5.0
"""Less than that must following cost, by the median of all pairs."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print."""
    options = options_of(arguments)
    with workplace() as place, bench(place) as server:
        figures = {"soak": "overhead", "machine": machine(place)} | measured(server, options)
    if not options.json:
        print(printed(figures))
    print(json.dumps(figures))
    if why := too_dear(figures, options):
        raise SystemExit(why)


def too_dear(figures: dict[str, Any], options: argparse.Namespace) -> str:
    """What is to be said where following cost more than it may; a few pairs, or short ones, only show that it is measured."""
    loss = figures["loss_percent"]
    if options.pairs < _FULL_PAIRS or options.seconds < _FULL_SECONDS or loss < _LOSS_PERCENT:
        return ""
    return f"{loss} % less was done while it was followed, less than {_LOSS_PERCENT:.0f} are wanted: or the machine is not quiet"


def options_of(arguments: Sequence[str] | None) -> argparse.Namespace:
    """What was asked for on the command line."""
    parser = argparse.ArgumentParser("scripts/soak overhead", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print only the JSON line")
    parser.add_argument("--pairs", type=int, default=10, help="with and without a follower")
    parser.add_argument("--seconds", type=float, default=20, help="of each")
    parser.add_argument("--others", type=int, default=10_000, help="other files in the tree")
    parser.add_argument("--cpu-max", type=float, help="for the follower, instead of its default")
    return parser.parse_args(arguments)


def measured(server: Bench, options: argparse.Namespace) -> dict[str, Any]:
    """The figures: the median loss of all pairs, their range, and what the follower and the server used meanwhile."""
    root = server.place / "live"
    prodigy.write_sessions(str(root), count=options.others)
    losses, used = [], []
    for number in range(options.pairs):
        done = {}
        for follows in (True, False) if number % 2 else (False, True):
            name = f"{number}-{'on' if follows else 'off'}"
            done[follows], cost = (_followed if follows else _alone)(server, root, name, options)
            used += [cost] if follows else []
        losses.append(100 * (1 - done[True] / done[False]))
        say(f"pair {number + 1} of {options.pairs}: {done[False]} alone, {done[True]} followed: {losses[-1]:.1f} % less")
    return {
        "pairs": options.pairs,
        "seconds": options.seconds,
        "loss_percent": round(statistics.median(losses), 2),
        "loss_percent_range": [round(min(losses), 2), round(max(losses), 2)],
        "processor_percent_of_one": {
            name: round(statistics.median(cost[name] for cost in used), 1) for name in ("runner", "postgres")
        },
        "processors": os.cpu_count(),
    }


def _alone(_server: Bench, root: Path, name: str, options: argparse.Namespace) -> tuple[int, dict[str, float]]:
    return toiled(root, name, options.seconds), {}


def _followed(server: Bench, root: Path, name: str, options: argparse.Namespace) -> tuple[int, dict[str, float]]:
    """With a follower that was in step when it began."""
    crossfade(server.place, "start", root, server.url(_SCHEMA), "--once", "--json")
    ceiling = ("--cpu-max", options.cpu_max) if options.cpu_max else ()
    with Following(server, _SCHEMA, root, server.url(_SCHEMA), *ceiling) as following:
        following.arrive()
        before, began = (following.cpu(), of_server(server.postmaster())), time.monotonic()
        done = toiled(root, name, options.seconds)
        passed = time.monotonic() - began
        after = following.cpu(), of_server(server.postmaster())
        following.check()
    runner, postgres = (100 * sum(now.minus(then)) / passed for now, then in zip(after, before, strict=True))
    return done, {"runner": runner, "postgres": postgres}


def toiled(root: Path, name: str, seconds: float) -> int:
    """How many events a program that takes all of one processor came to."""
    command = [sys.executable, toiler.__file__, str(root), "--seconds", str(seconds), "--name", name]
    return int(subprocess.run(command, check=True, capture_output=True).stdout)


if __name__ == "__main__":
    main()
