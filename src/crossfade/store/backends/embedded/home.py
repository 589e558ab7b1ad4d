"""The embedded directory itself: making it ours, its log, and what it holds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from crossfade.errors import EmbeddedFailed
from crossfade.store.backends.embedded.postmaster import SERVER, START, USERS, WATCH

LOG_BYTES_MAX = 16 << 20
_NOT_STRANGERS = {"lost+found"}  # what a freshly made volume holds


def claim(directory: str) -> None:
    """Make *directory* ours, or refuse it. A mode is set only where we make the directory."""
    os.makedirs(os.path.dirname(directory), exist_ok=True)
    if not os.path.lexists(directory):
        os.makedirs(directory, 0o700, exist_ok=True)
    strangers = set(os.listdir(directory)) - _NOT_STRANGERS
    if strangers and USERS not in strangers:
        raise EmbeddedFailed(
            f"{directory} is not empty and not an embedded PostgreSQL of crossfade (it holds {min(strangers)!r})",
            hint="name an empty directory, or one that does not exist",
        )
    for name in (USERS, START, SERVER, WATCH):
        _make_lock(directory, name)


def _make_lock(directory: str, name: str) -> None:
    fd = os.open(os.path.join(directory, name), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        _give_to_owner(fd, directory)
    finally:
        os.close(fd)


def _give_to_owner(fd: int, directory: str) -> None:
    """What root makes in another user's directory must stay usable for that user."""
    if os.geteuid() == 0:
        home = os.stat(directory)
        os.fchown(fd, home.st_uid, home.st_gid)


@contextmanager
def open_log(directory: str) -> Iterator[int]:
    """A descriptor that appends to ``server.log``; a log that has grown large is put aside first."""
    path = os.path.join(directory, "server.log")
    if os.path.lexists(path) and os.lstat(path).st_size > LOG_BYTES_MAX:
        os.rename(path, f"{path}.1")
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    try:
        _give_to_owner(fd, directory)
        yield fd
    finally:
        os.close(fd)


def major_of(directory: str) -> int | None:
    """The major version of the cluster in *directory*; None where there is none yet."""
    try:
        with open(os.path.join(directory, "data", "PG_VERSION"), encoding="ascii") as file:
            return int(file.read())
    except FileNotFoundError:
        return None
