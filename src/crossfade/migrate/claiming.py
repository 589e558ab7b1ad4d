"""Becoming a migration's runner: at once where it has none, or a dead one; else when its lease was not renewed for its whole length.

A runner that lives renews its lease every few seconds. One that is gone, with its machine or its container, does not. How long
that is so is measured here: the server's clock may jump, and call a lease over by which somebody still writes files, which
refuse nobody (``Fence``).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from crossfade.errors import AGAIN, Interrupted, PhaseForbids, RunnerActive
from crossfade.migrate.audit.record import refused
from crossfade.migrate.governor import limits_of, wanted_of
from crossfade.store.backends.postgres import leases
from crossfade.store.backends.postgres.leases import Term
from crossfade.store.backends.postgres.ledger import Ledger, MigrationRow

if TYPE_CHECKING:
    from crossfade.migrate.prepare import Request

_LOOK_SECONDS = 0.25
_SOON_SECONDS = 1.0


def _never() -> bool:
    return False


def _to_nobody(text: str) -> None:
    del text


@dataclass(frozen=True)
class Patient:
    """Whoever waits to become the runner: is told why it takes long, and is asked whether to stop."""

    tell: Callable[[str], None] = _to_nobody
    is_stopped: Callable[[], bool] = _never


def claim(ledger: Ledger, row: dict[str, Any], kinds: frozenset[str] | None, patient: Patient) -> int:
    """Write the migration of *row* down, or find it, and become its runner: the epoch.

    Raises RunnerActive while another lives, also one that fills the same tree under another name; PhaseForbids while it is
    paused; Interrupted where *patient* stops.
    """
    migration = row["migration"]
    for watched in (migration, *ledger.ask(lambda c: leases.others(c, ledger.schema, row))):
        _outlast(ledger, watched, patient)
    try:
        return ledger.claim(row, None if kinds is None else sorted(kinds))
    except (PhaseForbids, RunnerActive) as error:
        raise refused(ledger, migration, error) from None


def wanted_by(request: Request, before: MigrationRow | None) -> dict[str, Any]:
    """What *request* has its run keep to, as it is written down. *before* is the migration as it was begun, if it was.

    A restore has limits of its own. Into files that were never brought to the store it is a copy that ends, or what is missing
    would be taken for removed by whoever goes on with it; of one that followed until then all else stays as it was wished.
    Whoever hands over, or mends, takes what stands.
    """
    if request.verb in ("start", "resume"):
        return wanted_of(request.manner, once=request.once, goes_on=request.verb == "resume")
    if request.verb != "restore":
        return {}
    if request.target.is_database:
        return limits_of(request.manner)
    was_followed = before is not None and not before.wanted.get("once")
    return {**limits_of(request.manner), "once": True} if was_followed else wanted_of(request.manner, once=True)


def _outlast(ledger: Ledger, migration: str, patient: Patient) -> None:
    """Watch a lease whose runner may be gone, until it is renewed, or was not for as long as one lasts: then it is over."""
    since, first, is_told = time.monotonic(), _term(ledger, migration), False
    term = first
    while first and term and term.expires_at == first.expires_at and _may_be_gone(term):
        waited = time.monotonic() - since
        if waited > leases.LEASE_SECONDS:
            ledger.change(lambda connection: leases.end(connection, ledger.schema, migration, first.expires_at))
            return
        if waited > _SOON_SECONDS and not is_told:
            patient.tell(_waits(migration, term))
            is_told = True
        _check_stop(patient)
        time.sleep(_LOOK_SECONDS)
        term = _term(ledger, migration)


def _waits(migration: str, term: Term) -> str:
    who = f"process {term.holder.pid} on {term.holder.host}"
    return f"waiting: {who} ran migration {migration} last, and is given {leases.LEASE_SECONDS} s to show that it lives"


def _check_stop(patient: Patient) -> None:
    if patient.is_stopped():
        raise Interrupted("stopped while it waited for another runner; nothing was changed", hint=AGAIN)


def _term(ledger: Ledger, migration: str) -> Term | None:
    return ledger.ask(lambda c: leases.term_of(c, ledger.schema, migration))


def _may_be_gone(term: Term) -> bool:
    """True for what time alone will tell. Whose end would be seen from here is gone only once its lease has run out.

    A lease that lasts for longer than any was given out before the clock went back.
    """
    if term.is_over:
        return False
    return term.seconds <= 0 or not (term.is_seen or leases.LEASE_SECONDS < term.seconds <= leases.SURELY_SECONDS)
