"""``crossfade resume``: have a migration go on, from any terminal, on any host. Where no runner lives, this becomes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from crossfade.console.commands.pause import await_phase, show_outcome, want
from crossfade.console.finding import Sought, sought
from crossfade.console.state import look_again, state_of
from crossfade.errors import PhaseForbids
from crossfade.migrate.again import as_begun, request_again
from crossfade.migrate.audit.record import refused
from crossfade.migrate.plan import CPU_PERCENT, Manner
from crossfade.migrate.prepare import Request
from crossfade.store.backends.postgres.ledger import MigrationRow
from crossfade.store.backends.postgres.wishes import paused_by
from crossfade.store.location import Location

Begin = Callable[[Request], int]
"""Becomes the runner: of a copy that ends, where the request says so, or of one that follows."""


def resume(words: tuple[str, ...], store: str, manner: Manner, begin: Begin, *, as_json: bool) -> int:
    """Let it go on. Where a runner lives, it is woken; else *begin* is called, and its exit status is this one's."""
    with sought(words, store, changes=True) as found:
        state = look_again(found.ledger, found.row.migration)
        _check(found)
        if paused_by(state.row.wanted):
            want(found, "run", "")
            state = await_phase(found, lambda now: state_of(now)[0] != "paused")
        if state.runner is not None:
            show_outcome(found.ledger, state, as_json=as_json)
            return 0
        if state.row.phase == "rolled-back":  # a person's word, unlike that of a supervisor, which ``start`` does not heed
            found.begin()
            found.ledger.phase(state.row.migration, "interrupted", "resume wished", {})
        request = request_of(state.row, found.store, manner)
    return begin(request)


def _check(found: Sought) -> None:
    if found.row.phase == "finished":
        error = PhaseForbids(
            f"migration {found.row.migration} is finished: nothing goes on",
            hint=f"crossfade status {found.row.migration}",
        )
        raise refused(found.ledger, found.row.migration, error)


def request_of(row: MigrationRow, store: Location, manner: Manner) -> Request:
    """What was asked for when the migration was begun, with the limits that are wished by now, and what *manner* says.

    *store* is where it was found, and how to get in there. A copy that was to end goes on to its end; one that has ended follows.
    """
    once = bool(row.wanted.get("once")) and row.phase != "copied" and not row.reversed
    return replace(request_again(row, store, _with_limits(manner, row.wanted, once=once), "resume"), once=once)


def _with_limits(manner: Manner, wanted: dict[str, Any], *, once: bool) -> Manner:
    """*manner*, and where it sets no limit the one that stands; with what is left as it is, as the migration was begun."""
    rates = manner.records_per_second, manner.bytes_per_second
    if not any(rates):
        rates = wanted.get("records_per_second", 0.0), wanted.get("bytes_per_second", 0.0)
    cpu_max = manner.cpu_max or wanted.get("cpu_max") or (None if once else CPU_PERCENT)
    return replace(as_begun(manner, wanted), records_per_second=rates[0], bytes_per_second=rates[1], cpu_max=cpu_max)
