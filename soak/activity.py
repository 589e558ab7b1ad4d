"""A program at work while its state is moved; it remembers each event that was acknowledged to it.

It writes by one of three means: files, as a program does that knows nothing of crossfade; the functions of the schema, as a
program does that only speaks SQL; crossfade's writer, which goes where the authority is.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import psycopg

from crossfade.store.writer import Writer

_PAUSE_SECONDS = 0.004
_LOGS = 4


class Means(Protocol):
    """How a program writes."""

    def append(self, path: str, line: bytes) -> None:
        """Add a line to a log."""

    def put(self, path: str, body: bytes) -> None:
        """Replace a document."""

    def remove(self, path: str) -> None:
        """Remove it."""

    def move(self, path: str, new: str) -> None:
        """Rename a file."""

    def close(self) -> None:
        """Write no more."""


class OnFiles:
    """In place, and in pieces."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def append(self, path: str, line: bytes) -> None:
        target = self._root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("ab", 0) as file:
            file.write(line[: len(line) // 2])
            file.write(line[len(line) // 2 :])

    def put(self, path: str, body: bytes) -> None:
        target = self._root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb", 0) as file:
            file.write(body)

    def remove(self, path: str) -> None:
        (self._root / path).unlink(missing_ok=True)

    def move(self, path: str, new: str) -> None:
        with suppress(FileNotFoundError):
            (self._root / path).rename(self._root / new)

    def close(self) -> None:
        """Nothing is open."""


class BySql:
    """Each write is a transaction of its own."""

    def __init__(self, conninfo: str, schema: str) -> None:
        self._connection = psycopg.connect(conninfo, autocommit=True)
        self._schema = schema

    def append(self, path: str, line: bytes) -> None:
        self._call("append", path, line)

    def put(self, path: str, body: bytes) -> None:
        self._call("put", path, body)

    def remove(self, path: str) -> None:
        self._call("remove", path)

    def move(self, path: str, new: str) -> None:
        with suppress(psycopg.Error):  # there was no such log yet
            self._call("move", path, new)

    def close(self) -> None:
        self._connection.close()

    def _call(self, function: str, *values: object) -> None:
        marks = ", ".join(["%s"] * len(values))
        self._connection.execute(f"SELECT {self._schema}.{function}({marks})".encode(), values)


class ByWriter:
    """Wherever the authority is at that moment."""

    def __init__(self, root: Path, url: str) -> None:
        self._writer = Writer(os.fsencode(root), url)

    def append(self, path: str, line: bytes) -> None:
        self._writer.append(path.encode(), line)

    def put(self, path: str, body: bytes) -> None:
        self._writer.put(path.encode(), body)

    def remove(self, path: str) -> None:
        self._writer.remove(path.encode())

    def move(self, path: str, new: str) -> None:
        """It has no way to rename."""

    def close(self) -> None:
        self._writer.close()


class Activity(threading.Thread):
    """Writes until it is stopped, but for pauses. ``acknowledged`` are the ids of its events, ``error`` is what ended it."""

    def __init__(self, name: str, means: Callable[[], Means]) -> None:
        super().__init__(name=name, daemon=True)
        self._means = means
        self._over = threading.Event()
        self._may = threading.Event()
        self._rests = threading.Event()
        self._number = 0
        self.acknowledged: list[str] = []
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            means = self._means()
            while not self._over.is_set():
                if not self._may.is_set():
                    self._rests.set()
                    self._may.wait(0.1)
                    continue
                self._work(means)
                self._over.wait(_PAUSE_SECONDS)
            means.close()
        except BaseException as error:  # noqa: BLE001 - told by whoever asks
            self.error = error
        self._rests.set()

    def go_on(self) -> None:
        """Write from now on."""
        self._rests.clear()
        self._may.set()

    def rest(self) -> None:
        """Finish the write in hand, and write no more until told to go on."""
        self._may.clear()
        self._rests.wait(60)
        if self.error is not None:
            raise SystemExit(f"a write of {self.name} failed: {self.error!r}")

    def stop(self) -> None:
        """Write no more."""
        self._over.set()
        self.join(60)

    def _work(self, means: Means) -> None:
        self._number += 1
        number, log = self._number, f"events/repo/job-{self.name}/events-{self._number % _LOGS}.jsonl"
        if number % 11 == 3:
            means.put(f"sessions/{self.name}-{number % 20}.json", b'{"id":"%d","status":"Running"}' % number)
        elif number % 23 == 5:
            means.remove(f"sessions/{self.name}-{number % 20}.json")
        elif number % 37 == 7:
            means.move(log, f"{log[: -len('.jsonl')]}.{number}.jsonl")
        else:
            identity = f"{self.name}-{number}"
            means.append(log, b'{"id":"%s","timestamp":"2026-11-23T00:00:00Z"}\n' % identity.encode())
            self.acknowledged.append(identity)
