"""How much memory a command takes: the most that all its processes held together, the server excluded."""

from __future__ import annotations

import subprocess
import time

from bench.sampling import SECONDS, look


def peak_pss_mb(process: subprocess.Popen[bytes]) -> float:
    """Sample until *process*, the leader of its session, ends: the highest sum of PSS in it, in MB. Shared pages count once."""
    peak = 0
    while process.poll() is None:
        peak = max(peak, look(process.pid).total)
        time.sleep(SECONDS)
    return peak / 1e6
