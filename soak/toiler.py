"""A program that takes all of one processor: for each event it works a little, then logs it. Says how many it came to.

    toiler.py ROOT --seconds 20 --name 3

The standard library alone.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import time
from pathlib import Path

_LOGS = 20
_WORK = bytes(100_000)
"""Hashed for each event: a program that logs does something else most of the time."""

_EVENT = (
    b'{"id":"%d","timestamp":"2026-11-23T10:15:00Z","event":{"event_type":"agent_progress"},"work":"%s","pad":"'
    + b"x" * 300
    + b'"}\n'
)


def toil(root: Path, name: str, seconds: float) -> int:
    """Work and log for so long, into new logs; how many events that were."""
    directory = root / f"events/repo/job-{name}"
    directory.mkdir(parents=True)
    how = os.O_WRONLY | os.O_APPEND | os.O_CREAT
    logs = [os.open(directory / f"events-{number}.jsonl", how, 0o644) for number in range(_LOGS)]
    until, done = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        os.write(logs[done % _LOGS], _EVENT % (done, hashlib.sha256(_WORK).hexdigest().encode()))
        done += 1
    return done


def main() -> None:
    """Toil."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--name", required=True)
    options = parser.parse_args()
    print(toil(options.root, options.name, options.seconds))


if __name__ == "__main__":
    main()
