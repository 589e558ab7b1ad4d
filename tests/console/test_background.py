"""The logs of runs in the background are bounded: in size, and in how long they stay."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from crossfade.console import background

TALKATIVE = """
import os, time
from crossfade.console import background
background._LOG_BYTES, background._LOOK_SECONDS = 20_000, 0.02
log = background._log()
print(log, flush=True)
background._leave(log)
for number in range(3_000):
    os.write(2, f"line {number:040}\\n".encode())  # at once: a line in two parts may come to stand in two files
    time.sleep(0.0002)
time.sleep(0.5)  # a change of files that has begun ends
"""


def test_a_log_that_is_full_makes_way_for_a_new_one(tmp_path: Path):
    """One predecessor is kept, and between the two nothing is missing."""
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", TALKATIVE], env=environment, capture_output=True, text=True, check=True)
    log = Path(done.stdout.strip())
    names = {path.name for path in log.parent.iterdir()}
    lines = (log.with_name(f"{log.name}.1").read_text() + log.read_text()).splitlines()

    assert names == {log.name, f"{log.name}.1"}
    assert sum(path.stat().st_size for path in log.parent.iterdir()) < 120_000
    numbers = [int(line.split()[1]) for line in lines]
    assert numbers == list(range(numbers[0], 3_000))


def test_logs_of_runs_that_are_long_over_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Not one that a run, quiet as it may be, still writes."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    folder = tmp_path / "crossfade" / "logs"
    folder.mkdir(parents=True)
    for name, days in (("old.log", 31), ("old.log.1", 31), ("quiet.log", 31), ("recent.log", 29)):
        (folder / name).write_text("said")
        os.utime(folder / name, (time.time() - days * 86_400,) * 2)
    with (folder / "quiet.log").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_SH)
        new = background._log()

    assert {path.name for path in folder.iterdir()} == {"quiet.log", "recent.log", Path(new).name}
