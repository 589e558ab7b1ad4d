"""Where does the time go? For a copy, a restore, a validation, or an inventory (a second run that finds nothing to do).

First as people run it, with its workers: seconds by step, and who used the processor. Then once more in one thread, under
cProfile: the time by package, by function, and by function of crossfade's with the foreign code that is called for it (waiting
for the server among it). cProfile makes small functions look larger than they are; the first part has no such error. Markdown.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import pstats
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench.blame import Function, charged
from bench.cpu import cores, followed, of_server
from bench.report import table
from bench.running import crossfade, machine, popen, say, warm, workplace
from bench.server import Bench, bench
from crossfade.testing import prodigy

WORK = ("copy", "restore", "validate", "inventory")
_LINES = 15
_OURS = os.path.dirname(str(importlib.util.find_spec("crossfade").origin)) + os.sep  # type: ignore[union-attr]
_INSTALLED = f"{os.sep}site-packages{os.sep}"
_IN_C = ("psycopg", "msgspec")


class Spent(NamedTuple):
    """A function, and the seconds spent in it: alone; with the foreign code that it calls; with all that it calls."""

    where: str
    package: str
    calls: int
    own: float
    charged: float
    whole: float


def main(arguments: Sequence[str] | None = None) -> None:
    """Profile what is asked for; without a word, everything."""
    parser = argparse.ArgumentParser("scripts/bench profile", description=__doc__)
    parser.add_argument("what", nargs="*", metavar="|".join(WORK), help="what to profile; all of it, if nothing is named")
    parser.add_argument("--of", choices=("events", "documents"), default="events", help="lines of 40 logs, or small files")
    parser.add_argument("--count", type=int, default=200_000, help="how many of them")
    options = parser.parse_args(arguments)
    for name in options.what:
        if name not in WORK:
            parser.error(f"{name} is not one of {', '.join(WORK)}")
    with workplace() as place, bench(place) as server:
        source = _written(place, options.of, options.count)
        print(f"{options.count:,} {options.of}; " + ", ".join(f"{k}: {v}" for k, v in machine(place).items()))
        for name in options.what or WORK:
            print(f"\n### {name}\n\n{profiled(server, source, name)}", flush=True)


def _written(place: Path, of: str, count: int) -> Path:
    source = place / "source"
    if of == "events":
        prodigy.write_logs(str(source), events=count, logs=min(40, count), hazard_every=0)
    else:
        prodigy.write_sessions(str(source), count=count)
    return source


def profiled(server: Bench, source: Path, name: str) -> str:
    """Both parts, as Markdown."""
    say(f"{name}: as people run it")
    first = as_it_is(server, source, name)
    say(f"{name}: under cProfile")
    spent = list(in_one_thread(server, source, name))
    return "\n\n".join([first, *tables(spent)])


def as_it_is(server: Bench, source: Path, name: str) -> str:
    """The command itself: its steps, and the processor by role."""
    command = _prepared(server, source, name, "real")
    wal, used, began = server.wal_bytes(), of_server(server.postmaster()), time.monotonic()
    said = (server.place / "said").open("w+b")
    with said, popen(server.place, *command, stdout=said, stderr=subprocess.DEVNULL) as process:
        roles = followed(process)
        seconds = time.monotonic() - began
        said.seek(0)
        report = json.load(said)
    roles["server"] = of_server(server.postmaster()).minus(used)
    written = (server.wal_bytes() - wal) / 1e6
    busy = sum(sum(role) for role in roles.values())
    rows = [
        (role, f"{found.user:.2f}", f"{found.system:.2f}", f"{sum(found) / seconds:.2f}") for role, found in roles.items()
    ]
    return "\n\n".join(
        [
            f"{seconds:.2f} s in all, {busy / seconds:.2f} of {cores()} cores busy, {written:,.0f} MB of WAL; {_steps(report)}",
            table(("processor seconds", "user", "system", "cores"), rows),
        ]
    )


def _steps(report: dict[str, Any]) -> str:
    steps = report.get("steps") or {"validating": report["duration_seconds"]}
    if report.get("reason") == "already there":
        return "there was nothing to do"
    return "steps: " + ", ".join(f"{step} {seconds:.2f} s" for step, seconds in steps.items())


def in_one_thread(server: Bench, source: Path, name: str) -> Iterator[Spent]:
    """The functions of the same work, done in one thread."""
    out = server.place / "profile"
    workers = ("--jobs", 1) if name == "validate" else ("--workers", 1)
    command = _prepared(server, source, name, "profiled")
    with popen(server.place, out, *command, *workers, module="bench.profiled") as process:
        _, said = process.communicate()
    if process.returncode != 0:
        raise SystemExit(f"the profiled {name} ended with {process.returncode}:\n{said.decode(errors='replace')[-2000:]}")
    stats = pstats.Stats(str(out)).stats  # type: ignore[attr-defined]
    costs = charged(stats, lambda function: _package(function) == "crossfade")
    for function, (_, calls, own, whole, _) in stats.items():
        yield Spent(_where(function), _package(function), calls, own, costs[function], whole)


def _prepared(server: Bench, source: Path, name: str, schema: str) -> tuple[object, ...]:
    """What has to be there before *name* can begin; then the command for it. A validation may find what it likes: equal."""
    there = server.url(schema)
    server.drop(schema)
    if name != "copy":
        crossfade(server.place, "start", source, there, "--once", "--json")
    server.checkpoint()
    warm(source)
    commands: dict[str, tuple[object, ...]] = {
        "copy": ("start", source, there, "--once", "--json"),
        "restore": ("start", there, server.place / f"restored_{schema}", "--once", "--json"),
        "validate": ("validate", source, there, "--json"),
        "inventory": ("start", source, there, "--once", "--json"),
    }
    return commands[name]


def tables(spent: Sequence[Spent]) -> Iterator[str]:
    """The packages, crossfade's functions by what is charged to them, and all functions by their own time."""
    total = sum(one.own for one in spent)
    packages: Counter[str] = Counter()
    for one in spent:
        packages[one.package] += one.own  # type: ignore[assignment]
    rows = [(package, f"{own:.2f}", f"{own / total:.0%}") for package, own in packages.most_common(8)]
    yield f"In one thread, under cProfile: {total:.2f} s"
    yield table(("package", "seconds", "share"), rows)
    ours = sorted((one for one in spent if one.package == "crossfade"), key=lambda one: -one.charged)
    yield _functions("crossfade, with foreign code that it calls", [(one, one.charged) for one in ours[:_LINES]], total)
    anybody = sorted(spent, key=lambda one: -one.own)
    yield _functions("any function, by itself", [(one, one.own) for one in anybody[:_LINES]], total)


def _functions(title: str, spent: Sequence[tuple[Spent, float]], total: float) -> str:
    rows = [(f"`{one.where}`", f"{one.calls:,}", f"{cost:.2f}", f"{cost / total:.0%}") for one, cost in spent]
    return table((title, "calls", "seconds", "share"), rows)


def _package(function: Function) -> str:
    """Which package a function is of. One that is written in C says so in its name, if at all."""
    file, _, name = function
    if file == "~":
        return next((package for package in _IN_C if package in name), "python")
    return "crossfade" if file.startswith(_OURS) else _below_packages(file)[0] if _INSTALLED in file else "python"


def _where(function: Function) -> str:
    file, line, name = function
    if file == "~":
        return name.strip("<>")
    parts = Path(file.removeprefix(_OURS)).parts if file.startswith(_OURS) else _below_packages(file)
    return f"{'/'.join(parts[-2:] if file.startswith('/') else parts)}:{line} {name}"


def _below_packages(file: str) -> tuple[str, ...]:
    return Path(file.rpartition(_INSTALLED)[2]).parts


if __name__ == "__main__":
    main()
