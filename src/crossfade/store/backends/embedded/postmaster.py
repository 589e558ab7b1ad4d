"""The running server as its neighbours see it: locks, ``postmaster.pid``, and how it is stopped.

A process id proves nothing (it may be a zombie, recycled, or of another container), so *running* means that
``server.lock`` is held: postgres inherits it from whoever started it, and the kernel frees it with the last of its
processes. The id is used for one thing only, to send the signal that stops it.

Run as a script, this file is the watchdog: it stops the server some seconds after its last user has gone, also when that
user was killed. It therefore imports the standard library only.
"""

from __future__ import annotations

import fcntl
import os
import signal
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

USERS, START, SERVER, WATCH = "users.lock", "start.lock", "server.lock", "watch.lock"
SHARED, EXCLUSIVE = fcntl.LOCK_SH, fcntl.LOCK_EX

SOCKET_PREFIX = ".crossfade-"
HOME_NOTE = "home"  # a file in the socket directory that names the embedded directory

STOP_SECONDS_MAX = 120.0
GRACE_SECONDS = 2.0  # time for a killed user to be restarted and join again
TICK_SECONDS = 0.5
NAP_SECONDS = 0.02


class Postmaster(NamedTuple):
    """What the server wrote about itself into ``postmaster.pid``."""

    pid: int
    started_unix: int
    port: int
    socket_dir: str
    ready: bool


def open_lock(directory: str, name: str) -> int:
    """A descriptor for a lock file, to be closed by the caller. A symbolic link in its place is refused.

    It is never made here: whoever removes the whole directory must not find a file that the watchdog just put there.
    """
    return os.open(os.path.join(directory, name), os.O_RDWR | os.O_NOFOLLOW)


def try_lock(fd: int, how: int) -> bool:
    """Take the lock if that is possible at once."""
    try:
        fcntl.flock(fd, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def wait_lock(fd: int, how: int, deadline: float) -> None:
    """Take the lock; :class:`TimeoutError` when it is still held at *deadline*."""
    while not try_lock(fd, how):
        pause(deadline)


def pause(deadline: float) -> None:
    """Sleep a moment; :class:`TimeoutError` once *deadline* (monotonic) has passed."""
    if time.monotonic() >= deadline:
        raise TimeoutError
    time.sleep(NAP_SECONDS)


@contextmanager
def lock_file(directory: str, name: str) -> Iterator[int]:
    """A descriptor that is closed, and its lock with it, at the end of the block."""
    fd = open_lock(directory, name)
    try:
        yield fd
    finally:
        os.close(fd)


def recorded(directory: str) -> Postmaster | None:
    """The server that last wrote ``postmaster.pid``, dead or alive; None where there is none, or it is half written."""
    try:
        with open(os.path.join(directory, "data", "postmaster.pid"), encoding="utf-8", errors="surrogateescape") as file:
            lines = file.read().splitlines()
    except FileNotFoundError:
        return None
    if len(lines) < 5:
        return None
    ready = len(lines) > 7 and lines[7].strip() == "ready"
    return Postmaster(abs(int(lines[0])), int(lines[2]), int(lines[3]), lines[4], ready)


def running(directory: str) -> Postmaster | None:
    """The server whose process is alive here and works in our data directory."""
    found = recorded(directory)
    return found if found and _works_in(found.pid, os.path.join(directory, "data")) else None


def _works_in(pid: int, data: str) -> bool:
    if not os.path.isdir("/proc/self"):  # not Linux: all that can be known
        return _exists(pid)
    try:
        return os.path.samestat(os.stat(f"/proc/{pid}/cwd"), os.stat(data))
    except OSError:
        return False


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def stop(directory: str, server: int, deadline: float) -> None:
    """Shut the server down (fast: sessions end, a checkpoint is made); return when its last process has gone.

    The caller holds ``start.lock``; *server* is its descriptor for ``server.lock``. :class:`TimeoutError` when the
    server goes on past *deadline*.
    """
    told: Postmaster | None = None
    while not try_lock(server, EXCLUSIVE):
        found = running(directory)
        if found and told is None:
            told = found
            _interrupt(found.pid)
        pause(deadline)
    last = told or recorded(directory)  # one that was killed could not tidy up
    if last and not running(directory):
        remove_socket_dir(last.socket_dir)


def _interrupt(pid: int) -> None:
    with suppress(ProcessLookupError):  # it ended by itself meanwhile
        os.kill(pid, signal.SIGINT)


def remove_socket_dir(path: str) -> None:
    """Remove a socket directory of ours that no server uses any more; anything else is left alone."""
    if not os.path.basename(path).startswith(SOCKET_PREFIX):
        return
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return
    try:
        for name in os.listdir(fd):
            if name in (HOME_NOTE, f"{HOME_NOTE}.new") or name.startswith(".s.PGSQL."):
                os.unlink(name, dir_fd=fd)
    finally:
        os.close(fd)
    os.rmdir(path)


def owner_only(path: str, uid: int) -> bool:
    """True for a real directory of *uid* that no group and nobody else may enter."""
    info = os.lstat(path)
    return stat.S_ISDIR(info.st_mode) and info.st_uid == uid and not info.st_mode & 0o077


class Watchdog:
    """Stops the server when nobody has held it for a while. Ends with the server, or with its last user."""

    def __init__(self, directory: str, watch: int) -> None:
        self.directory = directory
        self.watch = watch
        self.users, self.start, self.server = (open_lock(directory, name) for name in (USERS, START, SERVER))
        self.alone_since: float | None = None

    def run(self) -> None:
        done = False
        while not done:
            time.sleep(TICK_SECONDS)
            done = self.look()

    def look(self) -> bool:
        """One look; True when there is nothing left to watch."""
        if not try_lock(self.start, EXCLUSIVE):
            return False  # somebody starts or stops it right now
        try:
            return self._decide()
        finally:
            fcntl.flock(self.start, fcntl.LOCK_UN)

    def _decide(self) -> bool:
        # Critical section: start.lock is ours, so nobody else can be taking users.lock exclusively.
        if not try_lock(self.users, EXCLUSIVE):
            self.alone_since = None
            return False
        try:
            done = self._settle()
        finally:
            fcntl.flock(self.users, fcntl.LOCK_UN)
        if done:
            os.close(self.watch)  # before start.lock: whoever takes that one next must see that a new watchdog is needed
        return done

    def _settle(self) -> bool:
        now = time.monotonic()
        self.alone_since = self.alone_since or now
        if now - self.alone_since < GRACE_SECONDS and not self._ended():
            return False
        return self._stop()

    def _ended(self) -> bool:
        free = try_lock(self.server, EXCLUSIVE)
        if free:
            fcntl.flock(self.server, fcntl.LOCK_UN)
        return free

    def _stop(self) -> bool:
        try:
            stop(self.directory, self.server, time.monotonic() + STOP_SECONDS_MAX)
        except TimeoutError:
            sys.stderr.write(f"crossfade watchdog: the server did not stop in {STOP_SECONDS_MAX:.0f} s; trying again\n")
            return False
        fcntl.flock(self.server, fcntl.LOCK_UN)
        return True


def main(directory: str) -> int:
    """Become the watchdog of *directory*, unless it has one. Returns at once in the caller's process."""
    watch = open_lock(directory, WATCH)
    if not try_lock(watch, EXCLUSIVE):
        return 0
    if os.fork():
        os._exit(0)  # the child is nobody's to wait for, and has the lock
    Watchdog(directory, watch).run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
