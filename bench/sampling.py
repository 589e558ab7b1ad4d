"""How much memory all processes of a command hold together: the sum of their PSS, sampled while it runs.

Linux divides a page that several processes share among them, so the sum counts it once (``/proc/PID/smaps_rollup``). All
processes of the command's session count: the runner, its spawned workers, the resource tracker. A PostgreSQL server does not.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from bench.running import say

SECONDS = 0.05
_SERVER = ("postgres", "initdb", "pg_ctl")


@dataclass(frozen=True)
class Sample:
    """One look: when, and the PSS by role (``runner``, ``workers``, ``other``) in bytes; ``anonymous`` is the part of no file."""

    seconds: float
    roles: dict[str, int]
    anonymous: int

    @property
    def total(self) -> int:
        """All of it."""
        return sum(self.roles.values())


@dataclass
class Peak:
    """The samples of one command's run."""

    samples: list[Sample] = field(default_factory=list)
    seconds: float = 0.0

    def values(self) -> dict[str, Any]:
        """For the JSON: MB are millions of bytes. ``quarters_mb`` are the peaks within each quarter of the run's time."""
        highest = max(self.samples, key=lambda sample: sample.total)
        gaps = [later.seconds - one.seconds for one, later in zip(self.samples, self.samples[1:], strict=False)]
        return {
            "peak_mb": _mb(highest.total),
            "at_peak": {role: _mb(size) for role, size in highest.roles.items()},
            "anonymous_mb": _mb(highest.anonymous),
            "quarters_mb": [_mb(max((s.total for s in self._quarter(number)), default=0)) for number in range(4)],
            "seconds": round(self.seconds, 1),
            "samples": len(self.samples),
            "longest_gap_seconds": round(max(gaps, default=0.0), 2),
        }

    def _quarter(self, number: int) -> Iterator[Sample]:
        return (sample for sample in self.samples if min(int(sample.seconds / self.seconds * 4), 3) == number)


def watched(process: subprocess.Popen[bytes]) -> Peak:
    """Sample until *process* ends. One that ended badly ends the benchmark."""
    peak, began = Peak(), time.monotonic()
    while process.poll() is None:
        sample = look(process.pid, time.monotonic() - began)
        if sample.total:
            peak.samples.append(sample)
        time.sleep(SECONDS)
    peak.seconds = time.monotonic() - began
    if process.returncode != 0 or not peak.samples:
        said = process.stderr.read().decode(errors="replace")[-2000:] if process.stderr else ""
        raise SystemExit(f"a command ended with {process.returncode} and was seen {len(peak.samples)} times\n{said}")
    return peak


def look(leader: int, seconds: float = 0.0) -> Sample:
    """What the session of *leader* holds at this moment."""
    roles, anonymous = {"runner": 0, "workers": 0, "other": 0}, 0
    for pid in session_of(leader):
        with suppress(OSError, KeyError):  # it ended between two looks
            if _name(pid).startswith(_SERVER):
                continue
            held = _rollup(pid)
            roles[role_of(pid, leader)] += held["Pss"]
            anonymous += held["Pss_Anon"]
    return Sample(seconds, roles, anonymous)


def session_of(leader: int) -> list[int]:
    """The processes of the session that *leader* leads."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            with suppress(OSError):
                if os.getsid(int(name)) == leader:
                    found.append(int(name))
    return found


def role_of(pid: int, leader: int, known: str = "") -> str:
    """What a process of crossfade is there for. One that has ended does not say any more: then what was *known* counts."""
    if pid == leader:
        return "runner"
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        words = file.read()
    if not words and known:
        return known
    return "workers" if b"spawn_main" in words else "other"


def _name(pid: int) -> str:
    with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
        return file.read().strip()


def _rollup(pid: int) -> dict[str, int]:
    """The sizes in ``smaps_rollup``, in bytes."""
    with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
        lines = file.read().split(b"\n")[1:]
    return {line.split(b":")[0].decode(): int(line.split()[1]) * 1024 for line in lines if line}


def _mb(size: int) -> float:
    return round(size / 1e6, 1)


def check_platform() -> None:
    """Say so at once where this cannot be measured."""
    try:
        _rollup(os.getpid())
    except OSError:
        say("this needs Linux with /proc/PID/smaps_rollup")
        raise SystemExit(1) from None
