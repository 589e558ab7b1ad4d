"""Running crossfade as a user does, in a place of its own, and saying on which machine."""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import psutil

_ROOT = Path(__file__).parents[1]


class Ran(NamedTuple):
    """What ``--json`` said, and how long the whole command took, its interpreter's start included."""

    report: dict[str, Any]
    seconds: float


def say(text: str) -> None:
    """To whoever waits; results go to stdout."""
    print(text, file=sys.stderr, flush=True)


def crossfade(place: Path, *arguments: object) -> Ran:
    """Run a command to its end; one that fails ends the benchmark, with what it said."""
    began = time.monotonic()
    with popen(place, *arguments) as process:
        out, err = process.communicate()
    seconds = time.monotonic() - began
    if process.returncode != 0:
        raise SystemExit(
            f"crossfade {arguments[0]} ended with {process.returncode}:\n{err.decode(errors='replace')[-2000:]}"
        )
    return Ran(json.loads(out), seconds)


@contextmanager
def popen(
    place: Path,
    *arguments: object,
    module: str = "crossfade",
    environment: Mapping[str, str] | None = None,
    **options: Any,
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a command in a session of its own, with a list of migrations of its own below *place*, and *environment* added.

    A Ctrl-C of the benchmark does not reach it, so what still runs at the end is killed, workers and all.
    """
    command = [sys.executable, "-m", module, *map(str, arguments)]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    process: subprocess.Popen[Any] = subprocess.Popen(
        command,
        env={**os.environ, "XDG_STATE_HOME": str(place / "state"), **(environment or {})},
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        **options,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextmanager
def workplace() -> Iterator[Path]:
    """A temporary directory (``TMPDIR`` says where), gone at the end, also when the benchmark is told to stop."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    place = Path(tempfile.mkdtemp(prefix="crossfade-bench-"))
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)
        signal.signal(signal.SIGTERM, before)


def machine(place: Path) -> dict[str, str]:
    """What the figures were measured on, and of which commit. Names no host and no path."""
    memory = psutil.virtual_memory().total / 2**30
    return {
        "processor": f"{os.cpu_count()} x {_processor()}",
        "memory": f"{memory:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "file_system": _file_system(place),
        "python": platform.python_version(),
        "crossfade": metadata.version("crossfade"),
        "load_before": f"{os.getloadavg()[0]:.2f}",
    } | commit_of(_ROOT)


def commit_of(root: Path) -> dict[str, str]:
    """The commit of the code in *root*, with a ``+`` where the tree is not what was committed; nothing where there is no git."""
    if not (root / ".git").exists():
        return {}
    try:
        name, changes = (_git(root, *words) for words in (("rev-parse", "--short", "HEAD"), ("status", "--porcelain")))
    except (OSError, subprocess.CalledProcessError):
        return {}
    return {"commit": name + ("+" if changes else "")}


def _git(root: Path, *words: str) -> str:
    return subprocess.run(["git", "-C", str(root), *words], check=True, capture_output=True, text=True).stdout.strip()


def _processor() -> str:
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _file_system(place: Path) -> str:
    """The type of the file system that holds *place*: the mount with the longest matching name."""
    mounts = [mount for mount in psutil.disk_partitions(all=True) if place.is_relative_to(mount.mountpoint)]
    return max(mounts, key=lambda mount: len(mount.mountpoint)).fstype if mounts else "unknown"


def room_left(place: Path) -> tuple[int, int]:
    """Bytes and files that the file system of *place* still takes."""
    status = os.statvfs(place)
    return status.f_bavail * status.f_frsize, status.f_favail


def warm(*trees: Path) -> None:
    """Read files once, so that every side finds them in the cache."""
    for tree in trees:
        for directory, _, names in os.walk(tree) if tree.is_dir() else [(str(tree.parent), [], [tree.name])]:
            for name in names:
                _read(os.path.join(directory, name))


def _read(path: str) -> None:
    with open(path, "rb", buffering=0) as file:
        while file.read(1 << 20):
            pass
