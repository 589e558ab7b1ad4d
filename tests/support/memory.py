"""How much memory a command takes: the most that all its processes held together, the server excluded."""

from __future__ import annotations

import subprocess
import time
from contextlib import suppress

import psutil

_SECONDS = 0.05


def peak_pss_mb(process: subprocess.Popen[bytes]) -> float:
    """Sample until *process* ends: the highest sum of PSS over it and its children, in MB. Shared pages count once."""
    root, peak = psutil.Process(process.pid), 0
    while process.poll() is None:
        total = 0
        for one in [root, *_children(root)]:
            with suppress(psutil.Error):
                if not one.name().startswith(("postgres", "initdb")):
                    total += one.memory_full_info().pss
        peak = max(peak, total)
        time.sleep(_SECONDS)
    return peak / 1e6


def _children(root: psutil.Process) -> list[psutil.Process]:
    with suppress(psutil.Error):
        return root.children(recursive=True)
    return []
