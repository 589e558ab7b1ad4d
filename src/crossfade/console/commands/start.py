"""``crossfade start --once``: copy, prove, exit."""

from __future__ import annotations

import multiprocessing
import os
import shlex
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

from crossfade.console import book
from crossfade.console.background import Begun
from crossfade.console.found_again import found_again
from crossfade.console.progress import display
from crossfade.console.streams import ERR, is_left
from crossfade.console.talk import counted, lasting, say, say_head, show, show_json, sized, table, this_command
from crossfade.console.verdicts import different, proven, rests_on
from crossfade.errors import ContentDiffers, PhaseForbids
from crossfade.migrate.certificate import certificate, check_file, write
from crossfade.migrate.claiming import Patient
from crossfade.migrate.engine import Engine
from crossfade.migrate.governor import give_way
from crossfade.migrate.phases import OF_RESTORE
from crossfade.migrate.prepare import Request, Run, prepared
from crossfade.migrate.restore import restoring
from crossfade.migrate.tally import Result
from crossfade.migrate.validate.ending import sides_of
from crossfade.migrate.values import SCHEMA_VERSION
from crossfade.model.paths import text_of
from crossfade.store.location import parse


def remember(run: Run) -> None:
    """Note the migration for this user. The list is a convenience, so a home that is read-only stops nothing."""
    try:
        book.remember(book.Line(run.migration, run.plan.source, run.plan.target, _control(run)))
    except OSError as error:
        place = shlex.quote(_control(run))
        say(f"note: not added to this user's list of migrations ({error.strerror}); find it again with --store {place}")


def _control(run: Run) -> str:
    return next(url for url in (run.plan.target, run.plan.source) if parse(url).is_database)


def start_once(request: Request, *, as_json: bool, begun: Begun = remember) -> int:
    """Run it; the exit status. *begun* hears of it once the lease is taken."""
    stop = threading.Event()
    request = replace(request, once=True, patient=patient(stop))
    if request.manner.certificate:
        check_file(request.manner.certificate, request.source, request.target)
    with interruptible(stop), prepared(request) as run:
        _refuse_reversed(run)
        begun(run)
        if run.request.manner.cpu_max:
            give_way()
        result = run_once(run, stop, as_json=as_json)
    return status_of(result)


def run_once(run: Run, stop: threading.Event, *, as_json: bool) -> Result:
    """Carry *run* out, and show what came of it."""
    unless_closed(say, stop)(f"migration {run.migration}: {run.request.source} to {run.request.target}")
    result = _carried_out(run, stop, as_json=as_json)
    _certify(run, result)
    _show(run, result, as_json=as_json)
    say_head(result.head)
    return result


def status_of(result: Result) -> int:
    """The exit status of a run that ended well."""
    return 4 if result.report["quarantined"] or result.unreadable else 0


def _refuse_reversed(run: Run) -> None:
    """A copy over the side that decides would undo what was written there since the cut-over."""
    if run.reversed or run.cut:
        what = f"of {', '.join(sorted(run.cut))} the other side" if run.cut else f"{run.request.source}"
        raise PhaseForbids(
            f"migration {run.migration} was cut over: {what} has the authority, and nothing is copied over it",
            hint=f"crossfade resume {run.migration}   # follow in reverse; or crossfade rollback {run.migration}",
        )


def _carried_out(run: Run, stop: threading.Event, *, as_json: bool) -> Result:
    """Run it. Where its validation finds a difference, that is shown before the error ends it."""
    shown = display()
    engine = Engine(run, watch=unless_closed(shown, stop), stop=stop)
    try:
        with shown:
            return engine.once()
    except ContentDiffers:
        if engine.different is not None:
            _certify(run, engine.different)
            _show(run, engine.different, as_json=as_json)
        raise


def _certify(run: Run, result: Result) -> None:
    """Write the certificate, where one is wanted."""
    file = run.request.manner.certificate
    if file and result.verdict is not None:
        write(file, certificate(sides_of(run), result.verdict))
        say(f"certificate {file}")


def unless_closed(watch: Any, stop: threading.Event) -> Any:
    """What is told to somebody who went away is the end of the run, at the next page."""

    def tell(news: Any) -> None:
        watch(news)
        if is_left(ERR):
            stop.set()

    return tell


def patient(stop: threading.Event) -> Patient:
    """Whoever types it: hears why it waits for another runner, and waits no more once *stop* is set."""
    return Patient(unless_closed(say, stop), stop.is_set)


def _tell(text: str) -> None:
    """From within a signal handler: past any buffer, to nobody where nobody listens."""
    with suppress(OSError):
        os.write(2, text.encode())


