"""The phases of a migration that a run goes through, by the names under which they are written down."""

from __future__ import annotations

from dataclasses import dataclass

RESTORING = "restoring"
"""Lost files come back from the store. Only a proof ends it, so that what is still missing is never taken for removed."""


@dataclass(frozen=True)
class Phases:
    """Those of one run: while it is *busy*, and *paused*, when it was *stopped*, and when its validation found it *wrong*."""

    busy: str = "copying"
    paused: str = "paused"
    stopped: str = "interrupted"
    wrong: str = "different"

    def left(self, *, paused: bool) -> str:
        """That in which a runner leaves it. A pause outlives its runner."""
        return self.paused if paused else self.stopped


OF_COPY = Phases()
OF_RESTORE = Phases(RESTORING, RESTORING, RESTORING, RESTORING)
