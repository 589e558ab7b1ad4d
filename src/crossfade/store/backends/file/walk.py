"""A walk in key order: depth first, names sorted bytewise, in bounded memory."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence

import msgspec

from crossfade.model.entries import Entry, Signature, Type
from crossfade.model.kinds import Kind, Placement
from crossfade.model.layouts import Layout
from crossfade.model.paths import ancestors_of, leaves_root
from crossfade.store.backends.file.names import IMPOSSIBLE, in_order
from crossfade.store.backends.file.tree import Tree

OURS = b".crossfade"
"""A directory of ours at the root, where a page is staged when there is no room beside it. Never part of the tree."""

NOBODYS = (OURS, b"lost+found")
"""What may stand at the root of a tree that is as good as empty: our own staging, and what a new file system begins with."""

_STAGED = re.compile(rb"[0-9a-f]{40}").fullmatch
VANISHED = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
"""What opening a directory says that is gone, or has become a file or a link, since it was met."""

_TYPES: dict[int, Type] = {stat.S_IFDIR: "dir", stat.S_IFLNK: "link"}
_MOVED = (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK)


class Found(msgspec.Struct, frozen=True, gc=False):
    """One thing that the walk met. ``special`` are devices, pipes and sockets, which are reported and not moved."""

    entry: Entry
    placement: Placement
    special: bool = False
    hard_links: int = 1
    owner: tuple[int, int] = (0, 0)
    sparse: bool = False

    @property
    def fate(self) -> str:
        """What becomes of it: the placement's ``fate``, or ``special``."""
        return "special" if self.special else self.placement.fate


def walk(
    tree: Tree,
    layout: Layout,
    on_error: Callable[[bytes, OSError], None],
    *,
    everything: bool = False,
    under: bytes = b"",
    directories: bool = False,
    fates: Sequence[str] = ("keep",),
) -> Iterator[Found]:
    """All that is under the root, the root first; or all below *under*; or only the *directories* of it.

    A pruned directory is given, but entered only with *everything*, or if its fate is among *fates*. What cannot
    be listed or looked at goes to *on_error*, which may raise. What vanishes under the walk is passed over.
    """
    if not under:
        yield _root(tree, layout)
    elif any(_is_pruned(layout, path, fates) for path in (under, *ancestors_of(under))):
        return
    stack = [(under, _names(tree, under, on_error, directories=directories))]
    while stack:
        directory, names = stack[-1]
        name = next(names, None)
        if name is None:
            stack.pop()
            continue
        path = directory + b"/" + name if directory else name
        found = _look(tree, directory, name, path, layout, on_error)
        if found is None:
            continue
        if found.entry.type == "dir" and (everything or found.placement.fate in fates):
            stack.append((path, _names(tree, path, on_error, directories=directories)))  # a look first: it may be hidden
        yield found


def _root(tree: Tree, layout: Layout) -> Found:
    return Found(entry_of(b"", os.fstat(tree.directory(b"")), b"", None), layout.rule(b"", directory=True))


def fates_of(*, include_transient: bool) -> tuple[str, ...]:
    """What becomes of what is in the moved set."""
    return ("keep", "transient") if include_transient else ("keep",)


def left_out_by(layout: Layout, *, include_transient: bool) -> Callable[[bytes, bool], bool]:
    """Says of a path, and whether it is a directory, that it is not moved, nor is anything below: a build in a worktree is no news."""
    fates = fates_of(include_transient=include_transient)
    return lambda path, is_directory: layout.rule(path, directory=is_directory).fate not in fates


def lies_left_out(leaves_out: Callable[[bytes, bool], bool], path: bytes, *, directory: bool) -> bool:
    """True for what *leaves_out* says so of, and for all below a directory of which it does."""
    return leaves_out(path, directory) or any(leaves_out(above, True) for above in ancestors_of(path))


def _is_pruned(layout: Layout, directory: bytes, fates: Sequence[str]) -> bool:
    placement = layout.prunes(directory)
    return placement is not None and placement.fate not in fates


def look(
    tree: Tree,
    path: bytes,
    layout: Layout,
    on_error: Callable[[bytes, OSError], None],
    fates: Sequence[str] = ("keep",),
) -> Found | None:
    """What the walk would meet at *path*; None for what it would not, and where this file system cannot have anything."""
    if not path:
        return _root(tree, layout)
    if leaves_root(path):
        return None
    if any(_is_pruned(layout, above, fates) for above in ancestors_of(path)):
        return None
    directory, _, name = path.rpartition(b"/")
    try:
        tree.directory(directory)
    except OSError as error:
        if error.errno not in (*VANISHED, *IMPOSSIBLE):
            on_error(path, error)
        return None
    if path.split(b"/", 1)[0] == OURS and is_ours(tree):
        return None
    return _look(tree, directory, name, path, layout, on_error)


def _names(
    tree: Tree, path: bytes, on_error: Callable[[bytes, OSError], None], *, directories: bool = False
) -> Iterator[bytes]:
    """The names in a directory, in order; only of its *directories*, where that is asked."""
    try:
        with os.scandir(tree.directory(path)) as entries:
            names = in_order(os.fsencode(e.name) for e in entries if not directories or e.is_dir(follow_symlinks=False))
    except OSError as error:
        if error.errno not in VANISHED:
            on_error(path, error)
        return iter(())
    return names if path or not is_ours(tree) else (name for name in names if name != OURS)


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
    except OSError as error:
        if error.errno not in (errno.ENOENT, *IMPOSSIBLE):
            on_error(path, error)
        return None
    return _found(path, status, link, layout)


def _found(path: bytes, status: os.stat_result, link: bytes, layout: Layout) -> Found:
    what = stat.S_IFMT(status.st_mode)
    placement = layout.rule(path, directory=what == stat.S_IFDIR)
    entry = entry_of(path, status, link, placement.kind if what == stat.S_IFREG else None)
    sparse = what == stat.S_IFREG and status.st_blocks * 512 < status.st_size
    return Found(entry, placement, what not in _MOVED, status.st_nlink, (status.st_uid, status.st_gid), sparse)


def entry_of(path: bytes, status: os.stat_result, link: bytes, kind: Kind | None) -> Entry:
    """The entry for what ``stat`` says of *path*; a file is of *kind*."""
    mode = status.st_mode
    return Entry(
        path=path,
        type=_TYPES.get(stat.S_IFMT(mode), "file"),
        kind=kind.name if kind else "",
        form=kind.form if kind else "blob",
        size=status.st_size if kind else 0,
        mode=stat.S_IMODE(mode),
        mtime_ns=status.st_mtime_ns,
        link=link,
        signature=signature_of(status),
    )


def signature_of(status: os.stat_result) -> Signature:
    """What tells, without reading, that a file is as it was."""
    return Signature(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
