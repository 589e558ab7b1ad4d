"""Standing still because somebody wants it: the runner lives and holds its lease, and nothing moves until it is let go on.

What is wanted is heard in one thread, and kept to in the runner's own, at places where it has no page in hand.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from crossfade.migrate.prepare import Run
from crossfade.migrate.telling import Teller
from crossfade.store.backends.postgres.wishes import paused_by

_TICK_SECONDS = 0.1


class Pausing:
    """The pause of *run*, if somebody wants one. *teller* shows why nothing moves; *stop* ends a pause, too."""

    def __init__(self, run: Run, teller: Teller, stop: threading.Event) -> None:
        self._run = run
        self._teller = teller
        self._stop = stop
        self._wanted_by = ""
        self._changed = threading.Event()

    def hear(self, wanted: dict[str, Any]) -> None:
        """What is wanted now. Workers begin no other page from here on."""
        self._wanted_by = paused_by(wanted)
        self._run.governor.gate.hold(held=self.is_wanted)
        self._changed.set()

    @property
    def is_wanted(self) -> bool:
        """True where nothing is to move."""
        return bool(self._wanted_by)

    def keep(self, tell: Callable[[], None]) -> None:
        """Stand still here for as long as that is wanted; *tell* is called again and again meanwhile.

        The phase is that of a pause, and then what it was.
        """
        if not self._holds():
            return
        before = self._run.ledger.phase(self._run.migration, self._run.phases.paused, "paused", {}, self._wanted_by)
        while self._holds():
            self._teller.progress = replace(self._teller.progress, paused=self._wanted_by)
            tell()
            self._changed.wait(_TICK_SECONDS)
            self._changed.clear()
        self._teller.progress = replace(self._teller.progress, paused="")
        if not self._stop.is_set():
            self._run.ledger.phase(self._run.migration, before, "resumed", {})

    def _holds(self) -> bool:
        return self.is_wanted and not self._stop.is_set()
