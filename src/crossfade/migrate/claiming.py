"""Becoming a migration's runner: at once where it has none, and where one vanished, when its lease has run out.

A runner that lives renews its lease every few seconds. One that is gone, with its machine or its container, does not: so a
lease of another machine is watched, and taken over at its end unless it was renewed meanwhile.
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
    migration, term, since = row["migration"], None, time.monotonic()
    while True:
        try:
            return ledger.claim(row, None if kinds is None else sorted(kinds))
        except PhaseForbids as error:
            raise refused(ledger, migration, error) from None
        except RunnerActive as error:
            term = _of_one_that_may_be_gone(ledger, migration, term)
            if term is None:
                raise refused(ledger, migration, error) from None
            if time.monotonic() - since > leases.LEASE_SECONDS:
                _end(ledger, migration, term)
        time.sleep(min(max(term.seconds, 0.01), _LOOK_SECONDS))


def _end(ledger: Ledger, migration: str, term: Term) -> None:
    """A lease that nobody renewed for as long as one lasts is over, whatever the server's clock, which may have jumped, says of it."""
    ledger.change(lambda connection: leases.end(connection, ledger.schema, migration, term.expires_at))


def _of_one_that_may_be_gone(ledger: Ledger, migration: str, before: Term | None) -> Term | None:
    """The lease that stands in the way, if it is worth watching: not renewed since *before*, of a machine that nobody sees into.

    One that lasts for longer than any was given out before the server's clock went back.
    """
    term = ledger.ask(lambda c: leases.term_of(c, ledger.schema, migration))
    if term is None or term.is_seen or leases.LEASE_SECONDS < term.seconds <= leases.SURELY_SECONDS:
        return None
    return term if before is None or term.expires_at == before.expires_at else None
