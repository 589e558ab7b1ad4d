"""Building the indexes that a first load left out, two kinds at a time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from crossfade.migrate.prepare import Run
from crossfade.model.kinds import Kind
from crossfade.store.backends.postgres.ledger import Ledger


def build_indexes(run: Run) -> None:
    """Build them; nothing is done for kinds that have theirs."""
    with ThreadPoolExecutor(2, thread_name_prefix="index") as executor:
        futures = [executor.submit(_build, run, kind) for kind in run.layout.kinds]
        for future in futures:
            future.result()


def _build(run: Run, kind: Kind) -> None:
    ledger = Ledger(run.ledger.server, run.ledger.schema)
    ledger.patience_seconds = run.ledger.patience_seconds
    try:
        ledger.build_indexes(kind)
    finally:
        ledger.close()
