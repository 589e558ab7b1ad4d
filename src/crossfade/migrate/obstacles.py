"""What is in the way in a target of files: a path that changes its type, and what is below it.

It goes before the copy begins. Later would be too late: kinds are copied side by side, so a file may arrive before the link
goes that stands where its directory belongs.
"""

from __future__ import annotations

from dataclasses import replace

from crossfade.migrate.decide import Task
from crossfade.model.changes import Remove
from crossfade.model.entries import Entry


class Obstacles:
    """Collects them from tasks that come in key order, so that what lies below a directory follows it."""

    def __init__(self) -> None:
        self._found: list[Entry] = []
        self._below: bytes | None = None

    def look(self, task: Task) -> None:
        """Take what *task* would remove, if it is in the way."""
        target = task.target
        if target is None:
            return
        if task.replaces and task.source is not None:
            self._found.append(replace(target, row=task.source.row))
            self._below = target.path + b"/" if target.type == "dir" else None
        elif task.verb == "remove" and self._below is not None and target.path.startswith(self._below):
            self._found.append(target)

    def removals(self) -> list[Remove]:
        """What has to go, the lowest first."""
        return [Remove(entry) for entry in reversed(self._found)]
