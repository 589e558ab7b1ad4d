"""Lines of the journal that wait for the database to come back: in the user's state directory, on disk before anything else.

One file for each process and migration, which its writer holds a lock on. A file that nobody holds belongs to a process that
is gone; whoever works on the migration next appends what is in it. A line that is appended twice stands there once.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from platformdirs import user_state_dir

from crossfade.observe.failpoints import durable
from crossfade.store.backends.postgres.journal import Line, line_of
from crossfade.store.disk import sync_directory


def spool_folder() -> str:
    """Where the files are. Raises OSError for a user without a home."""
    folder = os.path.join(user_state_dir("crossfade"), "journal")
    if not os.path.isabs(folder):
        raise FileNotFoundError(errno.ENOENT, "this user has no home")
    return folder


class Spool:
    """What this process keeps back of one migration's journal. Not for use by two threads at once."""

    def __init__(self, migration: str) -> None:
        self._migration = migration
        self._file: int | None = None
        self._path = ""
        self.lines: list[Line] = []

    def keep(self, lines: Sequence[Line]) -> None:
        """Have *lines* on disk. Raises OSError."""
        text = "".join(json.dumps(line.values(), default=str) + "\n" for line in lines).encode()
        if self._file is None:
            self._open()
        assert self._file is not None
        with durable("journal.spool"):
            os.write(self._file, text)
            os.fsync(self._file)
        self.lines += lines

    def _open(self) -> None:
        folder = spool_folder()
        os.makedirs(folder, 0o700, exist_ok=True)
        self._path = os.path.join(folder, f"{self._migration}-{uuid.uuid4().hex}.jsonl")
        self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_EX)
        with durable("journal.spool"):
            sync_directory(folder)

    def clear(self) -> None:
        """Everything is in the journal."""
        if self._file is not None:
            with suppress(FileNotFoundError):
                os.unlink(self._path)
        self.lines = []
        self.close()

    def close(self) -> None:
        """Let go of the file; what is in it is for whoever comes next."""
        if self._file is not None:
            os.close(self._file)
        self._file = None


@dataclass(frozen=True)
class Left:
    """A file of a process that is gone, and its lines; ``unread`` counts those of another shape, which a newer release wrote."""

    path: str
    lines: list[Line]
    unread: int


def left_behind(migration: str) -> Iterator[Left]:
    """The files of processes that are gone, locked while the caller has them, oldest first."""
    try:
        folder = spool_folder()
        names = [name for name in os.listdir(folder) if name.startswith(f"{migration}-") and name.endswith(".jsonl")]
    except OSError:
        return
    paths = [os.path.join(folder, name) for name in names]
    for path in sorted(paths, key=_age):
        with _abandoned(path) as file:
            if file is not None:
                yield _read(path, file)


def _age(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0


@contextmanager
def _abandoned(path: str) -> Iterator[int | None]:
    """The file at *path*, if nobody else holds it; None where somebody does, or where it is gone meanwhile."""
    try:
        file = os.open(path, os.O_RDWR)
    except OSError:
        yield None
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield file if os.fstat(file).st_nlink else None
    except BlockingIOError:
        yield None
    finally:
        os.close(file)


def _read(path: str, file: int) -> Left:
    lines, unread = [], 0
    for values in _values(file):
        try:
            lines.append(line_of(values))
        except (ValueError, TypeError, KeyError):
            unread += 1
    return Left(path, lines, unread)


def _values(file: int) -> Iterator[Any]:
    """What is whole: a line that was not finished was never said to be kept."""
    with os.fdopen(os.dup(file), encoding="utf-8") as text:
        for line in text:
            with suppress(ValueError):
                yield json.loads(line)
