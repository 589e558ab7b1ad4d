"""A machine whose processes can all be seen, wherever the tests run: whoever hides from their user is not there."""

from __future__ import annotations

import os

import pytest

from crossfade.migrate.handover import foreign


def sees_all(patch: pytest.MonkeyPatch) -> None:
    """In this process, and in a container or as another account than root, too."""
    every = foreign._processes
    patch.setattr(foreign, "_sees_all", lambda: True)
    patch.setattr(foreign, "_processes", lambda: filter(_is_seen, every()))


def _is_seen(pid: int) -> bool:
    try:
        os.readlink(f"/proc/{pid}/ns/mnt")
        os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return False
    return True
