"""Promise 8: memory is bounded by configuration, not by the data: not by its size, its number, or the size of a record."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from crossfade.testing import prodigy
from support.memory import peak_pss_mb
from support.running import Terminal

LIMIT_MB = 300
SLACK_MB = 60


def peak(terminal: Terminal, *words: object) -> float:
    """The peak of one command, which has to succeed."""
    process = terminal.popen(*words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    found = peak_pss_mb(process)

    assert process.returncode == 0

    return found


def assert_no_growth(less: tuple[float, ...], more: tuple[float, ...]) -> None:
    """There, to look, and back, give or take what is in flight."""
    growth = [round(larger - smaller) for smaller, larger in zip(less, more, strict=True)]

    assert max(growth) < SLACK_MB, f"MB more, there, to look, and back: {growth}, of {less} and {more}"


@pytest.fixture
def there_and_back(terminal: Terminal, short_dir: Path):
    """The peaks of a copy into a database of its own, of a validation of both, and of the way back.

    The validation has one job: with more, it has processes of its own for what is much, and none for what is little.
    """

    def run(name: str, source: Path) -> tuple[float, ...]:
        database = f"embedded://{short_dir}/pg?schema={name}"
        there = peak(terminal, "start", source, database, "--once")
        compared = peak(terminal, "validate", source, database, "--jobs", 1)
        return there, compared, peak(terminal, "start", database, short_dir / f"{name}_back", "--once")

    return run


def test_four_times_the_events_take_no_more_memory(there_and_back, short_dir: Path) -> None:
    """A migrator that keeps a list of anything would show it here."""
    peaks = {}
    for name, events in (("small", 30_000), ("large", 120_000)):
        prodigy.write_logs(str(short_dir / name), events=events, logs=4)
        peaks[name] = there_and_back(name, short_dir / name)

    assert max(peaks["large"]) < LIMIT_MB
    assert_no_growth(peaks["small"], peaks["large"])


def test_a_line_of_200_megabytes_is_carried_in_pieces(there_and_back, short_dir: Path) -> None:
    """One record without an end in sight must not be held whole."""
    log = short_dir / "long" / "events" / "repo" / "job" / "events-20251116_101500.jsonl"
    log.parent.mkdir(parents=True)
    with log.open("wb") as file:
        file.write(b'{"id":"' + b"x" * 1_000_000)
        for _ in range(199):
            file.write(b"y" * 1_000_000)
        file.write(b'"}\n{"id":"after"}\n')

    assert max(there_and_back("long", log.parents[3])) < LIMIT_MB


def test_many_small_files_take_no_more_than_few(there_and_back, short_dir: Path) -> None:
    """Inventories are streams: 11,000 sessions fit where 3,000 do."""
    peaks = {}
    for name, count in (("few", 3_000), ("many", 11_000)):
        prodigy.write_sessions(str(short_dir / name), count=count)
        peaks[name] = there_and_back(name, short_dir / name)

    assert max(peaks["many"]) < LIMIT_MB
    assert_no_growth(peaks["few"], peaks["many"])
