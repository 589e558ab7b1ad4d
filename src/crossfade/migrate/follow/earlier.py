"""Logs of which an earlier run may not have read whole what it had followed by its end, because it was killed before that."""

from __future__ import annotations

from collections import deque
from datetime import datetime

from crossfade.migrate.prepare import Run
from crossfade.store.backends.postgres import proofs

_PAGE = 1000


class Earlier:
    """The paths of those logs of *run*, page by page: written *since* then, as far as anything is known of it, and before *run*."""

    def __init__(self, run: Run, since: datetime, until: datetime) -> None:
        self._run = run
        self._kinds = sorted(run.kinds or {kind.name for kind in run.layout.kinds})
        self._after = 0
        self._page: deque[bytes] = deque()
        self._until = until
        self.since = since

    def next(self) -> bytes | None:
        """One more; None where there is none left. Raises what the database says."""
        if self.is_over():
            return None
        return self._page.popleft()

    def is_over(self) -> bool:
        """True where none is left."""
        if not self._page:
            self._turn_over()
        return not self._page

    def _turn_over(self) -> None:
        run, ledger, span = self._run, self._run.ledger, (self.since, self._until)
        found = ledger.ask(
            lambda c: proofs.grown(c, ledger.schema, run.store_id, self._kinds, span, after=self._after, limit=_PAGE)
        )
        self._after = found[-1][0] if found else self._after
        self._page.extend(path for _, path in found)


def earlier(run: Run, now: datetime) -> Earlier | None:
    """What *run*, which begins to follow files *now*, is to begin with; nothing where it follows something else."""
    if not run.from_files:
        return None
    found = Earlier(run, run.ledger.ask(lambda c: proofs.unread_since(c, run.ledger.schema, run.migration)), now)
    return None if found.is_over() else found
