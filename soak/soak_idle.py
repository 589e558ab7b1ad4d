"""What following costs while nobody writes: a tree of 100,000 files that lies still, and the look at all of it that goes on.

The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from typing import Any

from bench.cpu import of_server
from bench.running import machine, say, workplace
from bench.server import Bench, bench
from crossfade.testing import prodigy
from soak.following import Following
from soak.table import printed

_SETTLES_SECONDS = 300.0


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print."""
    options = options_of(arguments)
    with workplace() as place, bench(place) as server:
        figures = {"soak": "idle", "machine": machine(place)} | measured(server, options)
    if not options.json:
        print(printed(figures))
    print(json.dumps(figures))


def options_of(arguments: Sequence[str] | None) -> argparse.Namespace:
    """What was asked for on the command line."""
    parser = argparse.ArgumentParser("scripts/soak idle", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print only the JSON line")
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--files", type=int, default=100_000)
    return parser.parse_args(arguments)


def measured(server: Bench, options: argparse.Namespace) -> dict[str, Any]:
    """What the runner and the server used, in percent of one processor, from when all was looked at once."""
    root = server.place / "live"
    say(f"making {options.files} files")
    prodigy.write_sessions(str(root), count=options.files)
    with Following(server, "idle", root, server.url("idle")) as following:
        say("copying them")
        following.arrive()
        looked = following.wait("a first look at all", lambda: _is_in_step(following), _SETTLES_SECONDS)
        before, began = (following.cpu(), of_server(server.postmaster())), time.monotonic()
        time.sleep(options.seconds)
        following.check()
        after, passed = (following.cpu(), of_server(server.postmaster())), time.monotonic() - began
    runner, postgres = (100 * sum(now.minus(then)) / passed for now, then in zip(after, before, strict=True))
    return {
        "files": options.files,
        "seconds": options.seconds,
        "first_look_seconds": round(looked, 1),
        "processor_percent_of_one": {"runner": round(runner, 1), "postgres": round(postgres, 1)},
    }


def _is_in_step(following: Following) -> bool:
    return bool((following.progress().get("lag") or {}).get("in_step"))


if __name__ == "__main__":
    main()
