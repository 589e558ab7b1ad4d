"""Planting trees: files, directories and links with exact bytes, modes and times, the same on every run.

A test tree must not depend on when or where it was made. So every path gets an explicit mode and time; where the
caller names none, the time comes from the path itself. Files and links are finished as they are planted; directories
in :meth:`Planter.settle`, deepest first, because planting in a directory changes its time.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress

LEFT_OUT = (
    "resume_locks/*.lock",
    "locks/*.lock",
    "**/*.checkpoint.tmp",
    "**/state.json.tmp.*",
    "worktrees/*/[!.]*",
)
"""Globs for what generated Prodigy trees hold beside their moved set, in the words of ``scripts/compare_trees.py``."""

DAY_NS = 86_400 * 10**9
EPOCH_NS = 1_763_288_100 * 10**9
"""2025-11-16T10:15:00Z: when things happen in generated trees."""


def time_of(path: bytes) -> int:
    """A time for *path*: within a month after ``EPOCH_NS``, with nanoseconds, always the same."""
    return EPOCH_NS + zlib.crc32(path) * 603_979_777 % (30 * DAY_NS)


def key_order(path: bytes) -> bytes:
    """Sort by this to list paths as a depth-first walk meets them."""
    return path.replace(b"/", b"\0")


class Planter:
    """Plants under *root*, which is made if need be. Paths are relative bytes; parents are made on the way.

    A path is ``moved`` when crossfade should move it with Prodigy's layout. A parent that nobody planted before is
    moved if the path that needed it is.
    """

    def __init__(self, root: bytes | str) -> None:
        self.root = os.fsencode(root)
        self._moved: set[bytes] = set()
        self._directories: dict[bytes, tuple[int, int]] = {}
        if not os.path.isdir(self.root):
            os.makedirs(self.root)
            os.chmod(self.root, 0o755)  # noqa: S103 - whatever the umask says: two builds are equal, their roots too

    def file(
        self,
        path: bytes,
        body: bytes | Iterable[bytes],
        *,
        mode: int = 0o644,
        mtime_ns: int | None = None,
        moved: bool = True,
    ) -> None:
        """Write a file; a *body* in parts is streamed."""
        self._note(path, moved)
        with open(self._at(path), "wb") as file:
            file.writelines([body] if isinstance(body, bytes) else body)
            file.flush()
            os.fchmod(file.fileno(), mode)
            time = time_of(path) if mtime_ns is None else mtime_ns
            os.utime(file.fileno(), ns=(time, time))

    def directory(self, path: bytes, *, mode: int = 0o755, mtime_ns: int | None = None, moved: bool = True) -> None:
        """Make a directory; its mode and time are set when the tree settles."""
        self._note(path, moved)
        self._make(path)
        self._directories[path] = (mode, time_of(path) if mtime_ns is None else mtime_ns)

    def link(self, path: bytes, text: bytes, *, mtime_ns: int | None = None) -> None:
        """Make a symbolic link that says *text*."""
        self._note(path, moved=True)
        os.symlink(text, self._at(path))
        time = time_of(path) if mtime_ns is None else mtime_ns
        os.utime(self._at(path), ns=(time, time), follow_symlinks=False)

    def settle(self) -> list[bytes]:
        """Finish the directories and the root; returns the moved set, in walking order, without the root."""
        for path in sorted(self._directories, reverse=True):
            mode, time = self._directories[path]
            os.chmod(self._at(path), mode)
            os.utime(self._at(path), ns=(time, time))
        os.utime(self.root, ns=(EPOCH_NS, EPOCH_NS))
        return sorted(self._moved, key=key_order)

    def _note(self, path: bytes, moved: bool) -> None:
        new = [parent for parent in parents_of(path) if parent not in self._directories]
        for parent in new:
            self._make(parent)
            self._directories[parent] = (0o755, time_of(parent))
        if moved:
            self._moved.update(new, [path])

    def _make(self, path: bytes) -> None:
        with suppress(FileExistsError):
            os.mkdir(self._at(path))

    def _at(self, path: bytes) -> bytes:
        return self.root + b"/" + path


def parents_of(path: bytes) -> Iterator[bytes]:
    """The directories above *path*, from the top down, without the root."""
    names = path.split(b"/")
    return (b"/".join(names[:depth]) for depth in range(1, len(names)))
