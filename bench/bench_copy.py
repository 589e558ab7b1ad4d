"""How fast is a copy, and the way back, against the fastest way to load the same rows that PostgreSQL offers?

Everything in one run, interleaved, on the same server, each from a checkpoint and warm files: medians and ranges of ratios,
never a time alone. The content of every copy is checked, outside of the time. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from typing import Any

from bench import peers, ways
from bench.content import of_tree
from bench.figures import Runs, medians, rates, ratios, spread
from bench.report import rendered
from bench.running import machine, say, workplace
from bench.server import Bench, bench
from crossfade.testing import prodigy

PARTS = ("ratios", "incremental", "peers")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is asked for, print it."""
    options = _options(arguments)
    with workplace() as place, bench(place) as server:
        figures: dict[str, Any] = {"bench": "copy", "machine": machine(place), "settings": server.settings()}
        say(f"server: {', '.join(f'{name} {value}' for name, value in figures['settings'].items())}")
        for part in options.only or PARTS:
            figures |= _PART[part](server, options)
    if not options.json:
        print(rendered(figures))
    print(json.dumps(figures))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("scripts/bench copy", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print only the JSON line")
    parser.add_argument("--events", type=int, default=1_000_000, help="lines of about 520 bytes, in 40 logs")
    parser.add_argument("--documents", type=int, default=50_000, help="sessions of about 1.3 kB")
    parser.add_argument("--unchanged", type=int, default=100_000, help="files that a second run finds unchanged")
    parser.add_argument("--runs", type=int, default=5, help="interleaved runs")
    parser.add_argument("--only", action="append", choices=PARTS, help="just this part")
    parser.add_argument("--peers-venv", default="", metavar="DIR", help="keep the peers' programs there, for the next time")
    return parser.parse_args(arguments)


def _ratios(server: Bench, options: argparse.Namespace) -> dict[str, Any]:
    """Copies, and restores, against psql."""
    logs = min(40, options.events)
    clean, hazards, sessions = (server.place / name for name in ("clean", "hazards", "sessions"))
    say("making data")
    prodigy.write_logs(str(clean), events=options.events, logs=logs, hazard_every=0)
    prodigy.write_logs(str(hazards), events=options.events, logs=logs, hazard_every=100)
    prodigy.write_sessions(str(sessions), count=options.documents)
    wanted = {tree.name: of_tree(tree) for tree in (clean, hazards, sessions)}
    rows = ways.ready_made_rows(server, clean, wanted["clean"])
    times = interleaved(
        {
            "psql": lambda: ways.psql_copy(server, rows[:1], wanted["clean"], 1),
            "psql_parallel": lambda: ways.psql_copy(server, rows[1:], wanted["clean"], 2),
            "clean": lambda: ways.copy_and_restore(server, clean, wanted["clean"], back=True),
            "hazards": lambda: ways.copy_and_restore(server, hazards, wanted["hazards"], back=False),
            "documents": lambda: ways.copy_and_restore(server, sessions, wanted["sessions"], back=True),
        },
        options.runs,
    )
    sizes = {"runs": options.runs, "events": options.events, "documents": options.documents, "logs": logs}
    bytes_each = {"bytes_an_event": round(wanted["clean"].size / options.events)}
    return ratios(times) | rates(times, options.events, options.documents) | sizes | bytes_each | {"seconds": medians(times)}


def interleaved(all_ways: dict[str, Callable[[], dict[str, float]]], runs: int) -> Runs:
    """Each way once in every run, so that whatever else the machine does meets all of them."""
    times: Runs = {name: [] for name in all_ways}
    for number in range(runs):
        for name, way in all_ways.items():
            times[name].append(way())
            told = ", ".join(f"{step} {seconds:.2f} s" for step, seconds in times[name][-1].items())
            say(f"run {number + 1} of {runs}: {name}: {told}")
    return times


def _incremental(server: Bench, options: argparse.Namespace) -> dict[str, Any]:
    """A second run that finds nothing to do."""
    tree = server.place / "unchanged"
    say(f"a second run over {options.unchanged} unchanged files")
    prodigy.write_sessions(str(tree), count=options.unchanged)
    times = ways.unchanged(server, tree, of_tree(tree), options.runs)
    return spread("incremental_seconds", times) | {"unchanged": options.unchanged}


def _peers(server: Bench, options: argparse.Namespace) -> dict[str, Any]:
    """Others, on one file with all the events."""
    return {"events": options.events, "peers": peers.measure(server, options.events, options.peers_venv)}


_PART: dict[str, Callable[[Bench, argparse.Namespace], dict[str, Any]]] = {
    "ratios": _ratios,
    "incremental": _incremental,
    "peers": _peers,
}


if __name__ == "__main__":
    main()
