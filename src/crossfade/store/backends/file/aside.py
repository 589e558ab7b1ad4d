"""What was put aside of a tree: kept in ``drift`` in our directory beside the root, under the number of its item.

Where the root is a file system of its own, nothing can be moved to beside it; then it is kept in our directory inside, where
only names of forty hexadecimal digits are ours.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from itertools import count, islice

from crossfade.observe.failpoints import durable
from crossfade.store.backends.file.staging import is_one_mount
from crossfade.store.backends.file.tree import Tree
from crossfade.store.backends.file.walk import OURS
from crossfade.store.disk import sync_directory

_FOLDER = b"drift"
_NAME_BYTES = 180
_NEW_DIRECTORY = 0o700
_TIMES = 100
"""So often at most one item is looked for."""


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
                sync_directory(os.path.dirname(place))
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
                sync_directory(os.path.dirname(place))
        return place

    def find(self, path: bytes, item: int) -> bytes:
        """Where something was put aside for *item* last; empty where nothing was."""
        ours = os.path.realpath(self._root).rstrip(b"/") + OURS
        folders = ((os.path.join(ours, _FOLDER), _name), (os.path.join(self._root, OURS), _hidden))
        places = (islice(_places(folder, name, path, item), _TIMES) for folder, name in folders)
        found = (list(filter(os.path.lexists, some)) for some in places)
        return next((some[-1] for some in found if some), b"")

    def _place(self, path: bytes, item: int, device: int) -> bytes:
        """A free name, in a directory of ours on the tree's own file system: an item may be put aside more than once."""
        ours = os.path.realpath(self._root).rstrip(b"/") + OURS
        os.makedirs(ours, _NEW_DIRECTORY, exist_ok=True)
        is_beside = os.stat(ours).st_dev == device and self._is_reached_from(ours)
        folder = os.path.join(ours, _FOLDER) if is_beside else os.path.join(self._root, OURS)
        os.makedirs(folder, _NEW_DIRECTORY, exist_ok=True)
        places = _places(folder, _name if is_beside else _hidden, path, item)
        return next(place for place in places if not os.path.lexists(place))

    def _is_reached_from(self, ours: bytes) -> bool:
        one, other = (os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC) for path in (ours, self._root))
        try:
            return is_one_mount(one, other)
        finally:
            os.close(one)
            os.close(other)


def _places(folder: bytes, name: Callable[[bytes, int, int], bytes], path: bytes, item: int) -> Iterator[bytes]:
    """The names of what is put aside for *item*, one after the other."""
    return (os.path.join(folder, name(path, item, number)) for number in count(1))


def _name(path: bytes, item: int, number: int) -> bytes:
    name = b"%d-%b" % (item, os.path.basename(path)[:_NAME_BYTES])
    return name if number == 1 else b"%b.%d" % (name, number)


def _hidden(path: bytes, item: int, number: int) -> bytes:
    what = b"%d\0%b" % (item, path) if number == 1 else b"%d\0%b\0%d" % (item, path, number)
    return hashlib.sha256(what).hexdigest()[:40].encode()
