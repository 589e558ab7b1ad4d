"""Looking at this machine: its processors, who waits for them, and what our processes have used.

Linux tells all of it below ``/proc`` and ``/sys/fs/cgroup``; elsewhere less is seen, and a sample says what is not.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass

from crossfade.migrate.throttle.judge import waited_by_others
from crossfade.migrate.throttle.sample import Health, Sample

_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
_PRESSURE = "/proc/pressure/"
_GROUPS = "/sys/fs/cgroup"


def cpu_seconds_of(pid: int, *, with_children: bool = False) -> float:
    """What a process has used of the processors, 0.0 for one that is not there; with those of its children that ended."""
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return sum(map(int, fields[11 : 15 if with_children else 13])) / _TICKS if len(fields) > 14 else 0.0


def began_seconds_of(pid: int) -> float:
    """When a process began, on the clock of ``uptime_seconds``; 0.0 for one that is not there."""
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return int(fields[19]) / _TICKS if len(fields) > 19 else 0.0


@dataclass(frozen=True)
class Process:
    """One process: its number, which another one gets once it has ended, and when it began."""

    pid: int
    began: float

    @property
    def is_there(self) -> bool:
        """True until it has ended."""
        return began_seconds_of(self.pid) == self.began


def process_of(pid: int) -> Process | None:
    """The one that has this number now, if there is one."""
    began = began_seconds_of(pid)
    return Process(pid, began) if began else None


def uptime_seconds() -> float:
    """How long the machine is up; 0.0 where it does not tell."""
    return float((_read("/proc/uptime") or "0").split()[0])


def waited_seconds_of(pid: int) -> float:
    """How long a process's threads were ready to run, and did not."""
    total = 0.0
    with suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            total += float((_read(f"/proc/{pid}/task/{thread}/schedstat") or "0 0").split()[1]) / 1e9
    return total


def stalled_of(text: str) -> float | None:
    """Seconds for which some task was stalled, from the text of a file of ``/proc/pressure``."""
    for line in text.splitlines():
        if line.startswith("some "):
            return int(line.rpartition("total=")[2]) / 1e6
    return None


def quota_of(text: str) -> float | None:
    """Processors, from ``cpu.max`` or from quota and period in a line; None for no limit."""
    words = text.split()
    if len(words) != 2 or words[0] in ("max", "-1"):
        return None
    return int(words[0]) / int(words[1])


def limits_above(memberships: str, root: str = _GROUPS) -> list[float]:
    """The limits on processors of the control group in ``/proc/self/cgroup``, and of all groups that it is in."""
    found = []
    for line in memberships.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            found += [quota_of(_read(f"{group}/cpu.max")) for group in _upwards(root, path)]
        elif "cpu" in controllers.split(","):
            for group in _upwards(f"{root}/cpu", path):
                found.append(quota_of(f"{_read(f'{group}/cpu.cfs_quota_us')} {_read(f'{group}/cpu.cfs_period_us')}"))
    return [limit for limit in found if limit]


def _upwards(root: str, path: str) -> Iterable[str]:
    """The directory of a group below *root*, and those that it lies in."""
    parts = [part for part in path.split("/") if part and part != ".."]
    return ["/".join([root, *parts[:depth]]) for depth in range(len(parts), -1, -1)]


def cpus() -> float:
    """Processors that this process may use: all of the machine, or what its container is given."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min([float(usable), *limits_above(_read("/proc/self/cgroup"))])


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


@dataclass(frozen=True)
class _Counts:
    """What only grows: times, in seconds."""

    at: float
    used: float
    waited: float
    cpu_stall: float | None
    io_stall: float | None


class Machine:
    """Looks again and again; each look tells of the time since the one before. *health* says how the server is.

    For use by one thread at a time.
    """

    def __init__(self, health: Callable[[], Health] = Health) -> None:
        self._health = health
        self._cpus = cpus()
        self._before: _Counts | None = None

    def look(self) -> Sample:
        """The sample of now."""
        health = self._health()
        now = self._count(health)
        before, self._before = self._before or now, now
        waited, stalled = self._pressure(before, now)
        load = None if now.cpu_stall is not None else self._load(before, now)
        unseen = () if now.cpu_stall is not None else ("who waits for processors and disks (no /proc/pressure)",)
        return Sample(now.at, self._cpus, now.used, waited, stalled, load, health, (*unseen, *health.unseen))

    def _count(self, health: Health) -> _Counts:
        children = [child.pid for child in multiprocessing.active_children() if child.pid]
        reaped = os.times()
        used = time.process_time() + reaped.children_user + reaped.children_system
        used += sum(cpu_seconds_of(pid, with_children=True) for pid in children)
        waited = sum(map(waited_seconds_of, (os.getpid(), *children))) + health.waited_seconds
        stalls = [stalled_of(_read(f"{_PRESSURE}{name}")) for name in ("cpu", "io")]
        return _Counts(time.monotonic(), max(used, self._before.used if self._before else 0.0), waited, *stalls)

    def _pressure(self, before: _Counts, now: _Counts) -> tuple[float | None, float | None]:
        """The shares of time in which others waited for a processor, and anybody for a disk."""
        seconds = now.at - before.at
        if now.cpu_stall is None or before.cpu_stall is None or seconds <= 0:
            return None, None
        others = waited_by_others((now.cpu_stall - before.cpu_stall) / seconds, (now.waited - before.waited) / seconds)
        if now.io_stall is None or before.io_stall is None:
            return others, None
        return others, min(max((now.io_stall - before.io_stall) / seconds, 0.0), 1.0)

    def _load(self, before: _Counts, now: _Counts) -> float | None:
        """The others' load for each processor of the machine."""
        if not hasattr(os, "getloadavg") or now.at <= before.at:
            return None
        ours = (now.used - before.used) / (now.at - before.at)
        return max(os.getloadavg()[0] - ours, 0.0) / (os.cpu_count() or 1)
