"""Directories by handle. Nothing here follows a link, so nothing here can leave the root, whatever a link in the tree says.

Handles also lift the limit that ``PATH_MAX`` puts on a path's length.
"""

from __future__ import annotations

import errno
import os
from collections import OrderedDict
from contextlib import suppress

from crossfade.model.paths import leaves_root, parent_of
from crossfade.store.backends.file.spelling import refuse_other_spelling

_KEPT = 128
_DIRECTORY = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Tree:
    """The directory *root* and everything under it. Holds a bounded number of open directories."""

    def __init__(self, root: bytes) -> None:
        self.root = root
        self._handle = _open_root(root)
        self._open: OrderedDict[bytes, int] = OrderedDict()
        self._exact: set[bytes] = set()
        self._made: set[bytes] = set()

    def directory(self, path: bytes, *, create: bool = False) -> int:
        """A handle on the directory *path*, valid until the next call. *create* makes it and its parents, for us only.

        Raises NotADirectoryError where a component is a file or a link, FileNotFoundError where it is missing.
        """
        if not path:
            return self._handle
        held = self._open.get(path)
        if held is not None and (path in self._exact or not create):
            self._open.move_to_end(path)
            return held
        if leaves_root(path):
            raise ValueError("the path leaves the root")
        return self._descend(path, create=create)

    def _descend(self, path: bytes, *, create: bool) -> int:
        """Open *path* from its closest ancestor at hand, a component at a time; all of them stay at hand.

        What was opened to look at may be another's by its spelling: for *create* it is not at hand.
        """
        at = path
        while at and at not in (self._exact if create else self._open):
            at = parent_of(at)
        handle = self._open.get(at, self._handle)
        while at != path:
            end = path.find(b"/", len(at) + 1)
            deeper = path if end < 0 else path[:end]
            handle = self._step(handle, at, deeper, create=create)
            self._keep(deeper, handle, exact=create)
            at = deeper
        return handle

    def _step(self, handle: int, path: bytes, deeper: bytes, *, create: bool) -> int:
        """A handle on *deeper*, a directory in *path*, on which *handle* is open."""
        name = deeper[len(path) + 1 :] if path else deeper
        try:
            found = _to_read(name, _DIRECTORY, handle)
        except FileNotFoundError:
            if not create:
                raise
        else:
            return _checked(found, handle, name) if create else found
        with suppress(FileExistsError):  # another worker was quicker
            os.mkdir(name, 0o700, dir_fd=handle)
            self._made.add(path)
        return _to_read(name, _DIRECTORY, handle)

    def _keep(self, path: bytes, handle: int, *, exact: bool) -> None:
        self._let_go(path)
        self._open[path] = handle
        if exact:
            self._exact.add(path)
        if len(self._open) > _KEPT:
            self._let_go(next(iter(self._open)))

    def _let_go(self, path: bytes) -> None:
        self._exact.discard(path)
        if (held := self._open.pop(path, None)) is not None:
            os.close(held)

    def take_made(self) -> set[bytes]:
        """The directories in which others were made since the last call: their names are not on disk yet."""
        made, self._made = self._made, set()
        return made

    def place(self, path: bytes, *, create: bool = False) -> tuple[int, bytes]:
        """The handle of the directory that holds *path*, and the name in it. Raises ValueError for what leaves the root."""
        if leaves_root(path):
            raise ValueError("the path leaves the root")
        return self.directory(parent_of(path), create=create), path.rpartition(b"/")[2]

    def stat(self, path: bytes) -> os.stat_result:
        """What is at *path*, links not followed."""
        if not path:
            return os.fstat(self._handle)
        handle, name = self.place(path)
        return os.stat(name, dir_fd=handle, follow_symlinks=False)

    def open(self, path: bytes) -> int:
        """A descriptor to read the regular file *path*. Raises OSError for a link; never blocks on a pipe."""
        handle, name = self.place(path)
        return _to_read(name, _FILE, handle)

    def open_to_append(self, path: bytes) -> int:
        """A descriptor whose every write goes to the end of the regular file *path*, wherever that is by then."""
        handle, name = self.place(path)
        flags = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        return os.open(name, flags, dir_fd=handle)

    def forget(self, path: bytes) -> None:
        """Close what is held of *path* and below: it is about to go away."""
        for held in [p for p in self._open if p == path or p.startswith(path + b"/")]:
            self._let_go(held)

    def renew(self) -> None:
        """Open the root again, and everything below when it is asked for: any of it may have been exchanged by now."""
        self.close()
        self._handle = _open_root(self.root)

    def close(self) -> None:
        """Close every handle. May be called twice."""
        for path in list(self._open):
            self._let_go(path)
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def _checked(found: int, handle: int, name: bytes) -> int:
    """*found*, opened as *name* in *handle*; raises OtherSpelling where that is another's name."""
    try:
        refuse_other_spelling(handle, name, os.fstat(found))
    except OSError:
        os.close(found)
        raise
    return found


def _open_root(root: bytes) -> int:
    return _to_read(root, os.O_DIRECTORY | os.O_CLOEXEC)


def _to_read(name: bytes, flags: int, handle: int | None = None) -> int:
    """*name* opened in such a way that nobody sees it was read, where it is ours or we are root: else its atime would be written."""
    try:
        return os.open(name, os.O_RDONLY | os.O_NOATIME | flags, dir_fd=handle)
    except PermissionError as error:
        if error.errno != errno.EPERM:
            raise
    return os.open(name, os.O_RDONLY | flags, dir_fd=handle)
