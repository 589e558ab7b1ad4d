"""File systems that take two spellings for one name: ``A`` and ``a``, or é as one character and as two.

There the second of two entries would be written over the first, in silence. Whether a directory folds names is asked by
looking a name up that is there, under another spelling: no list of file systems is to be kept, and a directory is read only
where the answer is yes. What folds in yet another way (a dot at the end) is left to the proof at the end of a run.
"""

from __future__ import annotations

import errno
import os
import unicodedata
from collections.abc import Iterator
from contextlib import suppress


class OtherSpelling(OSError):
    """The directory has the name already, spelt in another way: it belongs to another entry."""

    def __init__(self) -> None:
        super().__init__(errno.EEXIST, "the directory has that name in another spelling")


def refuse_other_spelling(handle: int, name: bytes, found: os.stat_result) -> None:
    """Raise OtherSpelling where *found*, what the open directory *handle* has for *name*, is not called that."""
    if any(_is_there(handle, other, found) for other in _spellings(name)) and not _is_listed(handle, name):
        raise OtherSpelling


def _spellings(name: bytes) -> Iterator[bytes]:
    text = name.decode("utf-8", "surrogateescape")
    others = {text.swapcase(), unicodedata.normalize("NFC", text), unicodedata.normalize("NFD", text)} - {text}
    for other in others:
        with suppress(UnicodeEncodeError):  # half of a surrogate that was joined
            yield other.encode("utf-8", "surrogateescape")


def _is_there(handle: int, name: bytes, found: os.stat_result) -> bool:
    try:
        other = os.stat(name, dir_fd=handle, follow_symlinks=False)
    except OSError:
        return False
    return (other.st_ino, other.st_dev) == (found.st_ino, found.st_dev)


def _is_listed(handle: int, name: bytes) -> bool:
    with os.scandir(handle) as entries:
        return any(os.fsencode(entry.name) == name for entry in entries)
