"""What was seen where tasks write into files, so that a page covers nothing that somebody else has written since.

Between the look and the page may lie thousands of other tasks, a limit that is kept, and a disk that was full. A rename would
cover whatever stands there by then, and a removal take it.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from crossfade.migrate.decide import Task
from crossfade.model.changes import Page, Remove
from crossfade.model.entries import Entry
from crossfade.store.port import Store


class Guards:
    """For the pages of one carrier into *target*. A database guards its entries itself."""

    def __init__(self, target: Store) -> None:
        self._is_needed = not target.can.digests
        self._seen: dict[bytes, Entry | None] = {}

    def begin(self, tasks: Iterable[Task]) -> None:
        """These *tasks* come next."""
        self._seen = {}
        for task in tasks:
            self.add(task)

    def add(self, task: Task) -> None:
        """What *task* writes over, or removes. What is appended to is guarded apart; a directory holds whatever is in it."""
        is_one = task.verb in ("put", "touch", "remove", "adopt") and (task.entry.type != "dir" or task.verb == "remove")
        if self._is_needed and (is_one or task.replaces):
            self._seen.setdefault(task.entry.path, task.target)

    def on(self, page: Page) -> Page:
        """*page*, with what was seen at its paths."""
        seen = {path: self._seen[path] for change in page.changes if (path := change.entry.path) in self._seen}
        return msgspec.structs.replace(page, seen=seen | page.seen) if seen else page

    def applied(self, page: Page) -> None:
        """Where *page* has removed what was in the way, nothing is expected by the next one."""
        removed = (change.entry.path for change in page.changes if isinstance(change, Remove))
        self._seen.update((path, None) for path in removed if path in self._seen)
