"""Logs of which an earlier run may not have read whole what it had followed by its end, because it was killed before that."""

from __future__ import annotations

from collections import deque
from datetime import datetime

from crossfade.migrate.prepare import Run
from crossfade.store.backends.postgres import proofs

_PAGE = 1000


class Earlier:
    """The paths of those logs of *run*, page by page: written *since* then, as far as anything is known of it."""

    def __init__(self, run: Run, since: datetime) -> None:
        self._run = run
        self._kinds = sorted(run.kinds or {kind.name for kind in run.layout.kinds})
        self._after = 0
        self._page: deque[bytes] = deque()
        self.since = since

    def next(self) -> bytes | None:
        """One more; None where there is none left. Raises what the database says."""
        if not self._page:
            self._turn_over()
        return self._page.popleft() if self._page else None

    def _turn_over(self) -> None:
        run, ledger = self._run, self._run.ledger
        found = ledger.ask(
            lambda c: proofs.grown(c, ledger.schema, run.store_id, self._kinds, self.since, after=self._after, limit=_PAGE)
        )
        self._after = found[-1][0] if found else self._after
        self._page.extend(path for _, path in found)


def earlier(run: Run) -> Earlier | None:
    """What *run*, which follows files, is to begin with; nothing where it does not."""
    if not run.from_files:
        return None
    return Earlier(run, run.ledger.ask(lambda c: proofs.unread_since(c, run.ledger.schema, run.migration)))
