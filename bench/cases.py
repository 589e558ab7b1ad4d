"""What memory is measured on: trees that are written as streams, and the room that each of them needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

from crossfade.testing import prodigy
from crossfade.testing.planting import Planter

WAYS = ("copy", "validate", "restore")
"""What is done with each case, and watched, in this order."""

BYTES_AN_EVENT = 520
_LOGS = 40
_BLOCK = 1 << 20
_ON_DISK_A_FILE = 4096 + 512
"""A small file takes a block of the file system and a node."""


@dataclass(frozen=True)
class Case:
    """A tree of about *size* bytes in *files* files, and how to write it; moved by so many *workers*, 0 for as many as usual."""

    name: str
    size: int
    files: int
    write: Callable[[Path], None]
    workers: int = 0

    @property
    def room_bytes(self) -> int:
        """What its source, its rows with indexes, and its restored copy take on disk, with the server's own and its WAL."""
        return 2 * self.size + 2 * self.files * _ON_DISK_A_FILE + 2 * self.size + 3_000_000_000


def all_cases(scale: float = 1.0) -> tuple[Case, ...]:
    """The cases of the issue; *scale* shortens all but the eight documents. Slopes are between the first and the second of a pair."""
    return (
        _events("events_few", int(500_000_000 * scale)),
        _events("events_many", int(5_000_000_000 * scale)),
        _sessions("files_few", int(300_000 * scale)),
        _sessions("files_many", int(1_000_000 * scale)),
        _line("one_long_line", int(2_000_000_000 * scale)),
        documents("eight_large_documents", 8, 40_000_000),
    )


def _events(name: str, size: int) -> Case:
    events = size // BYTES_AN_EVENT
    return Case(name, size, _LOGS, lambda root: _settled(prodigy.write_logs(str(root), events=events, logs=_LOGS)))


def _settled(_paths: list[bytes]) -> None:
    """What was planted is of no interest here."""


def _sessions(name: str, count: int) -> Case:
    return Case(name, count * 1_300, count, lambda root: _settled(prodigy.write_sessions(str(root), count=count)))


def _line(name: str, size: int) -> Case:
    """A log that is one record, without a newline at its end."""

    def write(root: Path) -> None:
        tree = Planter(str(root))
        tree.file(b"events/prodigy/long/events-20251116_101500.jsonl", _record(size, 1))
        tree.settle()

    return Case(name, size, 1, write)


def documents(name: str, count: int, size: int) -> Case:
    """Documents that are each one long JSON value, and a worker for each, so that all are in hand at the same time."""

    def write(root: Path) -> None:
        tree = Planter(str(root))
        for number in range(count):
            tree.file(f"sessions/session-{number}.json".encode(), _record(size, number))
        tree.settle()

    return Case(name, count * size, count, write, workers=count)


def _record(size: int, seed: int) -> Iterator[bytes]:
    """A JSON object of about *size* bytes whose text nothing compresses well."""
    random = Random(seed)
    yield b'{"id":"long","text":"'
    for start in range(0, size, _BLOCK):
        yield random.randbytes(_BLOCK // 2).hex()[: size - start].encode()
    yield b'"}'
