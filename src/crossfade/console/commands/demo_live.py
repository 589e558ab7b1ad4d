"""The second half of ``crossfade demo``: a program keeps writing while its store is copied, followed, cut over and rolled back.

It is no success where one of its writes was refused, or is not in the database once.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import cast
from urllib.parse import quote

import psycopg
from psycopg import sql

from crossfade.console.finding import opened
from crossfade.console.talk import show
from crossfade.errors import CrossfadeError
from crossfade.store.backends.postgres.ledger import Ledger
from crossfade.store.location import parse
from crossfade.store.writer import Writer
from crossfade.testing import prodigy

_PAUSE_SECONDS = 0.004
_LOOK_SECONDS = 0.2
_STOP_SECONDS = 60.0
_MORE = 50
"""So many events are waited for before the journey begins, and on each side once it decides."""

_LOG = b"events/webapp/live/events-20261123_120000.jsonl"
_SESSION = b"sessions/session-live.json"
_EVENTS = "SELECT count(*), count(DISTINCT id) FROM crossfade.events WHERE id LIKE 'live-%'"

Run = Callable[..., int]
"""Runs a command of crossfade's, and shows it; the exit status."""

Title = Callable[[str], None]


class Program(threading.Thread):
    """Appends events and rewrites a session, wherever the authority is; remembers how long its longest write took.

    ``written`` counts what it was told is done, ``error`` is what refused a write, and ended it.
    """

    def __init__(self, root: str, database: str) -> None:
        super().__init__(name="program", daemon=True)
        self._root = root
        self._database = database
        self._over = threading.Event()
        self.written = 0
        self.longest_seconds = 0.0
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            self._write()
        except Exception as error:  # noqa: BLE001 - whatever it was, the demo ends with it
            self.error = error

    def _write(self) -> None:
        with Writer(self._root, self._database) as writer:
            while not self._over.wait(_PAUSE_SECONDS):
                began = time.monotonic()
                writer.append(_LOG, b'{"id":"live-%d","event":{"event_type":"agent_started"}}\n' % self.written)
                writer.put(_SESSION, b'{"id":"session-live","status":"InProgress","count":%d}' % self.written)
                self.longest_seconds = max(self.longest_seconds, time.monotonic() - began)
                self.written += 1

    def more(self) -> None:
        """Wait until some more is written, or no more will be."""
        enough = self.written + _MORE
        while self.written < enough and self.is_alive():
            time.sleep(_PAUSE_SECONDS)

    def stop(self) -> None:
        """Write no more; returns when the last write is done."""
        self._over.set()
        self.join(_STOP_SECONDS)
        if self.is_alive():
            self.error = TimeoutError(f"the last write is not done after {_STOP_SECONDS:g} s")

    def take_longest(self) -> float:
        """The longest write since the last call."""
        longest, self.longest_seconds = self.longest_seconds, 0.0
        return longest


def live(directory: str, run: Run, title: Title) -> int:
    """Make a tree and a program that writes it; take both through the journey. The exit status."""
    root, database, back = (os.path.join(directory, name) for name in ("live", "live-database", "live-restored"))
    url = f"embedded://{quote(os.fsencode(database))}"
    title("Now a store that lives: a program goes on writing, all the time")
    prodigy.build(root, events=5_000)
    program = Program(root, url)
    program.start()
    program.more()
    status = _journey(root, url, program, run, title)
    title("Are both sides the same?")
    return status | run("validate", root, url) | run("start", url, back, "--once")


def _journey(root: str, url: str, program: Program, run: Run, title: Title) -> int:
    with _follower(root, url, title) as process:
        status = _copied(url, program, run)
        status |= _hand_over("cutover", "The database decides from here on; nobody stops", url, program, run, title)
        status |= _hand_over("rollback", "And back to the files, with all that came meanwhile", url, program, run, title)
        program.stop()
        status |= run("status", "--store", url, "--wait-for", "ready", "--timeout", "60s")
        status |= told(program, *_arrived(url, program))
    return status | process.returncode


@contextmanager
def _follower(root: str, url: str, title: Title) -> Iterator[subprocess.Popen[bytes]]:
    """``crossfade start`` in the background, until the end; then SIGTERM, as a supervisor sends it."""
    title("Copy it, and follow it")
    show(f"$ crossfade start {shlex.join([root, url])} &")
    process = subprocess.Popen(
        [sys.executable, "-m", "crossfade", "start", root, url], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while process.poll() is None and not _is_begun(url):
            time.sleep(_LOOK_SECONDS)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        show(f"$ kill -TERM %1     # it drains, and ends with {process.wait(_STOP_SECONDS)}")


def _is_begun(url: str) -> bool:
    """True once there is a migration that can be asked how it is."""
    try:
        with opened(parse(url)) as ledger:
            return bool(ledger.migrations())
    except (CrossfadeError, psycopg.Error):
        return False


def _copied(url: str, program: Program, run: Run) -> int:
    """Wait until all was there once, and what came meanwhile as well."""
    before = program.written
    status = run("status", "--store", url, "--wait-for", "following", "--timeout", "60s")
    show(f"{program.written - before:,} events were written while it was copied; {program.written:,} by now")
    return status | run("status", "--store", url, "--wait-for", "ready", "--timeout", "60s")


def _hand_over(verb: str, text: str, url: str, program: Program, run: Run, title: Title) -> int:
    title(text)
    program.take_longest()
    status = run(verb, "--store", url, "--writers-stopped")
    program.more()
    show(f"its longest write took {program.take_longest() * 1000:.0f} ms; {program.written:,} events by now")
    return status


def _arrived(url: str, program: Program) -> tuple[int, int]:
    """What the database says of the program's events, once all have arrived, or after a while: how many, and how many different."""
    show(f"\n{_EVENTS};")
    until = time.monotonic() + _STOP_SECONDS
    with opened(parse(url)) as ledger:
        while (found := _counted(ledger))[0] < program.written and time.monotonic() < until:
            time.sleep(_LOOK_SECONDS)
    return found


def _counted(ledger: Ledger) -> tuple[int, int]:
    with ledger.snapshot() as connection:
        ((rows, different),) = cast("list[tuple[int, int]]", connection.execute(sql.SQL(_EVENTS)).fetchall())
    return rows, different


def told(program: Program, rows: int, different: int) -> int:
    """Say what has become of the program's events; 0 where none was refused, and the database has each of them, once."""
    show(f"  {rows:,} rows, {different:,} different; written were {program.written:,}")
    refused = "none of them refused" if program.error is None else f"and then one was refused: {program.error}"
    show(f"the program is done: {program.written:,} events, {refused}")
    return 0 if program.error is None and rows == different == program.written else 2
