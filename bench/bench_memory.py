"""How much memory do a copy, a validation and the way back take, whatever the size of what they move?

For each case a tree is written, copied into a database, validated, and restored from there; the sum of PSS over all processes
of crossfade is sampled every 50 ms; the independent comparer judges the way back. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from bench.cases import WAYS, Case, all_cases
from bench.content import bytes_stored, expect, expect_same_trees, files_of
from bench.figures import slope
from bench.report import rendered
from bench.running import machine, popen, room_left, say, workplace
from bench.sampling import check_platform, watched
from bench.server import Bench, bench

QUICK = 0.1
_TERABYTE = 1_000_000_000_000


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is asked for, print it."""
    names = [case.name for case in all_cases()]
    parser = argparse.ArgumentParser("scripts/bench memory", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print only the JSON line")
    parser.add_argument("--quick", action="store_true", help="a tenth of the size, but for the documents")
    parser.add_argument("--only", action="append", choices=names, metavar="CASE", help=f"just this case: {', '.join(names)}")
    options = parser.parse_args(arguments)
    chosen = [case for case in all_cases(QUICK if options.quick else 1.0) if case.name in (options.only or names)]
    figures = measured(chosen) | {"quick": options.quick}
    if not options.json:
        print(rendered(figures))
    print(json.dumps(figures))


def measured(cases: Iterable[Case]) -> dict[str, Any]:
    """Every case, one after the other, each in a place of its own that is gone afterwards."""
    check_platform()
    about: dict[str, Any] = {"bench": "memory"}
    found: dict[str, dict[str, Any]] = {}
    for case in cases:
        with workplace() as place:
            why = lack_of_room(case, *room_left(place))
            if why:
                say(f"{case.name}: not run: {why}")
                found[case.name] = {"not_run": why}
                continue
            with bench(place) as server:
                about = about | {"machine": machine(place), "settings": server.settings()}
                found[case.name] = there_and_back(server, case)
    return about | summary(found)


def lack_of_room(case: Case, free_bytes: int, free_files: int) -> str:
    """Why *case* cannot be run here; empty where it can. Says what it needs either way."""
    say(f"{case.name}: needs {case.room_bytes / 1e9:.1f} GB of disk, {free_bytes / 1e9:.1f} GB are free")
    if case.room_bytes > free_bytes:
        return f"needs {case.room_bytes / 1e9:.1f} GB of disk, {free_bytes / 1e9:.1f} GB are free"
    if 2 * case.files > free_files > 0:  # some file systems know no limit, and say 0
        return f"needs {2 * case.files} files, {free_files} are free"
    return ""


def there_and_back(server: Bench, case: Case) -> dict[str, Any]:
    """A copy, a validation of it by itself, and the way back, all watched; the content is what it was."""
    source, target = server.place / "source", server.place / "restored"
    say(f"{case.name}: writing {case.size / 1e9:.2f} GB in {case.files} files")
    case.write(source)
    files, size = _counted(source)
    figures: dict[str, Any] = {"files": files, "bytes": size}
    workers, jobs = (("--workers", case.workers), ("--jobs", case.workers)) if case.workers else ((), ())
    figures["copy"] = _watched(server, "start", source, server.url("bench"), "--once", *workers)
    expect(f"{case.name}: bytes in the database", bytes_stored(server, "bench"), size)
    figures["validate"] = _watched(server, "validate", source, server.url("bench"), *jobs)
    figures["restore"] = _watched(server, "start", server.url("bench"), target, "--once", *workers)
    expect_same_trees(case.name, source, target)
    for tree in (source, target):
        shutil.rmtree(tree)
    return figures | {"content": "identical"}


def _watched(server: Bench, *command: object) -> dict[str, Any]:
    server.checkpoint()
    said = (server.place / "said").open("w+b")
    with said, popen(server.place, *command, "--json", stdout=said) as process:
        values = watched(process).values()
    say(f"  {' '.join('database' if '://' in str(word) else Path(str(word)).name for word in command)}: {values}")
    return values


def _counted(root: Path) -> tuple[int, int]:
    sizes = [path.stat().st_size for path in files_of(root)]
    return len(sizes), sum(sizes)


def summary(cases: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The highest peak of all, and how it grows: by bytes of events, and by number of files."""
    ran = {name: case for name, case in cases.items() if "not_run" not in case}
    peaks = [case[way]["peak_mb"] for case in ran.values() for way in WAYS]
    slopes: dict[str, Any] = {}
    for way in WAYS:
        slopes |= _slope(ran, way, "events_few", "events_many", "bytes", 1e9, "GB")
        slopes |= _slope(ran, way, "files_few", "files_many", "files", 1e6, "million files")
    complete = len(ran) == len(cases)
    return {"peak_memory_mb": max(peaks, default=None), "complete": complete, "cases": cases, "slopes": slopes}


def _slope(
    ran: dict[str, dict[str, Any]], way: str, few: str, many: str, axis: str, unit: float, per: str
) -> dict[str, Any]:
    """MB for one more *unit*, and what a terabyte would take by that. A slope below zero is noise, and predicts nothing less."""
    if few not in ran or many not in ran:
        return {}
    less, more = ((ran[name][axis] / unit, ran[name][way]["peak_mb"]) for name in (few, many))
    growth = slope(less, more)
    terabyte = _TERABYTE / (ran[many]["bytes"] / ran[many][axis]) / unit
    predicted = more[1] + max(growth, 0.0) * (terabyte - more[0])
    name = f"{way}_{'events' if axis == 'bytes' else 'files'}"
    about = f"{terabyte:,.0f} {per}"
    return {name: {"slope": round(growth, 3), "per": per, "terabyte_is": about, "terabyte_mb": round(predicted)}}


if __name__ == "__main__":
    main()
