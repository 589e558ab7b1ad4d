"""``crossfade start --once``: copy, prove, exit."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from crossfade.console import book
from crossfade.console.progress import display
from crossfade.console.talk import counted, lasting, say, show, show_json, sized, table, this_command
from crossfade.migrate.engine import Engine, Result
from crossfade.migrate.prepare import Request, Run, prepared
from crossfade.migrate.report import SCHEMA_VERSION
from crossfade.model.paths import text_of


def start_once(request: Request, *, as_json: bool) -> int:
    """Run it; the exit status."""
    stop = threading.Event()
    with interruptible(stop), prepared(request) as run:
        _remember(run)
        _unless_closed(say, stop)(f"migration {run.migration}: {run.plan.source} to {run.plan.target}")
        with display() as watch:
            result = Engine(run, watch=_unless_closed(watch, stop), stop=stop).once()
        _show(run, result, as_json=as_json)
    held = result.report["quarantined"]
    return 4 if held or result.unreadable else 0


def _remember(run: Run) -> None:
    """Note the migration for this user. The list is a convenience, so a home that is read-only stops nothing."""
    try:
        book.remember(book.Line(run.migration, run.plan.source, run.plan.target, _control(run)))
    except OSError as error:
        say(f"note: not added to this user's list of migrations ({error.strerror}); find it again with --store")


def _control(run: Run) -> str:
    return run.plan.source if run.to_files else run.plan.target


def _unless_closed(watch: Any, stop: threading.Event) -> Any:
    """What is told to somebody who went away is the end of the run, at the next page."""

    def tell(news: Any) -> None:
        try:
            watch(news)
        except BrokenPipeError:
            stop.set()

    return tell


def _tell(text: str) -> None:
    """From within a signal handler: past any buffer, to nobody where nobody listens."""
    with suppress(OSError):
        os.write(2, text.encode())


@contextmanager
def interruptible(stop: threading.Event) -> Iterator[None]:
    """Ctrl-C or SIGTERM once: finish the page. Twice: at once; what is not committed is rolled back by the server."""

    def handle(_number: int, _frame: object) -> None:
        if stop.is_set():
            for child in multiprocessing.active_children():
                child.kill()
            cursor = "\x1b[?25h" if os.isatty(2) else ""  # the bars hide it, and are not asked any more
            _tell(f"{cursor}\nstopped at once; every committed position stands\n  try: {this_command()}\n")
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
    if result.already is not None:
        show(f"already there, proven at {result.already:%Y-%m-%d %H:%M:%S %Z}")
    else:
        show(_summary(result.report))
    held = result.report["quarantined"]
    if held:
        show(f"{counted(held, 'item')} in quarantine, bytes kept: crossfade quarantine {run.migration} list")
    show(f"journal head {result.head.hex()[:16]}")


def as_value(run: Run, result: Result) -> dict[str, Any]:
    """What ``--json`` ends with."""
    done = "with_quarantine" if result.report["quarantined"] or result.unreadable else "done"
    return {
        "schema_version": SCHEMA_VERSION,
        "migration": run.migration,
        "state": "copied",
        "reason": "already there" if result.already else done,
        "proved_at": result.already,
        "source": run.plan.source,
        "target": run.plan.target,
        "positions": {
            "authority": {"bytes": result.report["bytes"]},
            "applied": {"entries": result.report["entries"], "bytes": result.report["bytes"]},
            "verified": {"at": result.already or result.report.get("proved_at")},
        },
        "eta": {"seconds": 0, "basis": "it is done"},
        **result.report,
        "unreadable": [{"path": text_of(path), "why": why} for path, why in result.unreadable],
        "journal_head": result.head.hex(),
        "next_steps": next_steps(run.migration, result.report),
    }


def next_steps(migration: str, report: dict[str, Any]) -> list[dict[str, str]]:
    """What to type next, and why."""
    steps = [{"command": f"crossfade status {migration}", "why": "see what the target holds"}]
    if report["quarantined"]:
        steps.insert(0, {"command": f"crossfade quarantine {migration} list", "why": "see what could not be placed"})
    return steps


def _summary(report: dict[str, Any]) -> str:
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
    head = ("kind", "entries", "records", "bytes", "raw", "quarantine")
    seconds = report["duration_seconds"]
    proof, brought = report["validation"], report["brought"]
    return "\n".join(
        [
            table(head, rows),
            (
                f"brought {counted(brought['entries'], 'entry', 'entries')}, {sized(brought['bytes'])} in {lasting(seconds)};"
                f" now {counted(report['entries'], 'file')}, {counted(report['records'], 'record')}, {sized(report['bytes'])}"
            ),
            f"proven: {counted(proof['compared'], 'entry', 'entries')} compared, both roots are {proof['source_root'][:16]}",
        ]
    )
