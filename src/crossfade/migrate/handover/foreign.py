"""Who else writes the files: processes that hold one of them open for writing, where processes can be seen at all."""

from __future__ import annotations

import os
from collections.abc import Iterator

_INIT_NAMESPACE = "pid:[4026531836]"
"""That of the machine itself; in a container's own, other containers' processes are not seen."""

_WRITING = os.O_WRONLY | os.O_RDWR


def writers_of(root: bytes) -> tuple[str, ...] | None:
    """Processes with a file under *root* open for writing, this one left out; None where not all can be seen."""
    if not _sees_all():
        return None
    prefix = os.path.realpath(root).rstrip(b"/") + b"/"
    return tuple(sorted(_described(pid) for pid in _processes() if pid != os.getpid() and _writes_below(pid, prefix)))


def _sees_all() -> bool:
    try:
        return os.geteuid() == 0 and os.readlink("/proc/self/ns/pid") == _INIT_NAMESPACE
    except OSError:
        return False


def _processes() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def _writes_below(pid: int, prefix: bytes) -> bool:
    directory = b"/proc/%d/fd" % pid
    try:
        descriptors = os.listdir(directory)
    except OSError:  # it ended meanwhile
        return False
    return any(_is_written(pid, name, os.path.join(directory, name), prefix) for name in descriptors)


def _is_written(pid: int, name: bytes, link: bytes, prefix: bytes) -> bool:
    try:
        if not os.readlink(link).startswith(prefix):
            return False
        with open(b"/proc/%d/fdinfo/%b" % (pid, name), "rb") as file:
            flags = next(line.split()[1] for line in file if line.startswith(b"flags:"))
    except (OSError, StopIteration):
        return False
    return bool(int(flags, 8) & _WRITING)


def _described(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="backslashreplace") as file:
            return f"{file.read().strip()} (process {pid})"
    except OSError:
        return f"process {pid}"
