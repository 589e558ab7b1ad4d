"""Named places before and after every durable call, where a test can end the process as a power cut would.

Each durable call (a commit, an fsync, a rename) stands inside ``with durable("name"):``. A test lists the calls and fails
where one has no name. ``CROSSFADE_FAILPOINT=name:before@3`` kills the whole process group at the third passing.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

FAILPOINTS = {
    "postgres.schema": "the schema is created or brought to this version",
    "postgres.claim": "the migration, its store and kinds are written down, the lease taken",
    "postgres.page": "a page and its position are committed",
    "postgres.index": "a kind's indexes are built",
    "postgres.marks": "marks of a file target are committed",
    "postgres.ledger": "a phase, a journal line or progress is committed",
    "file.sync": "the bytes of a page are on disk, under their temporary names",
    "file.rename": "an entry gets its real name",
    "file.directory": "a directory's names are on disk",
    "file.metadata": "modes and times of directories are set",
    "registry.save": "the list of this user's migrations is replaced",
}

_passed: Counter[str] = Counter()


@contextmanager
def durable(name: str) -> Iterator[None]:
    """Mark the calls inside as durable, under a registered name."""
    _reach(f"{name}:before")
    yield
    _reach(f"{name}:after")


def _reach(place: str) -> None:
    wanted = os.environ.get("CROSSFADE_FAILPOINT")
    if wanted is None:
        return
    name, _, count = wanted.partition("@")
    if name == place:
        _passed[place] += 1
        if _passed[place] == int(count or 1):
            os.killpg(os.getpgrp(), signal.SIGKILL)


def places() -> list[str]:
    """Every place where a process can be made to die."""
    return [f"{name}:{side}" for name in FAILPOINTS for side in ("before", "after")]
