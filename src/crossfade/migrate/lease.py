"""Holding a lease for as long as a run lasts, beside the work, through a connection of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg

from crossfade.errors import CrossfadeError
from crossfade.migrate.prepare import Run
from crossfade.migrate.silence import Silence
from crossfade.migrate.telling import Teller
from crossfade.store.backends.postgres import leases, wishes
from crossfade.store.backends.postgres.ledger import Ledger
from crossfade.store.backends.postgres.server import Connection

_RENEW_SECONDS = 4.0
_PROGRESS_SECONDS = 1.0
_SLICE_SECONDS = 0.1


class Lease:
    """Renews the lease of *run*, and writes the progress down for other terminals.

    *teller* says how far it is, and is told when the database does not answer. *lost* hears when somebody took over,
    *heed* what is wished.
    """

    def __init__(
        self,
        run: Run,
        teller: Teller,
        lost: Callable[[BaseException], None],
        heed: Callable[[dict[str, Any]], None],
    ) -> None:
        self._run = run
        self._teller = teller
        self._lost = lost
        self._heed = heed
        self._listening: Connection | None = None
        self._silence = Silence(teller.silent)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._hold, name="lease", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(timeout=10)

    def _hold(self) -> None:
        with self._silence:
            self._hold_on()

    def _hold_on(self) -> None:
        ledger = Ledger(self._run.ledger.server, self._run.ledger.schema)
        renewed = time.monotonic()
        while not self._over.is_set():
            due = time.monotonic() - renewed >= _RENEW_SECONDS
            try:
                with self._silence.asking():
                    held = ledger.renew(self._run.migration, self._run.epoch) if due else True
                    wanted = ledger.progress(self._run.migration, self._teller.progress.values())
                self._heed(wanted)
            except (psycopg.Error, CrossfadeError):
                self._over.wait(_PROGRESS_SECONDS)
                continue  # the server is away: pages wait for it too, and are fenced by the epoch
            renewed = time.monotonic() if due else renewed
            if not held:
                self._lost(leases.replaced(self._run.migration))
                break
            self._wait(ledger)
        ledger.close()

    def _wait(self, ledger: Ledger) -> None:
        """Until progress is due, or somebody wakes the runner."""
        until = time.monotonic() + _PROGRESS_SECONDS
        while not self._over.is_set() and time.monotonic() < until:
            try:
                with self._silence.asking(), ledger.snapshot() as connection:
                    if connection is not self._listening:
                        wishes.listen(connection)
                        self._listening = connection
                    if wishes.heard(connection, self._run.migration, _SLICE_SECONDS):
                        return
            except (psycopg.Error, CrossfadeError):
                self._over.wait(_SLICE_SECONDS)
