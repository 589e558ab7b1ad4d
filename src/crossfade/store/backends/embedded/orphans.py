"""Servers of ours that nobody holds, for ``crossfade doctor``.

Usually the watchdog is faster.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from crossfade.errors import EmbeddedFailed
from crossfade.store.backends.embedded import postmaster
from crossfade.store.backends.embedded.postmaster import EXCLUSIVE, START, USERS
from crossfade.store.backends.embedded.server import stop_if_unused
from crossfade.store.backends.embedded.sockets import socket_dirs

_LOOK_SECONDS_MAX = 1.0


@dataclass(frozen=True)
class Orphan:
    """A running server without a user: the embedded *directory* it serves, its process, and since when it runs."""

    directory: str
    pid: int
    started_unix: int


def orphans() -> list[Orphan]:
    """Running servers that we started and nobody holds, by directory. Another user's are visible to root only."""
    found = (_orphan(directory) for directory in _homes())
    return sorted((orphan for orphan in found if orphan), key=lambda orphan: orphan.directory)


def stop_orphan(orphan: Orphan) -> None:
    """Stop the server, as its last user would have. Raises :class:`EmbeddedFailed` if somebody holds it by now."""
    if not stop_if_unused(orphan.directory):
        raise EmbeddedFailed(f"the server in {orphan.directory} is in use again", hint="crossfade doctor")


def _homes() -> set[str]:
    """Only what we can enter: where root runs servers as the user that we are, their directories are closed to us."""
    homes = {home for _, home in socket_dirs()}
    return {home for home in homes if os.access(home, os.R_OK | os.W_OK | os.X_OK)}


def _orphan(directory: str) -> Orphan | None:
    found = postmaster.running(directory)
    try:
        if found is None or _held(directory):
            return None
    except FileNotFoundError:  # the directory is being removed; the server notices, and ends by itself
        return None
    return Orphan(directory, found.pid, found.started_unix)


def _held(directory: str) -> bool:
    """True when somebody uses it, or is about to start or stop it."""
    with postmaster.lock_file(directory, START) as start, postmaster.lock_file(directory, USERS) as users:
        try:
            postmaster.wait_lock(start, EXCLUSIVE, time.monotonic() + _LOOK_SECONDS_MAX)
        except TimeoutError:
            return True
        return not postmaster.try_lock(users, EXCLUSIVE)
