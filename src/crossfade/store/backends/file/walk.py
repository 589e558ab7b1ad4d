"""A walk in key order: depth first, names sorted bytewise, in bounded memory but for one directory's names at a time."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from crossfade.model.entries import Entry, Signature, Type
from crossfade.model.kinds import Placement
from crossfade.model.layouts import Layout
from crossfade.model.paths import ancestors_of
from crossfade.store.backends.file.tree import Tree

OURS = b".crossfade"
"""A directory of ours at the root, where a page is staged when there is no room beside it. Never part of the tree."""

_STAGED = re.compile(rb"[0-9a-f]{40}").fullmatch
_VANISHED = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
"""What opening a directory says that is gone, or has become a file or a link, since it was met."""


@dataclass(frozen=True)
class Found:
    """One thing that the walk met. ``special`` are devices, pipes and sockets, which are reported and not moved."""

    entry: Entry
    placement: Placement
    special: bool = False
    hard_links: int = 1
    owner: tuple[int, int] = (0, 0)
    sparse: bool = False


def walk(
    tree: Tree, layout: Layout, on_error: Callable[[bytes, OSError], None], *, everything: bool = False
) -> Iterator[Found]:
    """All that is under the root, the root first. Pruned directories are met but, unless *everything*, not entered.

    What cannot be listed or looked at goes to *on_error*, which may raise. What vanishes under the walk is passed over.
    """
    yield Found(entry_of(b"", os.fstat(tree.directory(b"")), b"", layout), layout.place(b"", directory=True))
    stack: list[tuple[bytes, list[bytes]]] = [(b"", _names(tree, b"", on_error))]
    while stack:
        directory, names = stack[-1]
        if not names:
            stack.pop()
            continue
        name = names.pop()
        path = directory + b"/" + name if directory else name
        found = _look(tree, directory, name, path, layout, on_error)
        if found is None:
            continue
        yield found
        if found.entry.type == "dir" and not found.special and (everything or layout.prunes(path) is None):
            stack.append((path, _names(tree, path, on_error)))


def look(tree: Tree, path: bytes, layout: Layout, on_error: Callable[[bytes, OSError], None]) -> Found | None:
    """What the walk would meet at *path*; None for what it would not."""
    if not path:
        return Found(entry_of(b"", os.fstat(tree.directory(b"")), b"", layout), layout.place(b"", directory=True))
    directory, _, name = path.rpartition(b"/")
    try:
        tree.directory(directory)
    except OSError as error:
        if error.errno not in _VANISHED:
            on_error(path, error)
        return None
    if any(layout.prunes(above) is not None for above in ancestors_of(path)) or (
        path.split(b"/", 1)[0] == OURS and is_ours(tree)
    ):
        return None
    return _look(tree, directory, name, path, layout, on_error)


def _names(tree: Tree, path: bytes, on_error: Callable[[bytes, OSError], None]) -> list[bytes]:
    """The names in a directory, last first, so that they can be popped."""
    try:
        with os.scandir(tree.directory(path)) as entries:
            names = [os.fsencode(entry.name) for entry in entries]
    except OSError as error:
        if error.errno not in _VANISHED:
            on_error(path, error)
        return []
    names.sort(reverse=True)
    if not path and OURS in names and is_ours(tree):
        names.remove(OURS)
    return names


def is_ours(tree: Tree) -> bool:
    """True where the root's directory of our name holds nothing but what we stage there: a user's own is moved like any."""
    try:
        with os.scandir(tree.directory(OURS)) as entries:
            return all(_STAGED(os.fsencode(entry.name)) for entry in entries)
    except OSError:
        return False


def _look(
    tree: Tree, directory: bytes, name: bytes, path: bytes, layout: Layout, on_error: Callable[[bytes, OSError], None]
) -> Found | None:
    try:
        handle = tree.directory(directory)
        status = os.stat(name, dir_fd=handle, follow_symlinks=False)
        link = os.readlink(name, dir_fd=handle) if stat.S_ISLNK(status.st_mode) else b""
    except FileNotFoundError:
        return None
    except OSError as error:
        on_error(path, error)
        return None
    is_directory = stat.S_ISDIR(status.st_mode)
    special = not (is_directory or stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode))
    placement = layout.place(path, directory=is_directory)
    entry = entry_of(path, status, link, layout, placement)
    sparse = entry.type == "file" and status.st_blocks * 512 < status.st_size
    return Found(entry, placement, special, status.st_nlink, (status.st_uid, status.st_gid), sparse)


def entry_of(path: bytes, status: os.stat_result, link: bytes, layout: Layout, placement: Placement | None = None) -> Entry:
    """The entry for what ``stat`` says of *path*."""
    type_: Type = "dir" if stat.S_ISDIR(status.st_mode) else "link" if stat.S_ISLNK(status.st_mode) else "file"
    kind = (placement or layout.place(path)).kind if type_ == "file" else None
    return Entry(
        path=path,
        type=type_,
        kind=kind.name if kind else "",
        form=kind.form if kind else "blob",
        size=status.st_size if type_ == "file" else 0,
        mode=stat.S_IMODE(status.st_mode),
        mtime_ns=status.st_mtime_ns,
        link=link,
        signature=signature_of(status),
    )


def signature_of(status: os.stat_result) -> Signature:
    """What tells, without reading, that a file is as it was."""
    return Signature(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
