"""The generated Prodigy: the same on every run, and holding what it says. Judged by the independent comparer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from crossfade.testing import prodigy
from crossfade.testing.prodigy_events import HAZARDS, stamp

SCRIPT = Path(__file__).parents[2] / "scripts" / "compare_trees.py"


def comparison(one: Path, other: Path, *options: str) -> str:
    """What the comparer says."""
    return subprocess.run([sys.executable, SCRIPT, *options, one, other], capture_output=True, text=True, check=False).stdout


def walk(root: Path) -> Iterator[bytes]:
    """Every path under *root*, without following links."""
    base = os.fsencode(root)
    for directory, directories, files in os.walk(base):
        for name in directories + files:
            yield os.path.relpath(os.path.join(directory, name), base)


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A small Prodigy."""
    root = tmp_path_factory.mktemp("prodigy") / "home"
    prodigy.build(str(root), events=5_000)
    return root


def test_prodigy_is_the_same_for_the_same_seed(home, tmp_path):
    """And another for another."""
    prodigy.build(os.fsencode(tmp_path / "same"), events=5_000)
    prodigy.build(os.fsencode(tmp_path / "other"), events=5_000, seed=96)

    assert comparison(home, tmp_path / "same").startswith("identical: ")
    assert "different: " in comparison(home, tmp_path / "other")


@pytest.mark.parametrize(
    "pattern",
    [
        "sessions/*.json",
        "checkpoints/*.json",
        "workflows/*.json",
        "dlq/job-1/*.json",
        "dlq/*/*/mapreduce/dlq/*/items/*.json",
        "dlq/*/*/mapreduce/dlq/*/index.json",
        "state/*/checkpoints/*.checkpoint.json",
        "state/*/mapreduce/jobs/*/checkpoint-v*.json",
        "state/*/mapreduce/jobs/*/metadata.json",
        "state/*/mappings/*.json",
        "worktrees/*/.metadata/*.json",
    ],
)
def test_prodigy_documents_are_pretty_json(home, pattern):
    """Two spaces, no final newline: what Python makes of the parsed document is the document."""
    files = list(home.glob(pattern))

    assert len(files) >= 2
    for file in files:
        body = file.read_bytes()
        assert json.dumps(json.loads(body), indent=2, ensure_ascii=False).encode() == body


def test_prodigy_sessions_are_named_for_their_ids(home):
    """No placeholder is left in them."""
    for file in (home / "sessions").iterdir():
        body = file.read_text()
        assert json.loads(body)["id"] == file.stem
        assert "@" not in body


def test_prodigy_metadata_tells_the_size_of_the_last_job_state(home):
    """``size_bytes`` matches in real data."""
    for file in home.glob("state/*/mapreduce/jobs/*/metadata.json"):
        assert json.loads(file.read_bytes())["size_bytes"] == (file.parent / "checkpoint-v11.json").stat().st_size


def test_prodigy_logs_hold_the_events_asked_for(home):
    """In the logs of the second generation; most others are of no bytes, as in life."""
    bodies = [file.read_bytes() for file in home.glob("events/*/*/events-*.jsonl")]

    assert sum(body.count(b"\n") for body in bodies) == 5_000
    assert b"" in bodies
    assert sum(map(len, bodies)) / 5_000 == pytest.approx(520, rel=0.02)


@pytest.mark.parametrize("bytes_each", [520, 2_000])
def test_event_lines_have_the_wanted_mean(bytes_each):
    """Benchmarks speak of records of one size."""
    lines = list(prodigy.event_lines(4_000, 1, bytes_each))

    assert sum(map(len, lines)) / 4_000 == pytest.approx(bytes_each, rel=0.02)


def test_event_lines_know_every_type():
    """All 27, each with the wrapping that Prodigy gives it."""
    events = [json.loads(line) for line in prodigy.event_lines(20_000, 1, hazard_every=0)]

    assert len({event["event"]["event_type"] for event in events}) == 27
    assert all(list(event) == ["id", "timestamp", "correlation_id", "event", "metadata"] for event in events)
    assert "d_l_q_item_added" in {event["event"]["event_type"] for event in events}


def test_event_lines_without_hazards_are_json():
    """All of them: a number that begins with a zero stood in one of a hundred thousand."""
    for line in prodigy.event_lines(30_000, 95, job="j4", hazard_every=0):
        json.loads(line)


def test_one_event_line_in_a_thousand_is_hazardous():
    """Each of them is one line."""
    lines = list(prodigy.event_lines(10_000, 1))
    starts = {hazard[:6] for hazard in HAZARDS}

    strange = [line for line in lines if b'"correlation_id"' not in line]

    assert len(strange) == 10
    assert {line[:6] for line in strange} <= starts
    assert all(line.count(b"\n") == 1 and line.endswith(b"\n") for line in lines)


def test_write_logs_and_sessions_make_as_many_as_asked(tmp_path):
    """Into one tree, one after the other."""
    logs = prodigy.write_logs(str(tmp_path), events=2_500, logs=3)
    sessions = prodigy.write_sessions(str(tmp_path), count=200)

    assert sum(path.endswith(b".jsonl") for path in walk(tmp_path)) == 3
    assert sum(file.read_bytes().count(b"\n") for file in tmp_path.glob("events/*/*/*.jsonl")) == 2_500
    assert len(list((tmp_path / "sessions").iterdir())) == 200
    assert set(walk(tmp_path)) == {*logs, *sessions}


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (500_000_000, "1970-01-01T00:00:00.500Z"),
        (147_980_000, "1970-01-01T00:00:00.147980Z"),
        (1, "1970-01-01T00:00:00.000000001Z"),
    ],
)
def test_times_are_printed_as_chrono_does(nanoseconds, text):
    """0, 3, 6 or 9 digits; zeros inside a group stay."""
    assert stamp(nanoseconds) == text
