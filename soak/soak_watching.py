"""What it costs a program that its files are watched: not at all, by a queue that is looked at now and then, by one that is waited for.

A program that takes all of one processor writes for some seconds in each way, in turn. Nothing else is done about what is
heard. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import select
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.running import machine, say, workplace
from crossfade.migrate.follow.inotify import Watches
from soak.soak_overhead import toiled
from soak.table import printed

_LOOK_SECONDS = 0.02
_SETTLE_SECONDS = 0.5


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print."""
    options = options_of(arguments)
    with workplace() as place:
        figures = {"soak": "watching", "machine": machine(place)} | measured(place / "live", options)
    if not options.json:
        print(printed(figures))
    print(json.dumps(figures))


def options_of(arguments: Sequence[str] | None) -> argparse.Namespace:
    """What was asked for on the command line."""
    parser = argparse.ArgumentParser("scripts/soak watching", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print only the JSON line")
    parser.add_argument("--rounds", type=int, default=4, help="each has every way once")
    parser.add_argument("--seconds", type=float, default=6, help="of each way")
    return parser.parse_args(arguments)


def measured(root: Path, options: argparse.Namespace) -> dict[str, Any]:
    """By how many per cent the program got less done than in the same round unwatched: the median, and the range."""
    (root / "events/repo").mkdir(parents=True)
    losses: dict[str, list[float]] = {"looked_at": [], "waited_for": []}
    for number in range(options.rounds):
        alone = toiled(root, f"{number}-alone", options.seconds)
        for way, found in losses.items():
            with _watched(root, waits=way == "waited_for"):
                done = toiled(root, f"{number}-{way}", options.seconds)
            found.append(100 * (1 - done / alone))
            say(f"round {number + 1} of {options.rounds}: {way}: {found[-1]:.1f} % less")
    spread = {way: [round(min(found), 2), round(max(found), 2)] for way, found in losses.items()}
    return {
        "rounds": options.rounds,
        "seconds": options.seconds,
        "loss_percent": {way: round(statistics.median(found), 2) for way, found in losses.items()},
        "loss_percent_range": spread,
        "processors": os.cpu_count(),
    }


@contextmanager
def _watched(root: Path, *, waits: bool) -> Iterator[None]:
    """By another process, in here."""
    process = multiprocessing.get_context("spawn").Process(target=_watch, args=(os.fsencode(root), waits), daemon=True)
    process.start()
    time.sleep(_SETTLE_SECONDS)
    try:
        yield
    finally:
        process.kill()
        process.join()


def _watch(root: bytes, waits: bool) -> None:
    with Watches(root) as watches:
        while True:
            if waits:
                select.select([watches._queue], [], [])  # noqa: SLF001 - the watch itself never waits
            else:
                time.sleep(_LOOK_SECONDS)
            watches.read()


if __name__ == "__main__":
    main()
