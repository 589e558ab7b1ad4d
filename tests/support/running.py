"""Running the command line as people and crashes do, and judging what it left behind, by SQL and by the comparer."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from crossfade.testing import prodigy
from crossfade.testing.planting import LEFT_OUT, Planter

ROOT = Path(__file__).parents[2]
CROSSFADE = [sys.executable, "-m", "crossfade"]


@dataclass
class Run:
    """How a command ended. ``status`` is negative for a signal."""

    status: int
    out: str
    err: str
    seconds: float

    def __str__(self) -> str:
        return f"exit {self.status} after {self.seconds:.1f} s\n{self.out[-2000:]}\n{self.err[-4000:]}"


@dataclass
class Terminal:
    """A person's account: where their registry is, and what their environment says."""

    home: Path
    environment: dict[str, str] = field(default_factory=dict)

    def popen(
        self, *arguments: object, environment: Mapping[str, str] | None = None, program: str = "", **options: object
    ) -> subprocess.Popen[bytes]:
        """Start a command in a process group of its own; *program* is Python to run in crossfade's place."""
        command = [sys.executable, "-c", program] if program else CROSSFADE
        env = {**os.environ, "XDG_STATE_HOME": str(self.home), **self.environment, **(environment or {})}
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL} | options
        return subprocess.Popen([*command, *map(str, arguments)], env=env, start_new_session=True, **options)  # type: ignore[call-overload]

    def run(self, *arguments: object, seconds: float = 120, **environment: str) -> Run:
        """Run a command to its end."""
        return finish(self.popen(*arguments, environment=environment), seconds)


def finish(process: subprocess.Popen[bytes], seconds: float = 120) -> Run:
    """Wait for *process*; one that hangs fails the test, with what it said so far, and leaves nobody behind."""
    began = time.monotonic()
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        kill_group(process)
        out, err = process.communicate()
        raise AssertionError(f"still running after {seconds} s:\n{err.decode(errors='replace')[-4000:]}") from None
    return Run(
        process.returncode,
        (out or b"").decode(errors="replace"),
        (err or b"").decode(errors="replace"),
        time.monotonic() - began,
    )


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """``kill -9`` of the runner and all its workers."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def in_group(group: int) -> list[int]:
    """The processes of a group that are alive."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                fields = (entry / "stat").read_bytes().rpartition(b")")[2].split()
                if int(fields[2]) == group and fields[0] not in (b"Z", b"X"):
                    found.append(int(entry.name))
    return sorted(found)


def wait_for(what: str, condition: object, seconds: float = 60.0) -> object:
    """Wait until *condition()* is true, and return it."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):  # type: ignore[operator]
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.01)
    return found


@contextmanager
def meanwhile(work: Callable[[int], object], rest_seconds: float) -> Iterator[None]:
    """Somebody does *work* again and again, a rest in between, as long as this lasts; it hears how often it was done before."""
    over = threading.Event()

    def go_on() -> None:
        for number in itertools.count():
            work(number)
            if over.wait(rest_seconds):
                break

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def build_long_store(root: Path) -> Path:
    """About 11 MB, with a log of more than a segment, and all the small kinds: enough to be met in the middle of the work."""
    prodigy.build(str(root), events=2_000)
    tree = Planter(str(root))
    tree.file(b"events/prodigy/long/events-20251116_101500.jsonl", prodigy.event_lines(18_000, 7, 520, job="long"))
    tree.settle()
    return root


def compare(one: Path, other: Path) -> None:
    """The independent comparer finds no difference."""
    excludes = [option for glob in LEFT_OUT for option in ("--exclude", glob)]
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts/compare_trees.py"), str(one), str(other), *excludes],
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


def once_each(connection: psycopg.Connection, schema: str, root: Path) -> int:
    """Nothing lost, nothing twice: the rows of *schema* against the files below *root*, counted by SQL. How many rows.

    For every file, the bytes of its rows and chunks are its bytes; a log has a row a line; no row stands twice in a place,
    and none belongs to nobody.
    """
    held: dict[int, _Held] = {}
    for (kind,) in connection.execute(f'SELECT name FROM "{schema}".kinds ORDER BY 1').fetchall():
        for entry, count, places, size, digest in connection.execute(
            f"""SELECT entry_id, count(*) FILTER (WHERE is_row), count(DISTINCT (store_id, pos)) FILTER (WHERE is_row),
                       coalesce(sum(octet_length(data)), 0), sha256(string_agg(data, ''::bytea ORDER BY pos))
                FROM (SELECT entry_id, store_id, pos, true AS is_row, coalesce(raw, convert_to(body::text, 'UTF8')) AS data
                      FROM "{schema}"."{kind}"
                      UNION ALL
                      SELECT entry_id, store_id, pos, false, data FROM "{schema}".chunks
                      WHERE entry_id IN (SELECT entry_id FROM "{schema}"."{kind}")) AS part
                GROUP BY entry_id"""
        ).fetchall():
            assert count == places, f"{kind}: entry {entry} holds {count - places} records twice"
            assert entry not in held, f"{kind}: entry {entry} is in another kind, too"
            held[entry] = _Held(count, int(size), digest)
    total = sum(found.rows for found in held.values())
    files = connection.execute(
        f"SELECT entry_id, key, form, size, records, complete FROM \"{schema}\".entries WHERE type = 'file'"
    ).fetchall()
    for entry, key, form, size, records, complete in files:
        path = os.fsencode(root) + b"/" + bytes(key).replace(b"\0", b"/")
        found = held.pop(entry, _NOTHING)
        with open(path, "rb") as file:
            data = file.read()
        assert complete, path
        assert (found.size, size) == (len(data), len(data)), f"{path!r}: {found.size} bytes in rows, {len(data)} in the file"
        assert found.digest == (hashlib.sha256(data).digest() if data else None), f"{path!r}: other bytes"
        assert records == found.rows, f"{path!r}: {found.rows} rows, {records} said"
        if form == "log":
            lines = data.count(b"\n") + (bool(data) and not data.endswith(b"\n"))
            assert found.rows == lines, f"{path!r}: {found.rows} rows, {lines} lines"
    assert not held, f"rows that belong to no entry: {held}"
    return total


@dataclass(frozen=True)
class _Held:
    """What a database holds for one entry."""

    rows: int
    size: int
    digest: bytes | None


_NOTHING = _Held(0, 0, None)


def report(run: Run) -> dict[str, object]:
    """What ``--json`` said."""
    return dict(json.loads(run.out))
