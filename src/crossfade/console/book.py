"""The migrations that this user started on this machine: ids and URLs, no password, in one small file.

A convenience, so that a verb finds a migration by its id alone. The truth is in the database.
"""

from __future__ import annotations

import errno
import json
import os
import tempfile
from dataclasses import asdict, dataclass

from platformdirs import user_state_dir

from crossfade.observe.failpoints import durable

_VERSION = 1


@dataclass(frozen=True)
class Line:
    """One migration: ``store`` is the database that keeps its control state."""

    migration: str
    source: str
    target: str
    store: str


def _file() -> str:
    return os.path.join(user_state_dir("crossfade"), "migrations.json")


def read() -> list[Line]:
    """All lines, oldest first. A file that cannot be read, or is of a newer release, has none: it is a convenience."""
    version, lines = _read()
    return lines if version <= _VERSION else []


def _read() -> tuple[int, list[Line]]:
    """The file's version, and its lines as far as they can be read."""
    version = 0
    try:
        with open(_file(), encoding="utf-8") as file:
            found = json.load(file)
        version = int(found["version"])
        return version, [Line(**line) for line in found["migrations"]]
    except (OSError, ValueError, TypeError, KeyError):
        return version, []


def knows(migration: str) -> bool:
    """True where a verb finds *migration* by its id alone."""
    return any(line.migration == migration for line in read())


def remember(line: Line) -> None:
    """Add or renew a line. The file is replaced whole, but not one of a newer release. Raises OSError where that cannot be."""
    version, known = _read()
    if version > _VERSION:
        raise FileExistsError(errno.EEXIST, "that list is of a newer release")
    lines = [other for other in known if other.migration != line.migration] + [line]
    folder = os.path.dirname(_file())
    if not os.path.isabs(folder):  # neither HOME nor an entry in passwd: "~" would be made where we stand
        raise FileNotFoundError(errno.ENOENT, "this user has no home")
    os.makedirs(folder, 0o700, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=folder, delete=False, encoding="utf-8") as file:
        json.dump({"version": _VERSION, "migrations": [asdict(other) for other in lines]}, file, indent=1)
        file.flush()
        with durable("registry.save"):
            os.fsync(file.fileno())
            os.replace(file.name, _file())
