"""Where a tree of files cannot be written as pages are: staged in a directory of ours, and renamed into their places."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from crossfade.store.backends.file.mounts import mounts_below
from crossfade.store.backends.file.staging import is_one_mount
from crossfade.store.backends.file.tree import Tree


def out_of_reach(root: bytes, moves: Callable[[bytes], bool]) -> dict[bytes, str]:
    """Of *root*, and of the volumes below it that *moves* is true of, those where no file can be placed, each with the reason.

    Nothing is written for it: the tree may have the authority.
    """
    tree = Tree(root)
    places = (b"", *filter(moves, sorted(mounts_below(root))))
    found = {place: _why_not(tree, place) for place in places}
    tree.close()
    return {place: why for place, why in found.items() if why}


def _why_not(tree: Tree, place: bytes) -> str:
    """Why nothing that is staged comes to *place*; empty where it does, and where another volume covers it."""
    try:
        handle = tree.directory(place)
    except FileNotFoundError:
        return ""
    except OSError as error:
        return "it is a volume of its own" if error.errno == errno.ENOTDIR else str(error.strerror)
    if not is_one_mount(tree.directory(b""), handle):
        return "it is a volume of its own"
    if os.fstatvfs(handle).f_flag & os.ST_RDONLY:
        return "it is read-only"
    is_mine = os.fstat(handle).st_uid == os.geteuid()  # whose mode may be mended, and is
    return (
        ""
        if is_mine or os.access(b".", os.W_OK | os.X_OK, dir_fd=handle)
        else "another account's, and read-only for this one"
    )
