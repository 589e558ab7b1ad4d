"""Becoming a migration's runner: at once where it has none, or a dead one; else when its lease was not renewed for its whole length.

A runner that lives renews its lease every few seconds. One that is gone, with its machine or its container, does not. How long
that is so is measured here: the server's clock may jump, and call a lease over by which somebody still writes files, which
refuse nobody (``Fence``).
"""

from __future__ import annotations

import time
from typing import Any

from crossfade.errors import PhaseForbids, RunnerActive
from crossfade.migrate.audit.record import refused
from crossfade.store.backends.postgres import leases
from crossfade.store.backends.postgres.leases import Term
from crossfade.store.backends.postgres.ledger import Ledger

_LOOK_SECONDS = 0.25


def claim(ledger: Ledger, row: dict[str, Any], kinds: frozenset[str] | None) -> int:
    """Write the migration of *row* down, or find it, and become its runner: the epoch.

    Raises RunnerActive while another lives, and PhaseForbids while it is paused.
    """
    migration = row["migration"]
    _outlast(ledger, migration)
    try:
        return ledger.claim(row, None if kinds is None else sorted(kinds))
    except (PhaseForbids, RunnerActive) as error:
        raise refused(ledger, migration, error) from None


def _outlast(ledger: Ledger, migration: str) -> None:
    """Watch a lease whose runner may be gone, until it is renewed, or was not for as long as one lasts: then it is over."""
    since, first = time.monotonic(), _term(ledger, migration)
    term = first
    while first and term and term.expires_at == first.expires_at and _may_be_gone(term):
        if time.monotonic() - since > leases.LEASE_SECONDS:
            ledger.change(lambda connection: leases.end(connection, ledger.schema, migration, first.expires_at))
            return
        time.sleep(_LOOK_SECONDS)
        term = _term(ledger, migration)


def _term(ledger: Ledger, migration: str) -> Term | None:
    return ledger.ask(lambda c: leases.term_of(c, ledger.schema, migration))


def _may_be_gone(term: Term) -> bool:
    """True for what time alone will tell. Whose end would be seen from here is gone only once its lease has run out.

    A lease that lasts for longer than any was given out before the clock went back.
    """
    if term.is_over:
        return False
    return term.seconds <= 0 or not (term.is_seen or leases.LEASE_SECONDS < term.seconds <= leases.SURELY_SECONDS)
