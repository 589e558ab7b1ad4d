"""The benchmarks in a short form, so that they cannot rot: everything runs, for real, and what is wrong does not count."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import bench_memory, peers
from bench.bench_memory import measured
from bench.cases import all_cases, documents
from bench.content import bytes_stored, expect, expect_same_trees, of_schema, of_tree
from bench.cpu import of_server
from bench.peers.programs import Peer
from bench.report import rendered
from bench.running import crossfade, popen, workplace
from bench.sampling import look, session_of, watched
from bench.server import Bench, bench
from crossfade.testing import prodigy
from support.running import wait_for

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def server() -> Iterator[Bench]:
    """A benchmark's server."""
    with workplace() as place, bench(place) as running:
        yield running


@pytest.fixture(scope="module")
def copied(server: Bench) -> Path:
    """A tree that was copied into the schema ``copied``."""
    source = server.place / "copied"
    prodigy.write_logs(str(source), events=300, logs=3)
    crossfade(server.place, "start", source, server.url("copied"), "--once", "--json")
    return source


def script(*arguments: str) -> str:
    """What ``scripts/bench`` prints."""
    command = [str(ROOT / "scripts" / "bench"), *arguments]
    done = subprocess.run(command, capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def test_copy_measures_everything_and_ends_with_one_json_line():
    """Every figure that is asked for, by its name; alone on stdout with --json."""
    out = script(
        *("copy", "--json", "--events", "400", "--documents", "40", "--unchanged", "40", "--runs", "1"),
        *("--only", "ratios", "--only", "incremental"),
    )
    (line,) = out.splitlines()
    figures = json.loads(line)

    names = ("copy_index_ratio", "copy_index_ratio_parallel", "with_validation_ratio", "hazard_ratio")
    rates = ("restore_lines_per_second", "restore_documents_per_second", "documents_per_second", "incremental_seconds")
    for name in (*names, *rates):
        low, high = figures[f"{name}_range"]
        assert 0 < low <= figures[name] <= high
    assert figures["with_validation_ratio"] > figures["copy_index_ratio"]
    assert {figures["settings"][name] for name in ("fsync", "full_page_writes", "synchronous_commit")} == {"on"}


def test_profile_says_who_used_the_processor_and_which_functions():
    """In words that a README can hold."""
    out = script("profile", "inventory", "--of", "documents", "--count", "60")

    assert "### inventory" in out
    assert "| runner |" in out
    assert "| server |" in out
    assert "| crossfade, with foreign code that it calls | calls | seconds | share |" in out
    assert re.search(r"\| `[a-z_/]+\.py:\d+ \w+` \| [\d,]+ \| \d+\.\d\d \| \d+% \|", out)


def test_memory_is_measured_there_and_back_and_while_it_is_validated(monkeypatch: pytest.MonkeyPatch):
    """A shortened case, and documents of more than one piece each, with a worker on each."""
    said: list[str] = []
    monkeypatch.setattr(
        bench_memory, "popen", lambda *words, **more: (said.append(" ".join(map(str, words))), popen(*words, **more))[1]
    )
    cases = [all_cases(0.0005)[0], documents("two", 2, 20_000_000)]
    figures = measured(cases)

    assert figures["complete"]
    assert figures["peak_memory_mb"] == max(
        case[way]["peak_mb"] for case in figures["cases"].values() for way in ("copy", "validate", "restore")
    )
    assert 20 < figures["peak_memory_mb"] < 500
    assert {case["content"] for case in figures["cases"].values()} == {"identical"}
    assert ["--workers 2" in words for words in said] == [False, False, False, True, False, True]
    assert [words.split()[1] for words in said] == 2 * ["start", "validate", "start"]
    assert ["--jobs 2" in words for words in said] == 4 * [False] + [True, False]
    assert rendered({**figures, "quick": True}).count("| validate |") == 2


def test_peers_that_cannot_be_had_are_said_to_be_so(server: Bench, monkeypatch: pytest.MonkeyPatch):
    """Without an index only psql and crossfade are here; they are judged by the same eyes.

    The environment for the others is the one that is here anyway: to make one takes longer than to be refused.
    """
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setattr(peers, "HAZARDS", {name: peers.HAZARDS[name] for name in ("nothing hazardous", "invalid UTF-8")})
    found = peers.measure(server, 200, sys.prefix)

    assert {name for name, peer in found.items() if "not_available" in peer} == {"DuckDB", "sling", "dlt"}
    assert all(
        set(peer) == {"not_available"} and "pip install" in peer["not_available"] for peer in list(found.values())[2:]
    )
    for name in ("crossfade", "psql \\copy"):
        assert (found[name]["content"], found[name]["rows"]) == ("bytes", 200)
        assert found[name]["hazards"]["nothing hazardous"] == "kept byte for byte"
    assert found["crossfade"]["hazards"]["invalid UTF-8"] == "kept byte for byte"
    assert found["psql \\copy"]["hazards"]["invalid UTF-8"] == "refuses the whole file"


def test_a_peer_that_fails_on_plain_lines_has_no_figure(server: Bench, monkeypatch: pytest.MonkeyPatch):
    """Nor would what it makes of hazards say anything."""
    broken = Peer("sling", (), lambda _: "1", lambda *_: ["sh", "-c", "echo it broke >&2; exit 3"], "SELECT ''", ("all",))
    monkeypatch.setattr(peers, "PEERS", (broken,))

    assert peers.measure(server, 10, "") == {"sling": {"version": "1", "leaves_out": ["all"], "failed": "it broke"}}


def test_a_wrong_copy_does_not_count(server: Bench, copied: Path):
    """One changed character, one missing row: the time of such a copy means nothing."""
    wanted = of_tree(copied)
    assert of_schema(server, "copied") == wanted
    assert bytes_stored(server, "copied") == wanted.size

    planting = "SET crossfade.origin = 'by-hand'"  # to everybody else the tables are shut
    server.run(planting, "UPDATE copied.events SET body = replace(body::text, 'localhost', 'localhosT')::json WHERE pos = 0")
    changed = of_schema(server, "copied")
    server.run(planting, "DELETE FROM copied.events WHERE pos = 0")

    assert (changed.records, changed.size) == (wanted.records, wanted.size)
    with pytest.raises(SystemExit, match="content is wrong"):
        expect("a copy", changed, wanted)
    assert of_schema(server, "copied").records == wanted.records - 3


def test_a_wrong_way_back_does_not_count(tmp_path: Path):
    """Judged by the independent comparer: one byte."""
    for name in ("one", "other"):
        prodigy.write_sessions(str(tmp_path / name), count=2)
    expect_same_trees("the same", tmp_path / "one", tmp_path / "other")

    file = next((tmp_path / "other" / "sessions").iterdir())
    file.write_bytes(file.read_bytes().replace(b"{", b"[", 1))

    with pytest.raises(SystemExit, match="trees differ"):
        expect_same_trees("another", tmp_path / "one", tmp_path / "other")


HOLDS = """
import subprocess, sys, time
held = b"x" * {size}
print("ready", flush=True)
time.sleep({seconds})
"""


def holding(*command: str) -> subprocess.Popen[bytes]:
    """A command in a session of its own, once it is ready."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout is not None
    process.stdout.readline()
    return process


def test_the_sum_counts_every_process_of_the_session_but_no_server(tmp_path: Path):
    """A child's memory is ours; that of a program called postgres is not."""
    server = tmp_path / "postgres"
    shutil.copy(sys.executable, server)
    below = f"import subprocess\nchild = subprocess.Popen([{str(sys.executable)!r}, '-c', {HOLDS.format(size=80_000_000, seconds=60)!r}])"
    apart = f"import subprocess\nchild = subprocess.Popen([{str(server)!r}, '-I', '-S', '-c', {HOLDS.format(size=80_000_000, seconds=60)!r}])"
    sums = []
    for code in (below, apart):
        process = holding(sys.executable, "-c", f"{code}\nchild.wait()")
        sums.append(look(process.pid).total)
        subprocess.run(["kill", "--", f"-{process.pid}"], check=True)
        process.wait()

    assert sums[0] > 80_000_000
    assert sums[1] < 60_000_000


def test_a_short_peak_is_seen():
    """Held for less than half a second in a run of two; the quarters tell when."""
    process = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(1.4); x = b'x' * 60_000_000; time.sleep(0.4)"],
        start_new_session=True,
    )
    values = watched(process).values()

    assert values["peak_mb"] > 60
    assert max(values["quarters_mb"][:2]) < 60
    assert values["samples"] >= 8


def test_a_command_that_fails_has_no_peak(server: Bench):
    """Whatever it held before."""
    command = ("start", server.place / "nowhere", server.url("none"), "--once")
    with pytest.raises(SystemExit, match="ended with"), popen(server.place, *command) as process:
        watched(process)


def test_a_benchmark_that_is_stopped_leaves_no_command_behind(server: Bench, copied: Path):
    """They run in sessions of their own, so no Ctrl-C reaches them."""
    command = ("start", copied, server.url("stopped"), "--once", "--rate-limit", "1")
    with pytest.raises(KeyboardInterrupt), popen(server.place, *command) as process:
        wait_for("the command", lambda: session_of(process.pid))
        raise KeyboardInterrupt

    assert wait_for("its end", lambda: not session_of(process.pid))


def test_the_server_is_charged_for_sessions_that_have_ended(server: Bench):
    """A backend is gone when its session is over; what it used is not."""
    before = of_server(server.postmaster())
    server.run("SELECT count(md5(n::text)) FROM generate_series(1, 1000000) AS n")
    used = of_server(server.postmaster()).minus(before)

    assert sum(used) > 0.1
