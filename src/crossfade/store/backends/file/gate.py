"""Who may write a tree: a marker and two lock files in a directory of ours beside the root, never inside.

The marker names the side that has the authority. It is a copy: the truth is the route in the database, whose change is the
durable decision of a hand-over. While the authority changes hands the marker says ``undecided``, and whoever reads that
asks the database. A runner that was replaced while it slept writes it no more: a marker says who wrote it.

A writer of ours holds ``writers`` shared around each write. Whoever hands the authority over takes it exclusively, behind
a turnstile: a lock is fair to nobody, so that without one, busy writers would never let it through. The kernel frees the
locks of whoever dies.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import shlex
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Literal

from crossfade.errors import Fenced, GateShut, TargetUnfit, TargetUnwritable
from crossfade.observe.failpoints import durable
from crossfade.store.backends.file.walk import OURS
from crossfade.store.disk import sync_directory

Side = Literal["files", "database", "undecided"]

EVERY = ""
"""The kind that stands for every kind without a word of its own."""

_VERSION = 1
_POLL_SECONDS = 0.001
_NEW_DIRECTORY = 0o700
_BARRIER = b"barrier"
_ROUTE = b"route.json"
_RENAME_SECONDS = 10.0
"""How long another one who replaces the marker is waited for: it takes a moment, unless somebody stopped him just then."""

_IN_FLIGHT = "a writer of the files holds on to a write; nothing was handed over"


@dataclass(frozen=True)
class Marker:
    """Which side decides, kind by kind, since which *epoch*, by which migration; *database* is a URL without a secret.

    ``authority`` maps a kind to a side; ``EVERY`` stands for all others. *runner* is the epoch of the lease of whoever wrote it.
    """

    migration: str
    database: str
    store: str
    epoch: int
    authority: Mapping[str, Side] = field(default_factory=dict)
    runner: int = 0

    def is_of_tree(self, other: Marker) -> bool:
        """True where both are about one tree in one database, whose epochs can be compared."""
        return (self.database, self.store) == (other.database, other.store)

    def is_later_than(self, other: Marker) -> bool:
        """True where *other*, of the same tree, was true before: of an older epoch, or by a runner who was replaced since."""
        if self.epoch != other.epoch or self.migration != other.migration:
            return self.epoch > other.epoch
        return self.runner > other.runner

    @property
    def handed_over(self) -> str:
        """In words, to whom the files are handed over, or may be; empty where they decide about all."""
        if set(self.authority.values()) <= {"files"}:
            return ""
        return f"migration {self.migration} has handed these files over to {self.database}, or is about to"

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
        """The marker; None where no hand-over was ever prepared, or where it stood on a volume that is gone: the database knows.

        Raises TargetUnfit for one that a newer release wrote, which may say more than this one understands.
        """
        try:
            with open(self._path(_ROUTE), encoding="utf-8") as file:
                values = json.load(file)
        except FileNotFoundError:
            return None
        if values.pop("schema_version") > _VERSION:
            raise TargetUnfit(
                f"{self._text(_ROUTE)} says who decides about these files, and was written by a newer release of crossfade",
                hint="use that release here as well; python -m pip install --upgrade crossfade",
            )
        return Marker(**values)

    def write(self, marker: Marker, *, instead_of: Marker | None = None) -> None:
        """Replace the marker, durably. Only for a migration's runner; what is not true any more says ``undecided`` before.

        Raises Fenced where a later one stands there, other than *instead_of*; GateShut where another tree has the authority.
        """
        self.make()
        new = self._path(b"%b.%b-%d" % (_ROUTE, marker.migration.encode(), marker.runner))  # nobody else's
        with open(new, "w", encoding="utf-8") as file:
            json.dump({"schema_version": _VERSION, **asdict(marker)}, file, indent=1)
            file.flush()
            with durable("gate.marker"):
                os.fsync(file.fileno())
                with self._replacing(marker, instead_of):
                    os.rename(new, self._path(_ROUTE))
                sync_directory(self.directory)

    @contextmanager
    def _replacing(self, marker: Marker, instead_of: Marker | None) -> Iterator[None]:
        """While nobody else replaces it, and *marker* is not late: a runner may have slept for long since it knew what to write."""
        until = time.monotonic() + _RENAME_SECONDS
        with self._locked(b"marker", fcntl.LOCK_EX, until, "another runner replaces the marker beside the files"):
            there = self.read()
            if there is not None and there != instead_of:
                self._check(there, marker)
            yield

    def _check(self, there: Marker, marker: Marker) -> None:
        if not there.is_of_tree(marker):
            self._refuse_another(there)
        elif there.is_later_than(marker):
            raise Fenced(
                f"another runner has written the marker beside {os.fsdecode(self.root)} since",
                hint=f"crossfade status {marker.migration}",
            )

    def _refuse_another(self, there: Marker) -> None:
        if there.handed_over:
            raise GateShut(
                f"{there.handed_over}; nothing was handed over",
                hint=f"{_rollback(there)}   # or, where that one is gone for good: {shlex.join(['rm', self._text(_ROUTE)])}",
            )

    def make(self) -> None:
        """Have the directory and the locks. Raises TargetUnwritable where there is no place for them."""
        try:
            os.makedirs(self.directory, _NEW_DIRECTORY, exist_ok=True)
            os.makedirs(self._path(_BARRIER), _NEW_DIRECTORY, exist_ok=True)
            for name in (b"turnstile", b"writers", b"marker"):
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
    def entered(self, seconds: float = math.inf) -> Iterator[Marker | None]:
        """Around one write of a writer: the marker, which stays true until the end.

        Waits while the gate is closed. Raises GateShut where that takes longer than *seconds*.
        """
        if not os.path.isdir(self.directory):
            self.make()
        until = time.monotonic() + seconds
        why = f"the authority over {os.fsdecode(self.root)} has been changing hands for {seconds:g} s; nothing was written"
        writers = self._open(b"writers")
        try:
            with self._locked(b"turnstile", fcntl.LOCK_SH, until, why):
                _take(writers, fcntl.LOCK_SH, until, why)
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
                _take(descriptor, fcntl.LOCK_EX, until, _IN_FLIGHT)
            yield
        finally:
            os.close(turnstile)
            os.close(writers)

    def _path(self, name: bytes) -> bytes:
        return os.path.join(self.directory, name)

    def _text(self, name: bytes) -> str:
        return os.fsdecode(self._path(name))

    def _open(self, name: bytes) -> int:
        try:
            return os.open(self._path(name), os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            self.make()
            return os.open(self._path(name), os.O_RDWR | os.O_CLOEXEC)

    @contextmanager
    def _locked(self, name: bytes, how: int, until: float, why: str) -> Iterator[None]:
        descriptor = self._open(name)
        try:
            _take(descriptor, how, until, why)
            yield
        finally:
            os.close(descriptor)


def _rollback(marker: Marker) -> str:
    return shlex.join(["crossfade", "rollback", marker.migration, "--store", marker.database])


def _take(descriptor: int, how: int, until: float, why: str) -> None:
    """Lock, by asking again and again: whoever waited in the kernel's queue could not give up. Raises GateShut, which says *why*."""
    while not _is_taken(descriptor, how):
        if time.monotonic() >= until:
            raise GateShut(why, hint="try again")
        time.sleep(_POLL_SECONDS)


def _is_taken(descriptor: int, how: int) -> bool:
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
