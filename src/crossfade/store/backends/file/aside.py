"""What was put aside of a tree: kept in ``drift`` in our directory beside the root, under the number of its item.

Where the root is a file system of its own, nothing can be moved to beside it; then it is kept in our directory inside, where
only names of forty hexadecimal digits are ours.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable

from crossfade.observe.failpoints import durable
from crossfade.store.backends.file.tree import Tree
from crossfade.store.backends.file.walk import OURS

_FOLDER = b"drift"
_NAME_BYTES = 180
_NEW_DIRECTORY = 0o700


class Aside:
    """Where things of the tree at *root* are put aside."""

    def __init__(self, root: bytes) -> None:
        self._root = root

    def move(self, path: bytes, item: int) -> bytes:
        """Move what stands at *path*, whatever it is, with all that is below; where to. Raises FileNotFoundError for nothing."""
        tree = Tree(self._root)
        try:
            handle, name = tree.place(path)
            place = self._place(path, item, tree.stat(b"").st_dev)
            with durable("file.aside"):
                os.rename(name, place, src_dir_fd=handle)
                os.fsync(handle)
                _sync(os.path.dirname(place))
        finally:
            tree.close()
        return place

    def write(self, path: bytes, item: int, content: Iterable[bytes]) -> bytes:
        """Keep *content*, of what is no file; where."""
        place = self._place(path, item, os.stat(self._root).st_dev)
        with open(place, "xb") as file:
            file.writelines(content)
            file.flush()
            with durable("file.aside"):
                os.fsync(file.fileno())
                _sync(os.path.dirname(place))
        return place

    def find(self, path: bytes, item: int) -> bytes:
        """Where something was put aside for *item* before; empty where nothing was."""
        ours, name = os.path.realpath(self._root).rstrip(b"/") + OURS, _name(path, item)
        places = (os.path.join(ours, _FOLDER, name), os.path.join(self._root, OURS, _hidden(path, item)))
        return next((place for place in places if os.path.lexists(place)), b"")

    def _place(self, path: bytes, item: int, device: int) -> bytes:
        """A free name, in a directory of ours on the tree's own file system."""
        ours = os.path.realpath(self._root).rstrip(b"/") + OURS
        os.makedirs(ours, _NEW_DIRECTORY, exist_ok=True)
        if os.stat(ours).st_dev != device:
            inside = os.path.join(self._root, OURS)
            os.makedirs(inside, _NEW_DIRECTORY, exist_ok=True)
            return os.path.join(inside, _hidden(path, item))
        folder = os.path.join(ours, _FOLDER)
        os.makedirs(folder, _NEW_DIRECTORY, exist_ok=True)
        name, number = _name(path, item), 1
        while os.path.lexists(place := os.path.join(folder, name if number == 1 else b"%b.%d" % (name, number))):
            number += 1
        return place


def _name(path: bytes, item: int) -> bytes:
    return b"%d-%b" % (item, os.path.basename(path)[:_NAME_BYTES])


def _hidden(path: bytes, item: int) -> bytes:
    return hashlib.sha256(b"%d\0%b" % (item, path)).hexdigest()[:40].encode()


def _sync(directory: bytes) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
