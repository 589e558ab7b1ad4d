"""``crossfade repair``: complete what a crash left of a hand-over, or take it back."""

from __future__ import annotations

import threading
from dataclasses import replace

from crossfade.console.commands.start import interruptible, patient
from crossfade.console.finding import Sought, sought
from crossfade.console.talk import say_head, show, show_json
from crossfade.migrate.again import request_again
from crossfade.migrate.handover.completing import complete, leftovers
from crossfade.migrate.handover.far import Leftover
from crossfade.migrate.known import refuse_finished
from crossfade.migrate.plan import Manner
from crossfade.migrate.prepare import prepared
from crossfade.migrate.values import SCHEMA_VERSION
from crossfade.store.backends.postgres import leases


def repair(words: tuple[str, ...], store: str, *, dry_run: bool, as_json: bool) -> int:
    """Mend one migration; with *dry_run*, say what would be done. The exit status."""
    with sought(words, store, changes=not dry_run) as found:
        done = _left(found) if dry_run else _mended(found)
        head = found.ledger.journal_head(found.row.migration)
        _show(found, done, head.hex(), dry_run=dry_run, as_json=as_json)
        say_head(head)
    return 0


def _left(found: Sought) -> list[Leftover]:
    """What mending would find. Raises what it would: RunnerActive where somebody may be in the middle of a hand-over, PhaseForbids
    where nothing goes on any more.
    """
    refuse_finished(found.row)
    holder = found.ledger.runner(found.row.migration)
    if holder is not None:
        raise leases.run_by(holder, found.row.migration)
    return leftovers(found.ledger, found.row)


def _mended(found: Sought) -> list[Leftover]:
    """What a runner would do at its start, as the runner. Raises RunnerActive where there is one: it has done it."""
    found.begin()
    stop = threading.Event()
    request = request_again(found.row, found.store, Manner(), "repair")
    with interruptible(stop), prepared(replace(request, patient=patient(stop))) as run:
        return complete(run)


def _show(found: Sought, done: list[Leftover], head: str, *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        value = {"schema_version": SCHEMA_VERSION, "migration": found.row.migration, "mended": not dry_run}
        show_json({**value, "found": [vars(leftover) for leftover in done], "head": head})
    elif not done:
        show(f"migration {found.row.migration}: nothing is left to repair")
    else:
        show("\n".join(f"{'would ' if dry_run else ''}{leftover.cure}: {leftover.sentence}" for leftover in done))
