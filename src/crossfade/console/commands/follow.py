"""``crossfade start``: copy, then follow until told to stop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from crossfade.console.background import Begun
from crossfade.console.commands.start import cost, interruptible, patient, remember, unless_closed
from crossfade.console.progress import display
from crossfade.console.state import held_of, look_again, value_of
from crossfade.console.talk import say, say_head, show_json
from crossfade.errors import AGAIN, Interrupted, PhaseForbids
from crossfade.migrate.follow.live import Live
from crossfade.migrate.governor import give_way
from crossfade.migrate.prepare import Request, Run, prepared


def start_following(request: Request, *, grace_seconds: float, as_json: bool, begun: Begun = remember) -> int:
    """Run it; the exit status. A SIGTERM, as a supervisor sends it, is an order that was carried out: 0. So is a verb that ended it.

    *begun* hears of it once the lease is taken.
    """
    stop = threading.Event()
    request = replace(request, patient=patient(stop))
    with interruptible(stop), _supervised(stop) as ended, prepared(request) as run:
        _refuse_rolled_back(run)
        begun(run)
        give_way()
        unless_closed(say, stop)(f"migration {run.migration}: {run.plan.source} to {run.plan.target}")
        with display() as watch:
            live = Live(run, watch=unless_closed(watch, stop), stop=stop, grace_seconds=grace_seconds)
            try:
                live.follow()
            except Interrupted:
                if not ended.is_set():
                    raise
                live.left = "the first copy is not finished"
        _show(run, live, as_json=as_json)
    if not ended.is_set() and not live.outcome:
        raise Interrupted("stopped; every position is recorded", hint=AGAIN)
    return 0


def _show(run: Run, live: Live, *, as_json: bool) -> None:
    """What it came to, and what it has cost."""
    overhead, head = run.governor.overhead().values(), live.head()
    say(_ending(live))
    say(cost(overhead))
    if as_json:
        show_json(_value(run, live) | {"overhead": overhead})
    say_head(head)


def _value(run: Run, live: Live) -> dict[str, Any]:
    """The status of a migration that nobody runs from now on, and what this run has done for it."""
    state, progress = replace(look_again(run.ledger, run.migration), runner=None), live.progress
    throttle = {"active": False, "reason": "", "seconds_total": progress.throttled_seconds}
    return value_of(state, held_of(run.ledger, state.row)) | {
        "reason": _ending(live),
        "left": live.left,
        "unread": live.unread,
        "brought": {
            "entries": sum(kind.entries for kind in progress.kinds.values()),
            "records": sum(kind.records for kind in progress.kinds.values()),
            "bytes": progress.bytes,
        },
        "throttle": throttle,
        "duration_seconds": round(progress.seconds, 3),
    }


def _ending(live: Live) -> str:
    if live.outcome:
        return f"it is {live.outcome}: nobody follows any more"
    left = f"{live.left}: the next run goes on there" if live.left else "" if live.unread else "all is in step"
    return "; ".join(filter(None, ("stopped", left, live.unread)))


def _refuse_rolled_back(run: Run) -> None:
    """A supervisor that gives its command again would undo what a person ended."""
    if run.before is not None and run.before.phase == "rolled-back":
        raise PhaseForbids(
            f"migration {run.migration} was rolled back: following has ended, and is not begun again by itself",
            hint=f"crossfade resume {run.migration}   # copy what changed, and follow again",
        )


@contextmanager
def _supervised(stop: threading.Event) -> Iterator[threading.Event]:
    """Note whether it was a SIGTERM that ended the run; a second one ends it at once, as a second Ctrl-C does."""
    ended = threading.Event()
    at_once = signal.getsignal(signal.SIGTERM)

    def handle(number: int, frame: object) -> None:
        ended.set()
        if callable(at_once):
            at_once(number, frame)  # type: ignore[arg-type]

    signal.signal(signal.SIGTERM, handle)
    yield ended
    del stop
