"""May this runner still write where no transaction can refuse it? Asked before each change of a tree of files.

An answer of the database holds as long as the lease that comes with it, by a clock of this machine that also counts the time
for which it slept: nobody can have taken over meanwhile. Whoever was stopped, and is continued later, asks again, and is told.
"""

from __future__ import annotations

import time

from crossfade.store.backends.postgres.leases import LEASE_SECONDS, replaced
from crossfade.store.backends.postgres.ledger import Ledger

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Fence:
    """Raises Fenced, when called, once another runner than that with *epoch* may have begun; renews the lease to know."""

    def __init__(self, ledger: Ledger, migration: str, epoch: int) -> None:
        self._ledger = ledger
        self._migration = migration
        self._epoch = epoch
        self._until = 0.0

    def __call__(self) -> None:
        """Returns while the lease is surely held. Raises Fenced."""
        now = time.clock_gettime(_CLOCK)
        if now < self._until:
            return
        if not self._ledger.renew(self._migration, self._epoch):
            raise replaced(self._migration)
        self._until = now + LEASE_SECONDS
