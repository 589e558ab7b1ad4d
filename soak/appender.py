"""A program that logs steadily and makes a new document now and then, and says when each ``write()`` returned.

    appender.py ROOT --logs 20 --rate 5000 --seconds 30 --marked 100 --files 5

The standard library alone. On stdout, a line for each write that is marked: its marker, the file, where in it the write ended,
and ``CLOCK_MONOTONIC`` in nanoseconds just after the call. An event's marker is its ``correlation_id``, a document's its ``id``.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

PAD = "x" * 330
EVENT = (
    '{"id":"7f1c8a52-0f0e-4c57-9b1d-%012d","timestamp":"2026-11-23T10:15:00.123456Z","correlation_id":"%s",'
    '"event":{"event_type":"agent_progress","job_id":"mapreduce-1","agent_id":"agent-3","progress_pct":0.5},'
    f'"metadata":{{"host":"localhost","pad":"{PAD}"}}}}\n'
)
DOCUMENT = f'{{"id":"%s","status":"Running","started_at":"2026-11-23T10:15:00Z","pad":"{PAD * 3}"}}'


class Appender:
    """Writes into *logs* files in turn, one ``write()`` an event."""

    def __init__(self, root: Path, logs: int) -> None:
        self._root = root
        (root / "sessions").mkdir(parents=True, exist_ok=True)
        self._names = [f"events/repo/job-{number}/events-20261123_101500.jsonl" for number in range(logs)]
        self._logs = [self._opened(root / name) for name in self._names]
        self._ends = [os.fstat(log).st_size for log in self._logs]

    def _opened(self, path: Path) -> int:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def append(self, number: int, marker: str = "") -> None:
        """One event."""
        which = number % len(self._logs)
        self._ends[which] += os.write(self._logs[which], (EVENT % (number, marker or "none")).encode())
        if marker:
            _say(marker, self._names[which], self._ends[which])

    def make(self, marker: str) -> None:
        """One new document."""
        name = f"sessions/{marker}.json"
        with open(self._root / name, "wb", 0) as file:
            end = file.write((DOCUMENT % marker).encode())
        _say(marker, name, end)


def _say(marker: str, name: str, end: int) -> None:
    os.write(1, f"{marker} {name} {end} {time.monotonic_ns()}\n".encode())


def main() -> None:
    """Write for some seconds; at the end, how many events that were, and how many seconds it took, goes to stderr."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--logs", type=int, default=20)
    parser.add_argument("--rate", type=float, default=5_000, help="events a second")
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--marked", type=float, default=100, help="events a second that are marked")
    parser.add_argument("--files", type=float, default=5, help="new documents a second, all of them marked")
    options = parser.parse_args()
    print(*_append(Appender(options.root, options.logs), options), file=sys.stderr)


def _append(appender: Appender, options: argparse.Namespace) -> tuple[int, float]:
    """All that is due in that time, however long it takes: who is late catches up."""
    began, done, marked, made = time.monotonic(), 0, 0, 0
    while True:
        passed = min(time.monotonic() - began, options.seconds)
        while done < passed * options.rate:
            is_marked = marked < passed * options.marked
            appender.append(done, f"event-{marked}" if is_marked else "")
            done, marked = done + 1, marked + is_marked
        while made < passed * options.files:
            appender.make(f"document-{made}")
            made += 1
        if passed >= options.seconds:
            return done, time.monotonic() - began
        time.sleep(0.001)


if __name__ == "__main__":
    main()
