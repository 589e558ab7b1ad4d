"""How many bytes are still to be brought: a look now and then at some of the paths that may be out of step."""

from __future__ import annotations

import time
from dataclasses import replace

from crossfade.migrate.decide import FOREIGN, Task
from crossfade.migrate.follow.dirty import Dirty
from crossfade.migrate.follow.look import Look

_SECONDS = 2.0
_SOME = 256


def burden_of(task: Task) -> int:
    """How many bytes *task* has to move: of a log what it has grown by, of any other file all of it; none of what is for people."""
    one, other = task.source, task.target
    if one is None or one.type != "file" or task.verb in ("touch", "remove", *FOREIGN):
        return 0
    grows = (
        other is not None and other.form == "log" and task.verb in ("refresh", "append", "resume") and one.size >= other.size
    )
    return one.size - other.size if grows and other is not None else one.size


class Burden:
    """The bytes that *dirty* stands for, of which *look* sees some; counted up where there are more.

    What lies below a directory that is to be looked at as a whole is not in it.
    """

    def __init__(self, dirty: Dirty, look: Look) -> None:
        self._dirty = dirty
        self._look = look
        self._due = 0.0
        self.bytes = 0

    def measure(self) -> None:
        """Look anew, if the last look was long enough ago. For the thread that brings, while it has nothing in hand."""
        total, now = len(self._dirty), time.monotonic()
        if not total:
            self.bytes = 0
        elif now >= self._due:
            some = [replace(dirt, deep=False) for dirt in self._dirty.some(_SOME)]
            self.bytes = sum(map(burden_of, self._look.tasks(some))) * total // max(len(some), 1)
            self._due = time.monotonic() + _SECONDS
