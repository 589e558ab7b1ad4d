"""A file system that takes two spellings for one name, where none can be mounted: case is not told apart, nor is é from é.

What is emulated is the lookup: below *root*, each system call of ``os`` that names something in an open directory is given the
spelling that the directory has, if it has another one. Listing shows what was made, as such file systems do.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

_CALLS = {
    **dict.fromkeys(("open", "stat", "mkdir", "unlink", "rmdir", "chmod", "utime", "readlink"), ((0, "dir_fd"),)),
    "rename": ((0, "src_dir_fd"), (1, "dst_dir_fd")),
    "symlink": ((1, "dir_fd"),),
}
_listdir = os.listdir


@contextmanager
def folding() -> Iterator[None]:
    """Names in open directories are looked up as a folding file system does, as long as this lasts."""
    with mock.patch.multiple(os, **{name: _folded(getattr(os, name), places) for name, places in _CALLS.items()}):
        yield


def _folded(call: Callable[..., Any], places: tuple[tuple[int, str], ...]) -> Callable[..., Any]:
    def folded(*given: Any, **named: Any) -> Any:
        words = list(given)
        for position, handle in places:
            if (directory := named.get(handle)) is not None:
                words[position] = _spelt(words[position], directory)
        return call(*words, **named)

    return folded


def _spelt(name: bytes, directory: int) -> bytes:
    """As *directory* has it."""
    there = [os.fsencode(found) for found in _listdir(directory)]
    return next((found for found in there if _fold(found) == _fold(name)), name)


def _fold(name: bytes) -> str:
    return unicodedata.normalize("NFD", name.decode("utf-8", "surrogateescape").casefold())
