"""Where a tree of files cannot be written as pages are: staged in a directory of ours, renamed into their places, and given their
modes and times, which only their owner may.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Sequence

from crossfade.model.layouts import Layout
from crossfade.store.backends.file.mounts import mounts_below
from crossfade.store.backends.file.staging import is_one_mount
from crossfade.store.backends.file.tree import Tree
from crossfade.store.backends.file.walk import VANISHED, walk

_OF_ITS_OWN = "it is a volume of its own"
_ANOTHERS = "it is another account's"
_AS_ITS_OWNER = os.O_RDONLY | os.O_NOATIME | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def out_of_reach(tree: Tree, moves: Callable[[bytes], bool]) -> Iterator[tuple[bytes, str]]:
    """Of the root of *tree*, and of the volumes below it that *moves* is true of, those where no file can be placed, each with the reason.

    Nothing is written for it: the tree may have the authority. Raises OSError.
    """
    for place in (b"", *filter(moves, sorted(mounts_below(tree.root)))):
        if why := _why_not(tree, place):
            yield place, why


def of_others(tree: Tree, layout: Layout, fates: Sequence[str], kinds: frozenset[str] | None) -> Iterator[tuple[bytes, str]]:
    """The directories of *tree* below its root, and the files of *kinds* (None: of all), whose mode and time are for another account
    to set, and what cannot be looked at; each with the reason. Of what has another fate than *fates* nothing is said. Raises OSError.

    A link has its time before it has its name, so it does not matter whose it was.
    """
    unseen: list[tuple[bytes, str]] = []
    ours = {os.geteuid()}

    def matters(path: bytes) -> bool:
        placement = layout.rule(path, directory=False)
        return placement.fate in fates and (kinds is None or placement.kind.name in kinds)

    for found in walk(
        tree, layout, lambda path, error: unseen.append((path, str(error.strerror))), fates=fates, directories=True
    ):
        yield from unseen
        unseen.clear()
        if found.placement.fate not in fates:
            continue
        if found.entry.path and not _is_reached(tree, found.entry.path, found.owner[0]):
            yield found.entry.path, _ANOTHERS
        yield from ((path, _ANOTHERS) for path in _files_of_others(tree, found.entry.path, ours, matters))
    yield from unseen


def _files_of_others(tree: Tree, directory: bytes, ours: set[int], matters: Callable[[bytes], bool]) -> Iterator[bytes]:
    """The files in *directory* that *matters* is true of, and that belong to none of *ours*, which grows by accounts that are as good."""
    try:
        entries = os.scandir(tree.directory(directory))
    except OSError as error:
        if error.errno in (*VANISHED, errno.EACCES):  # the walk says why, or there is nothing to say
            return
        raise
    with entries:
        for entry in entries:
            owner = _owner_of(entry)
            if owner is None or owner in ours:
                continue
            name = os.fsencode(entry.name)
            path = os.path.join(directory, name)
            if not matters(path):
                continue
            try:
                is_as_ours = _is_as_ours(tree.directory(directory), name)
            except OSError as error:
                if error.errno in VANISHED:
                    continue
                raise
            if not is_as_ours:
                yield path
            else:
                ours.add(owner)


def _owner_of(entry: os.DirEntry[str]) -> int | None:
    """That of a file; None for anything else, and for what has vanished."""
    try:
        return entry.stat(follow_symlinks=False).st_uid if entry.is_file(follow_symlinks=False) else None
    except FileNotFoundError:
        return None


def _is_reached(tree: Tree, directory: bytes, owner: int) -> bool:
    """True where *directory*, which *owner* has, is open to us, and where it has vanished since."""
    try:
        return _is_open_to_us(tree.directory(directory), owner)
    except OSError as error:
        return error.errno in VANISHED


def _why_not(tree: Tree, place: bytes) -> str:
    """Why nothing that is staged comes to *place*; empty where it does, and where another volume covers it."""
    try:
        handle = tree.directory(place)
    except FileNotFoundError:
        return ""
    except OSError as error:
        return _OF_ITS_OWN if error.errno == errno.ENOTDIR else str(error.strerror)
    if not is_one_mount(tree.directory(b""), handle):
        return _OF_ITS_OWN
    if is_read_only(handle):
        return "it is read-only"
    return "" if _is_open_to_us(handle, os.fstat(handle).st_uid) else _ANOTHERS


def is_read_only(place: bytes | int) -> bool:
    """True where *place*, a path or an open directory, is on a file system that takes no writes. Raises OSError."""
    try:
        return bool(os.statvfs(place).f_flag & os.ST_RDONLY)
    except OSError as error:
        if error.errno == errno.ENOSYS:
            return False
        raise


def _is_as_ours(handle: int, name: bytes) -> bool:
    """True where this account may set the mode and time of another one's *name*, in an open directory: they ask for the same right as
    opening it without a trace does. Raises OSError where it has vanished.
    """
    try:
        os.close(os.open(name, _AS_ITS_OWNER, dir_fd=handle))
    except PermissionError:
        return False
    return True


def _is_open_to_us(directory: int, owner: int) -> bool:
    """True where the open *directory* is as good as ours, and takes names. Of one of our own the mode may be mended, and is."""
    return owner == os.geteuid() or (_is_as_ours(directory, b".") and os.access(b".", os.W_OK | os.X_OK, dir_fd=directory))
