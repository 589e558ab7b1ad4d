"""Who else writes the files: processes that hold one of them open for writing, where processes can be seen at all.

One in a mount namespace of its own, as in a container, has other names for the same files: there it is the inode that tells.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Set
from contextlib import suppress

_INIT_NAMESPACE = "pid:[4026531836]"
"""That of the machine itself; in a container's own, other containers' processes are not seen."""

_WRITING = os.O_WRONLY | os.O_RDWR


def writers_of(root: bytes) -> tuple[str, ...] | None:
    """Processes with a file under *root* open for writing, this one left out; None where not all can be seen."""
    if not _sees_all():
        return None
    others = [pid for pid in _processes() if pid != os.getpid()]
    try:
        near = {pid for pid in others if _is_near(pid)}
        writing = {pid for pid in near if _writes_below(pid, os.path.realpath(root).rstrip(b"/") + b"/")}
        writing |= _by_inode(root, [pid for pid in others if pid not in near])
    except (PermissionError, FileNotFoundError):  # of the root itself: a process may end at any time
        return None
    return tuple(sorted(map(_described, writing)))


def _sees_all() -> bool:
    try:
        return os.geteuid() == 0 and os.readlink("/proc/self/ns/pid") == _INIT_NAMESPACE
    except OSError:
        return False


def _processes() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def _is_near(pid: int) -> bool:
    """True for a process that has the same names for files; and for one that ended meanwhile, which has none."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return os.readlink(b"/proc/%d/ns/mnt" % pid) == os.readlink(b"/proc/self/ns/mnt")
    return True


def _writes_below(pid: int, prefix: bytes) -> bool:
    for descriptor in _open_for_writing(pid):
        with suppress(FileNotFoundError, ProcessLookupError):
            if os.readlink(descriptor).startswith(prefix):
                return True
    return False


def _by_inode(root: bytes, pids: list[int]) -> set[int]:
    """Those of *pids* that have a file under *root* open for writing, whatever its name is to them."""
    device = os.stat(root).st_dev
    held = [(inode, pid) for pid in pids for inode in _inodes(pid, device)]
    there = _below(root, device, {inode for inode, _ in held}) if held else set()
    return {pid for inode, pid in held if inode in there}


def _inodes(pid: int, device: int) -> Iterator[int]:
    """The files on *device* that a process has open for writing."""
    for descriptor in _open_for_writing(pid):
        with suppress(FileNotFoundError, ProcessLookupError):
            found = os.stat(descriptor)
            if stat.S_ISREG(found.st_mode) and found.st_dev == device:
                yield found.st_ino


def _below(root: bytes, device: int, wanted: Set[int]) -> set[int]:
    """Those of *wanted* inodes that are in the tree."""
    found: set[int] = set()
    pending = [root]
    while pending and found != wanted:
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(pending.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                elif entry.inode() in wanted and entry.stat(follow_symlinks=False).st_dev == device:
                    found.add(entry.inode())
    return found


def _open_for_writing(pid: int) -> Iterator[bytes]:
    """The links in ``/proc`` to what a process has open for writing."""
    directory = b"/proc/%d/fd" % pid
    with suppress(FileNotFoundError, ProcessLookupError):  # it ended meanwhile
        for name in os.listdir(directory):
            if _is_written(pid, name):
                yield os.path.join(directory, name)


def _is_written(pid: int, name: bytes) -> bool:
    with suppress(FileNotFoundError, ProcessLookupError), open(b"/proc/%d/fdinfo/%b" % (pid, name), "rb") as file:
        flags = next((line.split()[1] for line in file if line.startswith(b"flags:")), b"0")
        return bool(int(flags, 8) & _WRITING)
    return False


def _described(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="backslashreplace") as file:
            return f"{file.read().strip()} (process {pid})"
    except OSError:
        return f"process {pid}"
