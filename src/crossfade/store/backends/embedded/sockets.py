"""Socket directories: new ones with short names, and the ones that lie around.

Each holds a note that names the embedded directory it serves, so servers are found without a registry that could be
lost or lie. Its name begins with a hash of the same, so what a killed starter left is swept away even without a note.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress

from crossfade.store.backends.embedded.postmaster import HOME_NOTE, SOCKET_PREFIX, owner_only, remove_socket_dir


def new_socket_dir(directory: str) -> str:
    """A new directory (a socket's path has 107 bytes), with a name that nobody can have prepared for us."""
    return tempfile.mkdtemp(prefix=_prefix(directory), dir=_parent())


def socket_dirs() -> Iterator[tuple[str, str]]:
    """The socket directories that are ours (for root: anybody's), each with the embedded directory it serves."""
    for path in _named(SOCKET_PREFIX):
        note = _note(path)
        if note is not None:
            yield path, note


def sweep(directory: str) -> None:
    """Remove the socket directories of *directory*; the caller knows that no server runs there."""
    for path in _named(_prefix(directory)):
        if _note(path) in (None, directory):
            remove_socket_dir(path)


def _prefix(directory: str) -> str:
    return f"{SOCKET_PREFIX}{hashlib.sha256(os.fsencode(directory)).hexdigest()[:12]}-"


def _named(prefix: str) -> Iterator[str]:
    for name in sorted(os.listdir(_parent())):
        path = os.path.join(_parent(), name)
        with suppress(FileNotFoundError):  # removed while we look
            if name.startswith(prefix) and _ours(path):
                yield path


def _parent() -> str:
    """The system's own: a user's TMPDIR may be too long, and differ between two users of one server."""
    return "/tmp" if os.access("/tmp", os.W_OK | os.X_OK) else tempfile.gettempdir()  # noqa: S108 - mkdtemp below it


def _ours(path: str) -> bool:
    uid = os.lstat(path).st_uid
    return os.geteuid() in (0, uid) and owner_only(path, uid)


def _note(path: str) -> str | None:
    try:
        fd = os.open(os.path.join(path, HOME_NOTE), os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:  # removed while we look, or its starter was killed before it wrote the note
        return None
    with open(fd, "rb") as file:
        return os.fsdecode(file.read(4096))
