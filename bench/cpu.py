"""Who used the processor: the runner, its workers, the server. From ``/proc``, in seconds of user and system time."""

from __future__ import annotations

import os
import subprocess
import time
from contextlib import suppress
from typing import NamedTuple

import psutil

from bench.sampling import SECONDS, role_of, session_of


class Used(NamedTuple):
    """Seconds of the processor."""

    user: float = 0.0
    system: float = 0.0

    def plus(self, other: Used) -> Used:
        """Together."""
        return Used(self.user + other.user, self.system + other.system)

    def minus(self, other: Used) -> Used:
        """What came on top of *other*."""
        return Used(self.user - other.user, self.system - other.system)


def followed(process: subprocess.Popen[bytes]) -> dict[str, Used]:
    """Run *process* to its end: what each role used. What a process does after the last look at it is missed, 50 ms at most."""
    seen: dict[int, tuple[str, Used]] = {}
    while process.poll() is None:
        for pid in session_of(process.pid):
            with suppress(OSError, psutil.Error):
                role = seen[pid][0] if pid in seen else ""
                seen[pid] = role_of(pid, process.pid, role), of_process(pid)
        time.sleep(SECONDS)
    roles: dict[str, Used] = {}
    for role, used in seen.values():
        roles[role] = roles.get(role, Used()).plus(used)
    return roles


def of_group(leader: int) -> Used:
    """What the processes of a session have used, as far as they live."""
    used = Used()
    for pid in session_of(leader):
        with suppress(psutil.Error):
            used = used.plus(of_process(pid))
    return used


def of_server(postmaster: int) -> Used:
    """All that a server has ever used: its own, that of processes it lives with, and that of those that ended."""
    root = psutil.Process(postmaster)
    while True:
        children = root.children(recursive=True)
        times = root.cpu_times()
        used = Used(times.user + times.children_user, times.system + times.children_system)
        for child in children:
            with suppress(psutil.Error):
                used = used.plus(of_process(child.pid))
        if root.children(recursive=True) == children:  # else one may be counted twice, or not at all
            return used


def of_process(pid: int) -> Used:
    """What one process has used."""
    times = psutil.Process(pid).cpu_times()
    return Used(times.user, times.system)


def cores() -> int:
    """How many there are to be used."""
    return os.cpu_count() or 1
