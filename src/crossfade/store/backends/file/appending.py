"""Appending to files where they are, as long as nobody else writes there.

Every write goes to the end, wherever that is by then, so it never covers what another has written. The size before and after
tells whether there was another; then the file stands as it is, and is left to people. A page that is repeated goes on where
it stopped. Bytes, mode and time are on disk before anybody marks them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from crossfade.model.changes import Put
from crossfade.model.entries import Entry, Signature, altered
from crossfade.observe.failpoints import durable
from crossfade.store.backends.file.syncing import sync_each
from crossfade.store.backends.file.tree import Tree
from crossfade.store.backends.file.walk import signature_of

_HELD = 64
"""How many files are held open at once."""

_KEPT = 4096


@dataclass
class _Growing:
    """A file that this page appends to: the entry as it will stand, and how long the file must be by now."""

    descriptor: int
    entry: Entry
    size: int


class Appending:
    """Appends to files of *tree*, a page at a time; *unlock* gives a file that even its owner may not write a mode to do so.

    ``left`` are the paths where somebody else has written.
    """

    def __init__(self, tree: Tree, unlock: Callable[[Entry], None]) -> None:
        self._tree = tree
        self._unlock = unlock
        self._open: dict[bytes, _Growing] = {}
        self._settled: list[Entry] = []
        self._ours: dict[bytes, Signature] = {}
        self.left: set[bytes] = set()

    def begin(self) -> None:
        """A page begins, perhaps the last one over again."""
        self._settled, self.left = [], set()
        while len(self._ours) > _KEPT:
            del self._ours[next(iter(self._ours))]

    def write(self, put: Put) -> None:
        """Have the bytes of *put* at the end of its file; or leave it, where it is not what it was."""
        path = put.entry.path
        if path in self.left:
            return
        growing = self._open.get(path) or self._reach(put)
        if growing is None or not growing.size >= put.block.offset:
            self._leave(path)
            return
        self._append(growing, put.block.data[max(growing.size - put.block.offset, 0) :])
        growing.entry = altered(put.entry, size=put.block.end, digest=put.digest)
        if os.fstat(growing.descriptor).st_size != growing.size:
            self._leave(path)

    def _reach(self, put: Put) -> _Growing | None:
        """The file of *put*, if it is what it was; None where it is not."""
        path = put.entry.path
        try:
            found = self._tree.stat(path)
            if signature_of(found) not in (put.onto, self._ours.get(path)):
                return None
            self._make_room()
            descriptor = self._descriptor(put.entry)
        except OSError:
            return None
        growing = self._open[path] = _Growing(descriptor, put.entry, found.st_size)
        now = os.fstat(descriptor)
        return growing if (now.st_ino, now.st_size) == (found.st_ino, found.st_size) else None

    def _descriptor(self, entry: Entry) -> int:
        try:
            return self._tree.open_to_append(entry.path)
        except PermissionError:
            self._unlock(entry)
            return self._tree.open_to_append(entry.path)

    def _append(self, growing: _Growing, data: bytes) -> None:
        view = memoryview(data)
        with durable("file.append"):
            while view:
                try:
                    written = os.write(growing.descriptor, view)
                except OSError:
                    self._note(growing)
                    raise
                view, growing.size = view[written:], growing.size + written

    def _note(self, growing: _Growing) -> None:
        """Remember what a file is like when we leave it, for a page that is repeated."""
        status = os.fstat(growing.descriptor)
        if status.st_size == growing.size:
            self._ours.pop(growing.entry.path, None)
            self._ours[growing.entry.path] = signature_of(status)

    def _leave(self, path: bytes) -> None:
        self.left.add(path)
        growing = self._open.pop(path, None)
        if growing is not None:
            os.close(growing.descriptor)

    def settle(self) -> list[Entry]:
        """The entries of this page as they stand, once they are on disk. One to which somebody else has written is left."""
        if self._open:
            self._settle()
        return self._settled

    def _make_room(self) -> None:
        if len(self._open) >= _HELD:
            self._settle()

    def _settle(self) -> None:
        with durable("file.sync"):
            for growing in self._open.values():
                os.fchmod(growing.descriptor, growing.entry.mode)
                os.utime(growing.descriptor, ns=(growing.entry.mtime_ns, growing.entry.mtime_ns))
            sync_each([growing.descriptor for growing in self._open.values()])
        for path, growing in list(self._open.items()):
            status = os.fstat(growing.descriptor)
            if status.st_size != growing.size or not self._is_at(path, status):
                self._leave(path)
                continue
            self._settled.append(altered(growing.entry, signature=signature_of(status)))
        self.drop()

    def _is_at(self, path: bytes, status: os.stat_result) -> bool:
        """True where the file still has its name."""
        with suppress(OSError):
            return os.path.samestat(self._tree.stat(path), status)
        return False

    def drop(self) -> None:
        """Let go of the files that are open."""
        for growing in self._open.values():
            self._note(growing)
            os.close(growing.descriptor)
        self._open.clear()
