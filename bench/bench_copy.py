"""How fast is a copy, against the fastest way to load the same rows that PostgreSQL offers?

Everything in one run, interleaved, on the same server, each from a checkpoint: medians and ranges of ratios, never a time
alone. The content of every copy is checked by its own proof and by a count in SQL.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from server import Bench, bench

from crossfade.model import layouts
from crossfade.store.backends.postgres import schema
from crossfade.testing import prodigy

EVENTS = layouts.load("prodigy").kind("events")


def main() -> None:
    """Run it all; the last line is one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="only the JSON line")
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--documents", type=int, default=50_000)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="crossfade-bench-"))
    try:
        with bench(place) as server:
            figures = measure(server, options.events, options.documents, options.runs, quiet=options.json)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    print(json.dumps(figures))


def measure(server: Bench, events: int, documents: int, runs: int, *, quiet: bool) -> dict[str, Any]:
    """All figures."""
    say = (lambda _: None) if quiet else (lambda text: print(text, file=sys.stderr, flush=True))
    clean, hazards, sessions = (server.place / name for name in ("clean", "hazards", "sessions"))
    say("making data")
    prodigy.write_logs(clean, events=events, logs=40, hazard_every=0)
    prodigy.write_logs(hazards, events=events, logs=40, hazard_every=100)
    prodigy.write_sessions(sessions, count=documents)
    rows = ready_made_rows(server, clean, events)
    ways: dict[str, Callable[[], dict[str, float]]] = {
        "psql": lambda: psql_copy(server, rows[:1], parallel=1),
        "psql_parallel": lambda: psql_copy(server, rows[1:], parallel=2),
        "clean": lambda: crossfade_copy(server, clean, events),
        "hazards": lambda: crossfade_copy(server, hazards, events),
        "documents": lambda: crossfade_copy(server, sessions, documents),
    }
    times: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    for number in range(runs):
        for name, way in ways.items():
            server.checkpoint()
            times[name].append(way())
            say(f"run {number + 1} of {runs}: {name} {times[name][-1]}")
    figures = ratios(times, documents)
    figures |= restore(server, clean, events, sessions, documents)
    return figures | {"runs": runs, "events": events, "documents": documents, "settings": server.settings()}


def ready_made_rows(server: Bench, source: Path, events: int) -> list[Path]:
    """The rows that a copy ends with, as files for ``\\\\copy``: one with all of them, two with a half each."""
    crossfade_copy(server, source, events, keep="ready")
    files = [server.place / f"rows{number}.copy" for number in range(3)]
    for file, where in zip(files, ("true", "entry_id % 2 = 0", "entry_id % 2 = 1"), strict=True):
        server.psql(f"\\copy (SELECT * FROM ready.events WHERE {where}) TO '{file}'")
    server.run("DROP SCHEMA ready CASCADE")
    return files


def psql_copy(server: Bench, files: list[Path], parallel: int) -> dict[str, float]:
    """Ready-made rows by psql into the same final table, then the same indexes, *parallel* at a time."""
    server.run("DROP SCHEMA IF EXISTS plain CASCADE", "CREATE SCHEMA plain", schema.kind_statements("plain", EVENTS)[0])
    began = time.monotonic()
    with ThreadPoolExecutor(parallel) as threads:
        list(threads.map(lambda file: server.psql(f"\\copy plain.events FROM '{file}'"), files))
        copied = time.monotonic()
        statements = [f"SET maintenance_work_mem = '256MB'; {text}" for text in schema.index_statements("plain", EVENTS)]
        list(threads.map(server.psql, statements))
    ended = time.monotonic()
    server.run("DROP SCHEMA plain CASCADE")
    return {"copy": copied - began, "index": ended - copied, "total": ended - began}


def crossfade_copy(server: Bench, source: Path, records: int, keep: str = "") -> dict[str, float]:
    """``start --once`` from the command line into a fresh schema; its steps, as its report says."""
    name = keep or "bench"
    target = f"embedded://{server.place}/pg?schema={name}"
    began = time.monotonic()
    report = json.loads(cli("start", str(source), target, "--once", "--json"))
    wall = time.monotonic() - began
    if report["records"] != records or not report["validation"]["holds"]:
        raise SystemExit(f"the copy is not what it should be: {report['records']} records")
    steps = report["steps"]
    if not keep:
        server.run(f"DROP SCHEMA {name} CASCADE")
    return {
        "copy": steps["copying"],
        "index": steps["building indexes"],
        "proof": steps["proving"],
        "total": steps["copying"] + steps["building indexes"],
        "wall": wall,
    }


def restore(server: Bench, logs: Path, events: int, sessions: Path, documents: int) -> dict[str, float]:
    """Back to files, durable: lines and documents a second, over the copying step."""
    found: dict[str, float] = {}
    for name, source, count in (("lines", logs, events), ("documents", sessions, documents)):
        crossfade_copy(server, source, count, keep="bench")
        server.checkpoint()
        target = server.place / f"restored_{name}"
        report = json.loads(cli("start", f"embedded://{server.place}/pg?schema=bench", str(target), "--once", "--json"))
        found[f"restore_{name}_per_second"] = round(count / report["steps"]["copying"])
        shutil.rmtree(target)
        server.run("DROP SCHEMA bench CASCADE")
    return found


def cli(*arguments: str) -> str:
    """Run crossfade as a user does."""
    command = [sys.executable, "-m", "crossfade", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout


def ratios(times: dict[str, list[dict[str, float]]], documents: int) -> dict[str, Any]:
    """Medians of the ratios within each run, with their ranges."""
    plain = [run["total"] for run in times["psql"]]
    figures: dict[str, Any] = {}
    pairs = {
        "copy_index_ratio": ([r["total"] for r in times["clean"]], plain),
        "copy_index_ratio_parallel": ([r["total"] for r in times["clean"]], [r["total"] for r in times["psql_parallel"]]),
        "with_proof_ratio": ([r["total"] + r["proof"] for r in times["clean"]], plain),
        "hazard_ratio": ([r["total"] for r in times["hazards"]], [r["total"] for r in times["clean"]]),
    }
    for name, (ours, theirs) in pairs.items():
        values = [one / other for one, other in zip(ours, theirs, strict=True)]
        figures[name] = round(statistics.median(values), 3)
        figures[name + "_range"] = [round(min(values), 3), round(max(values), 3)]
    figures["documents_per_second"] = round(documents / statistics.median(r["total"] for r in times["documents"]))
    figures["seconds"] = {
        name: {step: round(statistics.median(r[step] for r in runs), 3) for step in runs[0]} for name, runs in times.items()
    }
    return figures


if __name__ == "__main__":
    main()
