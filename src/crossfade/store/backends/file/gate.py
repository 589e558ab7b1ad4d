"""Who may write a tree: a marker and two lock files in a directory of ours beside the root, never inside.

The marker names the side that has the authority. It is a copy: the truth is the route in the database, whose change is the
durable decision of a hand-over. While the authority changes hands the marker says ``undecided``, and whoever reads that
asks the database.

A writer of ours holds ``writers`` shared around each write. Whoever hands the authority over takes it exclusively, behind
a turnstile: a lock is fair to nobody, so that without one, busy writers would never let it through. The kernel frees the
locks of whoever dies.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Literal

from crossfade.errors import GateShut, TargetUnwritable
from crossfade.observe.failpoints import durable
from crossfade.store.backends.file.walk import OURS

Side = Literal["files", "database", "undecided"]

EVERY = ""
"""The kind that stands for every kind without a word of its own."""

_VERSION = 1
_POLL_SECONDS = 0.001
_NEW_DIRECTORY = 0o700
_BARRIER = b"barrier"


@dataclass(frozen=True)
class Marker:
    """Which side decides, kind by kind, since which *epoch*, by which migration; *database* is a URL without a secret.

    ``authority`` maps a kind to a side; ``EVERY`` stands for all others.
    """

    migration: str
    database: str
    store: str
    epoch: int
    authority: Mapping[str, Side] = field(default_factory=dict)

    def side_of(self, kind: str) -> Side:
        """The side that decides about *kind*."""
        return self.authority.get(kind, self.authority.get(EVERY, "files"))


class Gate:
    """The gate of the tree at *root*."""

    def __init__(self, root: bytes) -> None:
        self.directory = os.path.realpath(root).rstrip(b"/") + OURS
        self.root = root

    # The marker

    def read(self) -> Marker | None:
        """The marker; None where no hand-over was ever prepared, or where it stood on a volume that is gone: the database knows."""
        try:
            with open(self._path(b"route.json"), encoding="utf-8") as file:
                values = json.load(file)
        except FileNotFoundError:
            return None
        values.pop("schema_version")
        return Marker(**values)

    def write(self, marker: Marker) -> None:
        """Replace the marker, durably. Only for a migration's runner; what is not true any more says ``undecided`` before."""
        self.make()
        new = self._path(b"route.json.new")
        with open(new, "w", encoding="utf-8") as file:
            json.dump({"schema_version": _VERSION, **asdict(marker)}, file, indent=1)
            file.flush()
            with durable("gate.marker"):
                os.fsync(file.fileno())
                os.rename(new, self._path(b"route.json"))
                self._sync()

    def make(self) -> None:
        """Have the directory and the locks. Raises TargetUnwritable where there is no place for them."""
        try:
            os.makedirs(self.directory, _NEW_DIRECTORY, exist_ok=True)
            os.makedirs(self._path(_BARRIER), _NEW_DIRECTORY, exist_ok=True)
            for name in (b"turnstile", b"writers"):
                os.close(os.open(self._path(name), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise TargetUnwritable(
                f"cannot make {os.fsdecode(self.directory)}, where writers and the hand-over meet: {error.strerror}",
                hint="make that directory for the account that runs crossfade, mode 0700",
            ) from None

    def barrier(self) -> bytes:
        """The directory in which a file is made to be met among the hints; empty where there is none yet."""
        path = self._path(_BARRIER)
        return path if os.path.isdir(path) else b""

    # Writers

    @contextmanager
    def entered(self) -> Iterator[Marker | None]:
        """Around one write of a writer: the marker, which stays true until the end. Waits while the gate is closed."""
        if not os.path.isdir(self.directory):
            self.make()
        writers = self._open(b"writers")
        try:
            with self._flock(b"turnstile", fcntl.LOCK_SH):
                fcntl.flock(writers, fcntl.LOCK_SH)
            yield self.read()
        finally:
            os.close(writers)

    # Whoever hands over

    @contextmanager
    def closed(self, seconds: float) -> Iterator[None]:
        """Keep writers out; those in flight are waited for. Raises GateShut where that takes longer than *seconds*."""
        self.make()
        until = time.monotonic() + seconds
        turnstile, writers = self._open(b"turnstile"), self._open(b"writers")
        try:
            for descriptor in (turnstile, writers):
                _take(descriptor, until)
            yield
        finally:
            os.close(turnstile)
            os.close(writers)

    def _path(self, name: bytes) -> bytes:
        return os.path.join(self.directory, name)

    def _open(self, name: bytes) -> int:
        try:
            return os.open(self._path(name), os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            self.make()
            return os.open(self._path(name), os.O_RDWR | os.O_CLOEXEC)

    @contextmanager
    def _flock(self, name: bytes, how: int) -> Iterator[None]:
        descriptor = self._open(name)
        try:
            fcntl.flock(descriptor, how)
            yield
        finally:
            os.close(descriptor)

    def _sync(self) -> None:
        descriptor = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _take(descriptor: int, until: float) -> None:
    """Lock exclusively, by asking again and again: whoever waited in the kernel's queue could not give up."""
    while not _is_taken(descriptor):
        if time.monotonic() >= until:
            raise GateShut("a writer of the files holds on to a write; nothing was handed over", hint="try again")
        time.sleep(_POLL_SECONDS)


def _is_taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
