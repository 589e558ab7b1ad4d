"""Holding a lease for as long as a run lasts, beside the work, through a connection of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg

from crossfade.errors import CrossfadeError, Fenced
from crossfade.migrate.prepare import Run
from crossfade.observe.progress import Progress
from crossfade.store.backends.postgres.ledger import Ledger

_RENEW_SECONDS = 4.0
_PROGRESS_SECONDS = 1.0


class Lease:
    """Renews the lease of *run*, writes progress down for other terminals. *lost* hears when somebody took over, *heed* what is wished."""

    def __init__(
        self,
        run: Run,
        lost: Callable[[BaseException], None],
        sample: Callable[[], Progress],
        heed: Callable[[dict[str, Any]], None],
    ) -> None:
        self._run = run
        self._lost = lost
        self._sample = sample
        self._heed = heed
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._hold, name="lease", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(timeout=10)

    def _hold(self) -> None:
        ledger = Ledger(self._run.ledger.server, self._run.ledger.schema)
        renewed = time.monotonic()
        while not self._over.wait(_PROGRESS_SECONDS):
            due = time.monotonic() - renewed >= _RENEW_SECONDS
            try:
                held = ledger.renew(self._run.migration, self._run.epoch) if due else True
                self._heed(ledger.progress(self._run.migration, self._sample().values()))
            except (psycopg.Error, CrossfadeError):
                continue  # the server is away: pages wait for it too, and are fenced by the epoch
            renewed = time.monotonic() if due else renewed
            if not held:
                self._lost(Fenced("another runner took this migration over", hint=f"crossfade status {self._run.migration}"))
                break
        ledger.close()
