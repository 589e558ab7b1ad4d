"""``crossfade restore``: bring a directory back out of a store, and prove it."""

from __future__ import annotations

import threading
from dataclasses import replace

from crossfade.console.commands.start import interruptible, patient, remember, run_once, status_of
from crossfade.console.found_again import hints_found_again
from crossfade.console.talk import say, say_head, show, show_json
from crossfade.migrate.governor import give_way
from crossfade.migrate.prepare import Request, prepared
from crossfade.migrate.restore import Found, looked, settle_logs
from crossfade.migrate.values import SCHEMA_VERSION


def restore(request: Request, *, if_empty: bool, as_json: bool) -> int:
    """Do it; the exit status. With *if_empty*, a directory that holds something is left alone, unless a restore was begun there."""
    stop = threading.Event()
    request = replace(request, patient=patient(stop))
    with hints_found_again(request.control.url), interruptible(stop), looked(request) as found:
        if why := _why_not(request, found, if_empty=if_empty):
            return _left_alone(request, why, found.leave_alone(why), as_json=as_json)
        if found.came_from:
            say(
                f"note: {request.source} came from {found.came_from}: {request.target} gets a copy of its own, and what is written"
                " there does not come back into this tree"
            )
        with prepared(request, found.make) as run:
            remember(run)
            if run.request.manner.cpu_max:
                give_way()
            settle_logs(run)
            result = run_once(run, stop, as_json=as_json)
    return status_of(result)


def _why_not(request: Request, found: Found, *, if_empty: bool) -> str:
    """Why nothing is to be brought back; empty where something is."""
    if found.nothing:
        return f"{request.source} holds nothing yet: there is nothing to bring back"
    if if_empty and found.other and not found.under_way:
        return f"{request.target} holds something ({found.other}): it is left alone"
    return ""


def _left_alone(request: Request, why: str, head: bytes, *, as_json: bool) -> int:
    """There was nothing to do, which is no failure: a container that starts again has its volume still."""
    value = {
        "schema_version": SCHEMA_VERSION,
        "state": "left alone",
        "reason": why,
        "source": request.source.url,
        "target": request.target.url,
    }
    if as_json:
        show_json(value | ({"head": head.hex()} if head else {}))
    else:
        show(why)
    say("no file was written")
    if head:
        say_head(head)
    return 0
