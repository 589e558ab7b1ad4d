"""The second half of ``crossfade demo``: a program keeps writing while its store is copied, followed, cut over and rolled back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from psycopg import sql

from crossfade.console.finding import opened
from crossfade.console.talk import show
from crossfade.store.location import parse
from crossfade.store.writer import Writer
from crossfade.testing import prodigy

_PAUSE_SECONDS = 0.004
_STOP_SECONDS = 60.0
_LOG = b"events/webapp/live/events-20261123_120000.jsonl"
_SESSION = b"sessions/session-live.json"


class Program(threading.Thread):
    """Appends events and rewrites a session, wherever the authority is; remembers how long its longest write took."""

    def __init__(self, root: str, database: str) -> None:
        super().__init__(name="program", daemon=True)
        self._root = root
        self._database = database
        self._over = threading.Event()
        self.written = 0
        self.longest_seconds = 0.0

    def run(self) -> None:
        with Writer(self._root, self._database) as writer:
            while not self._over.wait(_PAUSE_SECONDS):
                began = time.monotonic()
                writer.append(_LOG, b'{"id":"live-%d","event":{"event_type":"agent_started"}}\n' % self.written)
                writer.put(_SESSION, b'{"id":"session-live","status":"InProgress","count":%d}' % self.written)
                self.longest_seconds = max(self.longest_seconds, time.monotonic() - began)
                self.written += 1

    def stop(self) -> None:
        """Write no more; returns when the last write is done."""
        self._over.set()
        self.join(_STOP_SECONDS)

    def take_longest(self) -> float:
        """The longest write since the last call."""
        longest, self.longest_seconds = self.longest_seconds, 0.0
        return longest


def live(directory: str, run: Callable[..., int], title: Callable[[str], None]) -> int:
    """Make a tree and a program that writes it; take both through the journey. The exit status."""
    root, database, back = (os.path.join(directory, name) for name in ("live", "live-database", "live-restored"))
    url = f"embedded://{database}"
    title("Now a store that lives: a program goes on writing, all the time")
    prodigy.build(root, events=5_000)
    status = run("start", root, url, "--once")
    program = Program(root, url)
    program.start()
    with _follower(root, url, title):
        status |= run("status", "--store", url, "--wait-for", "ready", "--timeout", "60s")
        status |= _hand_over("cutover", "The database decides from here on; nobody stops", url, program, run, title)
        status |= _hand_over("rollback", "And back to the files, with all that came meanwhile", url, program, run, title)
        program.stop()
        show(f"the program is done: {program.written:,} events, none of them refused")
        status |= run("status", "--store", url, "--wait-for", "ready", "--timeout", "60s")
        _count(url, program)
    title("Are both sides the same?")
    return status | run("validate", root, url) | run("start", url, back, "--once")


@contextmanager
def _follower(root: str, url: str, title: Callable[[str], None]) -> Iterator[None]:
    """``crossfade start`` in the background, until the end; then SIGTERM, as a supervisor sends it."""
    title("Follow it")
    show(f"$ crossfade start {root} {url} &")
    process = subprocess.Popen(
        [sys.executable, "-m", "crossfade", "start", root, url], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        show(f"$ kill -TERM %1     # it drains, and ends with {process.wait(_STOP_SECONDS)}")


def _hand_over(
    verb: str, text: str, url: str, program: Program, run: Callable[..., int], title: Callable[[str], None]
) -> int:
    title(text)
    program.take_longest()
    before = program.written
    status = run(verb, "--store", url, "--writers-stopped")
    while program.written < before + 50 and program.is_alive():
        time.sleep(_PAUSE_SECONDS)
    show(f"its longest write took {program.take_longest() * 1000:.0f} ms; {program.written:,} events by now")
    return status


def _count(url: str, program: Program) -> None:
    """What the database says of the program's events."""
    query = "SELECT count(*), count(DISTINCT id) FROM crossfade.events WHERE id LIKE 'live-%'"
    show(f"\n{query};")
    with opened(parse(url)) as ledger, ledger.snapshot() as connection:
        ((rows, different),) = connection.execute(sql.SQL(query)).fetchall()
    show(f"  {rows:,} rows, {different:,} different; written were {program.written:,}")