@contextmanager
def interruptible(stop: threading.Event, way_on: str = "") -> Iterator[None]:
    """Ctrl-C or SIGTERM once: finish the page. Twice: at once; what is not committed is rolled back by the server.

    *way_on* is what to type then, where the same command would not go on, or not with the same.
    """

    def handle(_number: int, _frame: object) -> None:
        if stop.is_set():
            for child in multiprocessing.active_children():
                child.kill()
            cursor = "\x1b[?25h" if os.isatty(2) else ""  # the bars hide it, and are not asked any more
            _tell(f"{cursor}\nstopped at once; every committed position stands\n  try: {way_on or this_command()}\n")
            os._exit(6)
        stop.set()
        _tell("\nfinishing the page in hand; once more to stop at once\n")

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _show(run: Run, result: Result, *, as_json: bool) -> None:
    for path, why in result.unreadable[:20]:
        say(f"left out, could not be read: {text_of(path)}: {why}")
    if as_json:
        show_json(as_value(run, result))
        return
    if result.verdict is not None and result.verdict.exit == 3:
        show("\n".join([*_summary(result.report), *different(result.verdict)]))
    elif result.already is not None:
        first, *more = rests_on(result.report["validation"])
        proof = f"already there, proven at {result.already:%Y-%m-%d %H:%M:%S %Z}: {first}"
        show("\n".join([_kinds(result.report), _now(result.report), proof, *more]))
    else:
        show("\n".join([*_summary(result.report), *(proven(result.verdict) if result.verdict else [])]))
    held = result.report["quarantined"]
    if held:
        show(f"{counted(held, 'item')} in quarantine, bytes kept: {_by_id('quarantine {} list', run)}")


def as_value(run: Run, result: Result) -> dict[str, Any]:
    """What ``--json`` ends with."""
    done = "with_quarantine" if result.report["quarantined"] or result.unreadable else "done"
    state = "copied"
    if result.verdict is not None and result.verdict.exit == 3:
        state, done = "different", result.verdict.reason
    return {
        "schema_version": SCHEMA_VERSION,
        "migration": run.migration,
        "state": state,
        "reason": "already there" if result.already else done,
        "proved_at": result.already,
        "source": run.request.source.url,
        "target": run.request.target.url,
        "positions": {
            "authority": {"bytes": result.report["bytes"]},
            "applied": {"entries": result.report["entries"], "bytes": result.report["bytes"]},
            "verified": {"at": result.already or result.report.get("proved_at")},
        },
        "eta": {"seconds": 0, "basis": "it is done"},
        **result.report,
        "unreadable": [{"path": text_of(path), "why": why} for path, why in result.unreadable],
        "head": result.head.hex(),
        "next_steps": next_steps(run, result.report),
    }


def next_steps(run: Run, report: dict[str, Any]) -> list[dict[str, str]]:
    """What to type next, and why."""
    steps = [{"command": _by_id("status {}", run), "why": "see what the target holds"}]
    if not report["validation"]["holds"]:
        mend = restoring(run) if run.phases is OF_RESTORE else _by_id("validate {} --repair", run)
        steps.insert(0, {"command": mend, "why": "mend the target from the source"})
    if report["quarantined"]:
        steps.insert(0, {"command": _by_id("quarantine {} list", run), "why": "see what could not be placed"})
    return steps


def _by_id(words: str, run: Run) -> str:
    """The command *words*, with the id of *run*, and what else it takes to find that from here."""
    return found_again(f"crossfade {words.format(run.migration)}", run.ledger.server.name)


def _kinds(report: dict[str, Any]) -> str:
    """What the target holds, kind by kind."""
    rows = [
        (
            str(kind["kind"]),
            f"{kind['entries']:,}",
            f"{kind['records']:,}",
            sized(kind["bytes"]),
            f"{kind['raw']:,}",
            f"{kind['quarantined']:,}",
        )
        for kind in report["kinds"]
    ]
    return table(("kind", "entries", "records", "bytes", "raw", "quarantine"), rows)


def _now(report: dict[str, Any]) -> str:
    """The same in sum."""
    return f"now {counted(report['entries'], 'file')}, {counted(report['records'], 'record')}, {sized(report['bytes'])}"


def _summary(report: dict[str, Any]) -> list[str]:
    brought = f"{counted(report['brought']['entries'], 'entry', 'entries')}, {sized(report['brought']['bytes'])}"
    return [
        _kinds(report),
        f"brought {brought} in {lasting(report['duration_seconds'])}; {_now(report)}",
        cost(report["overhead"]),
    ]


def cost(overhead: dict[str, Any]) -> str:
    """What the run has taken of the machine, as far as it can be seen."""
    server = overhead["postgres_cpu_percent"]
    return f"took {overhead['cpu_percent']:.0f} % of {overhead['cpus']:g} processors" + (
        f", and PostgreSQL {server:.0f} % for it" if server is not None else ""
    )
