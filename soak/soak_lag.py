"""How long from the return of ``write()`` until another connection sees the event committed; and the same for new documents.

A program logs steadily into twenty files of a tree with 100,000 others; a connection of its own asks the database for what is
marked. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import psycopg

from bench.cpu import of_process, of_server
from bench.running import machine, say, workplace
from bench.server import Bench, bench
from crossfade.testing import prodigy
from soak import appender
from soak.following import Following
from soak.table import printed

_POLL_SECONDS = 0.008
_LAST_SECONDS = 60.0
"""How long after the last write it waits for what is not there yet."""

_FULL_SECONDS = 60.0
_ENOUGH = 0.99
"""So much of the wanted rate: what is late in the last moment takes another one to catch up with."""

_P99_MS = 500.0
"""99 of 100 events must be there sooner than that, and as many new documents."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print."""
    options = options_of(arguments)
    with workplace() as place, bench(place) as server:
        figures = {"soak": "lag", "machine": machine(place)} | measured(server, options)
    if not options.json:
        print(printed(figures))
    print(json.dumps(figures))
    if why := too_late(figures, options):
        raise SystemExit(why)


def too_late(figures: dict[str, Any], options: argparse.Namespace) -> str:
    """What is to be said where events or new documents came later than they may, or were fewer than wanted; a short one may."""
    if options.seconds < _FULL_SECONDS:
        return ""
    rate, late = figures["events_per_second"], {name: figures[name]["p99"] for name in ("events_ms", "new_documents_ms")}
    reasons = [f"{name}: {p99} ms (p99), less than {_P99_MS:.0f} are wanted" for name, p99 in late.items() if p99 >= _P99_MS]
    if rate < _ENOUGH * options.rate:
        reasons.append(f"{rate:,} events a second were written, {options.rate:,.0f} are wanted")
    return f"{'; '.join(reasons)}: the machine is too slow, or not quiet" if reasons else ""


def options_of(arguments: Sequence[str] | None) -> argparse.Namespace:
    """What was asked for on the command line."""
    parser = argparse.ArgumentParser("scripts/soak lag", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print only the JSON line")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rate", type=float, default=5_000, help="events a second")
    parser.add_argument("--logs", type=int, default=20)
    parser.add_argument("--others", type=int, default=100_000, help="other files in the tree")
    parser.add_argument("--cpu-max", type=float, help="for the follower, instead of its default")
    return parser.parse_args(arguments)


def measured(server: Bench, options: argparse.Namespace) -> dict[str, Any]:
    """The figures: milliseconds for events and for new documents, and what it cost."""
    root = server.place / "live"
    say(f"making {options.others} files")
    prodigy.write_sessions(str(root), count=options.others)
    ceiling = ("--cpu-max", options.cpu_max) if options.cpu_max else ()
    with Following(server, "lag", root, server.url("lag"), *ceiling) as following:
        say("copying them")
        following.arrive()
        say("writing")
        return _watched(server, root, following, options) | {"others": options.others, "logs": options.logs}


def _watched(server: Bench, root: object, following: Following, options: argparse.Namespace) -> dict[str, Any]:
    before = following.cpu(), of_server(server.postmaster())
    began = time.monotonic()
    words = ("--logs", options.logs, "--rate", options.rate, "--seconds", options.seconds)
    command = [sys.executable, appender.__file__, root, *words]
    with subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stderr is not None
        with psycopg.connect(server.conninfo, autocommit=True) as connection:
            lags = _Watcher(connection, writer.stdout.fileno()).watch(following)
            asking = of_process(connection.info.backend_pid)
        written, took = writer.stderr.read().split()
    seconds = time.monotonic() - began
    postgres = of_server(server.postmaster()).minus(before[1]).minus(asking)
    cost = {"runner": following.cpu().minus(before[0]), "postgres": postgres, "postgres_for_the_watcher": asking}
    events = [lag for marker, lag in lags.items() if marker.startswith("event")]
    documents = [lag for marker, lag in lags.items() if marker.startswith("document")]
    return {
        "events_per_second": round(int(written) / float(took)),
        "events_ms": quantiles(events),
        "new_documents_ms": quantiles(documents),
        "processor_percent_of_one": {name: round(100 * sum(used) / seconds) for name, used in cost.items()},
        "throttled_seconds": following.progress().get("throttle", {}).get("seconds_total", 0.0),
    }


@dataclass(frozen=True)
class _Written:
    """A marked write: which file it was to, where in it that ended, and when it returned."""

    key: bytes
    end: int
    at: int


class _Watcher:
    """Looks every few milliseconds how far the files are that were written to, and asks once for each marker that must be there."""

    def __init__(self, connection: psycopg.Connection, told: int) -> None:
        self._connection = connection
        self._told = told
        os.set_blocking(told, False)
        self._left = b""
        self._over = False
        self._waiting: dict[str, _Written] = {}
        self._lags: dict[str, float] = {}

    def watch(self, following: Following) -> dict[str, float]:
        """Until the writer is done, and everything is there: how many milliseconds each marker took."""
        deadline = float("inf")
        while not self._over or self._waiting:
            self._read()
            self._look()
            following.check()
            deadline = min(deadline, time.monotonic() + _LAST_SECONDS) if self._over else deadline
            if time.monotonic() > deadline:
                raise SystemExit(f"{len(self._waiting)} markers did not arrive: {sorted(self._waiting)[:3]}")
            time.sleep(_POLL_SECONDS)
        return self._lags

    def _read(self) -> None:
        while not self._over:
            try:
                data = os.read(self._told, 1 << 16)
            except BlockingIOError:
                return
            self._over = not data
            *lines, self._left = (self._left + data).split(b"\n")
            for line in lines:
                marker, name, end, at = line.split()
                self._waiting[marker.decode()] = _Written(sha256(name.replace(b"/", b"\0")).digest(), int(end), int(at))

    def _look(self) -> None:
        keys = list({written.key for written in self._waiting.values()})
        rows = self._connection.execute(
            "SELECT sha256(key), size FROM lag.entries WHERE store_id = 1 AND sha256(key) = ANY(%s)", [keys]
        ).fetchall()
        now, sizes = time.monotonic_ns(), dict(rows)
        there = [marker for marker, written in self._waiting.items() if sizes.get(written.key, -1) >= written.end]
        if there:
            self._expect(there)
        for marker in there:
            self._lags[marker] = (now - self._waiting.pop(marker).at) / 1e6

    def _expect(self, markers: list[str]) -> None:
        """That their records are there, too."""
        ((found,),) = self._connection.execute(
            "SELECT (SELECT count(*) FROM lag.events WHERE correlation_id = ANY(%(markers)s))"
            " + (SELECT count(*) FROM lag.sessions WHERE id = ANY(%(markers)s))",
            {"markers": markers},
        ).fetchall()
        if found != len(markers):
            raise SystemExit(f"of {len(markers)} records that must be there, {found} are: {markers[:3]}")


def quantiles(lags: Sequence[float]) -> dict[str, Any]:
    """Median, 99th percentile and maximum, and of how many."""
    ordered = sorted(lags)
    if not ordered:
        return {"count": 0}
    named = {"p50": ordered[len(ordered) // 2], "p99": ordered[(len(ordered) - 1) * 99 // 100], "max": ordered[-1]}
    return {name: round(value, 1) for name, value in named.items()} | {"count": len(ordered)}


if __name__ == "__main__":
    main()
