"""Named places before and after every durable call, where a test can end the process as a power cut would.

Each durable call (a commit, an fsync, a rename) stands inside ``with durable("name"):``. A test lists the calls and fails
where one has no name. ``CROSSFADE_FAILPOINT=name:before@3`` kills the whole process group at the third passing;
with ``CROSSFADE_FAILPOINT_ARMED=FILE`` a passing counts only once FILE is there, so that a run can be let come as far as one likes;
with ``CROSSFADE_FAILPOINT_SIGNAL=SIGSTOP`` the group is only stopped there, and goes on when somebody continues it.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from contextlib import AbstractContextManager

FAILPOINTS = {
    "postgres.schema": "the schema is created or brought to this version",
    "postgres.claim": "the migration, its store and kinds are written down, the lease taken",
    "postgres.page": "a page and its position are committed",
    "postgres.index": "a kind's indexes are built",
    "postgres.intents": "what a page is about to have files hold is committed",
    "postgres.marks": "marks of a file target are committed",
    "postgres.decision": "the authority is handed over, or a migration ends",
    "postgres.route": "the route in the source of two databases follows the decision, or makes way for it",
    "postgres.ledger": "a phase, a journal line or progress is committed",
    "feed.cursor": "how far the change feed of a database is applied is written down",
    "file.append": "bytes are written behind those of a file that is there",
    "file.sync": "the bytes of a page are on disk, under their temporary names",
    "file.rename": "an entry gets its real name",
    "file.directory": "a directory's names are on disk",
    "file.metadata": "modes and times of directories are set",
    "file.aside": "what somebody wrote on the side that does not decide is put aside",
    "gate.marker": "the marker beside the root names another authority, or none",
    "journal.spool": "lines of the journal are on disk, while the database is away",
    "registry.save": "the list of this user's migrations is replaced",
}

_WANTED = os.environ.get("CROSSFADE_FAILPOINT")
_ARMED = os.environ.get("CROSSFADE_FAILPOINT_ARMED")
_SIGNAL = signal.Signals[os.environ.get("CROSSFADE_FAILPOINT_SIGNAL", "SIGKILL")]
_passed: Counter[str] = Counter()


class _Durable:
    """The two places around a durable call. A class, because every file that is restored passes them."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        if _WANTED is not None:
            _reach(f"{self._name}:before")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if _WANTED is not None and kind is None:
            _reach(f"{self._name}:after")


def durable(name: str) -> AbstractContextManager[None]:
    """Mark the calls inside as durable, under a registered name."""
    return _Durable(name)


def _reach(place: str) -> None:
    name, _, count = (_WANTED or "").partition("@")
    if name == place and (_ARMED is None or os.path.exists(_ARMED)):
        _passed[place] += 1
        if _passed[place] == int(count or 1):
            os.killpg(os.getpgrp(), _SIGNAL)


def places() -> list[str]:
    """Every place where a process can be made to die."""
    return [f"{name}:{side}" for name in FAILPOINTS for side in ("before", "after")]
