"""The ways that are compared: crossfade, and the fastest way to load the same rows that PostgreSQL offers.

Each returns seconds by step, and has checked the content, outside of the time. Each begins with warm files and a checkpoint.
"""

from __future__ import annotations

import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.content import Content, expect, expect_same_trees, of_schema, of_tables
from bench.running import Ran, crossfade, warm
from bench.server import Bench
from crossfade.model import layouts
from crossfade.store.backends.postgres import schema

_EVENTS = layouts.load("prodigy").kind("events")
_COPYING = ("planning", "copying", "settling directories")
_INDEXING = ("building indexes",)
Seconds = dict[str, float]


def ready_made_rows(server: Bench, source: Path, wanted: Content) -> list[Path]:
    """The rows that a copy ends with, as files for ``\\copy``: one with all of them, two with a half each."""
    crossfade(server.place, "start", source, server.url("ready"), "--once", "--json")
    expect("the ready-made rows", of_schema(server, "ready"), wanted)
    files = [server.place / f"rows{number}.copy" for number in range(3)]
    for file, where in zip(files, ("true", "entry_id % 2 = 0", "entry_id % 2 = 1"), strict=True):
        server.psql(f"\\copy (SELECT * FROM ready.events WHERE {where}) TO '{file}'")
    server.drop("ready")
    return files


def psql_copy(server: Bench, files: list[Path], wanted: Content, parallel: int) -> Seconds:
    """Ready-made rows by psql into the same final table, then the same indexes, *parallel* at a time."""
    server.run("DROP SCHEMA IF EXISTS plain CASCADE", "CREATE SCHEMA plain", schema.kind_statements("plain", _EVENTS)[0])
    _begin(server, *files)
    began = time.monotonic()
    with ThreadPoolExecutor(parallel) as threads:
        list(threads.map(lambda file: server.psql(f"\\copy plain.events FROM '{file}'"), files))
        copied = time.monotonic()
        statements = [f"SET maintenance_work_mem = '256MB'; {text}" for text in schema.index_statements("plain", _EVENTS)]
        list(threads.map(server.psql, statements))
    ended = time.monotonic()
    expect("psql", of_tables(server, ["plain.events"]), wanted)
    server.drop("plain")
    return {"copy": copied - began, "index": ended - copied, "total": ended - began}


def copy_and_restore(server: Bench, source: Path, wanted: Content, *, back: bool) -> Seconds:
    """``start --once`` into a fresh schema; with *back*, another one from there into a fresh directory."""
    server.drop("bench")
    _begin(server, source)
    seconds = _steps(crossfade(server.place, "start", source, server.url("bench"), "--once", "--json"))
    expect(f"the copy of {source.name}", of_schema(server, "bench"), wanted)
    if back:
        seconds |= {f"restore_{name}": value for name, value in _restore(server, source).items()}
    server.drop("bench")
    return seconds


def _restore(server: Bench, source: Path) -> Seconds:
    target = server.place / "restored"
    _begin(server)
    seconds = _steps(crossfade(server.place, "start", server.url("bench"), target, "--once", "--json"))
    expect_same_trees(f"the restored {source.name}", source, target)
    shutil.rmtree(target)
    return {"copy": seconds["copy"], "wall": seconds["wall"]}


def unchanged(server: Bench, source: Path, wanted: Content, runs: int) -> list[float]:
    """Seconds of each run, from the command's start to its end, that finds nothing to do in a tree that was copied before."""
    server.drop("bench")
    command = ("start", source, server.url("bench"), "--once", "--json")
    crossfade(server.place, *command)
    times = []
    for _ in range(runs):
        _begin(server, source)
        again = crossfade(server.place, *command)
        expect("a second run", again.report["reason"], "already there")
        times.append(again.seconds)
    expect("after the second runs", of_schema(server, "bench"), wanted)
    server.drop("bench")
    return times


def _begin(server: Bench, *files: Path) -> None:
    server.checkpoint()
    warm(*files)


def _steps(ran: Ran) -> Seconds:
    """Seconds by step: copying with what leads to it, indexes, and whatever follows them, which is validation."""
    steps = ran.report["steps"]
    copy = sum(steps.get(name, 0.0) for name in _COPYING)
    index = sum(steps.get(name, 0.0) for name in _INDEXING)
    after = sum(value for name, value in steps.items() if name not in (*_COPYING, *_INDEXING))
    return {"copy": copy, "index": index, "total": copy + index, "validation": after, "wall": ran.seconds}
