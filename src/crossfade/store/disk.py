"""Having on disk what a directory says."""

from __future__ import annotations

import os


def sync_directory(path: str | bytes) -> None:
    """The names in the directory *path* are on disk: before that, a rename that was done may be undone by a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
