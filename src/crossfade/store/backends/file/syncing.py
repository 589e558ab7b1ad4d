"""Having bytes and names on disk: one call for the whole file system where that is as good as one a file (docs/decisions/0013)."""

from __future__ import annotations

import ctypes
import os
import platform
import re
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor

_FEW = 8
"""Up to so many, one call each is cheaper than a call that also writes what others have left to be written."""

_AT_ONCE = 16
"""So many wait for the disk side by side: a file system with a journal commits them together."""

_WHOLE = {
    0xEF53: "ext2, ext3, ext4",
    0x58465342: "xfs",
    0x9123683E: "btrfs",
    0xF2F52010: "f2fs",
    0x01021994: "tmpfs",
}
"""File systems of which ``syncfs`` is known to end with a flush of the disk, and to tell of every write that failed."""

_SINCE = (5, 8)
"""From this Linux on, ``syncfs`` tells of a write that failed in the background; before it, such a loss stayed unheard of."""


class Disk:
    """The file system that the open directory *handle* is on."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self._whole = _kernel() >= _SINCE and _type_of(handle) in _WHOLE

    def takes_whole(self, count: int) -> bool:
        """True where *count* things are better synced by one call for everything than by one each."""
        return count > _FEW and self._whole

    def sync(self) -> None:
        """Everything on this file system is on disk. Raises OSError where something written since the last call was lost."""
        assert _syncfs is not None
        if _syncfs(self._handle) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))


def sync_each(descriptors: Collection[int]) -> None:
    """The open files or directories *descriptors*, on disk, side by side. Raises the first OSError of them."""
    if len(descriptors) <= 1:
        list(map(os.fsync, descriptors))
        return
    with ThreadPoolExecutor(min(len(descriptors), _AT_ONCE), thread_name_prefix="fsync") as threads:
        list(threads.map(os.fsync, descriptors))


def _find(name: str) -> Callable[..., int] | None:
    """A function of the C library that the standard library does not offer; None where this system has none."""
    return getattr(ctypes.CDLL(None, use_errno=True), name, None)


_syncfs, _fstatfs = _find("syncfs"), _find("fstatfs")


def _type_of(handle: int) -> int:
    """The magic number of a file system: the first word of what Linux's ``fstatfs`` says."""
    said = (ctypes.c_long * 64)()
    if _syncfs is None or _fstatfs is None or _fstatfs(handle, said) != 0:
        return 0
    return int(said[0]) & 0xFFFFFFFF


def _kernel() -> tuple[int, int]:
    """Linux's version; (0, 0) for anything else."""
    found = re.match(r"(\d+)\.(\d+)", platform.release()) if platform.system() == "Linux" else None
    return (int(found[1]), int(found[2])) if found else (0, 0)
