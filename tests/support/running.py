"""Running the command line as people and crashes do, and judging what it left behind, by SQL and by the comparer."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from crossfade.testing.planting import LEFT_OUT

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
        self, *arguments: object, environment: Mapping[str, str] | None = None, **options: object
    ) -> subprocess.Popen[bytes]:
        """Start a command in a process group of its own."""
        env = {**os.environ, "XDG_STATE_HOME": str(self.home), **self.environment, **(environment or {})}
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL} | options
        return subprocess.Popen([*CROSSFADE, *map(str, arguments)], env=env, start_new_session=True, **options)  # type: ignore[call-overload]

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


def wait_for(what: str, condition: object, seconds: float = 20.0) -> object:
    """Wait until *condition()* is true, and return it."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):  # type: ignore[operator]
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.01)
    return found


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

    For every entry, the bytes of its rows and chunks are the file's size; a log has a row a line; no row stands twice in a
    place, and none belongs to nobody.
    """
    lines = connection.execute(f'SELECT name FROM "{schema}".kinds ORDER BY 1').fetchall()
    held: dict[int, tuple[int, int]] = {}
    total = 0
    for (kind,) in lines:
        rows = connection.execute(
            f"""SELECT entry_id, count(*), count(DISTINCT (store_id, pos)),
                       coalesce(sum(octet_length(convert_to(body::text, 'UTF8'))), 0) + coalesce(sum(octet_length(raw)), 0)
                FROM "{schema}"."{kind}" GROUP BY entry_id"""
        ).fetchall()
        for entry, count, places, size in rows:
            assert count == places, f"{kind}: entry {entry} holds {count - places} records twice"
            assert entry not in held, f"{kind}: entry {entry} is in another kind, too"
            held[entry] = (count, int(size))
            total += count
    for entry, count, size in connection.execute(
        f'SELECT entry_id, count(*), sum(octet_length(data)) FROM "{schema}".chunks GROUP BY 1'
    ).fetchall():
        before = held.get(entry, (0, 0))
        held[entry] = (before[0], before[1] + int(size))
        del count
    entries = connection.execute(
        f"SELECT entry_id, key, form, size, records, complete FROM \"{schema}\".entries WHERE type = 'file'"
    ).fetchall()
    for entry, key, form, size, records, complete in entries:
        path = os.fsencode(root) + b"/" + bytes(key).replace(b"\0", b"/")
        data = open(path, "rb").read()  # noqa: SIM115
        count, found = held.pop(entry, (0, 0))
        assert complete, path
        assert (found, size) == (len(data), len(data)), f"{path!r}: {found} bytes in rows, {len(data)} in the file"
        assert records == count, f"{path!r}: {count} rows, {records} said"
        if form == "log":
            expected = data.count(b"\n") + (bool(data) and not data.endswith(b"\n"))
            assert count == expected, f"{path!r}: {count} rows, {expected} lines"
    assert not held, f"rows that belong to no entry: {held}"
    return total


def report(run: Run) -> dict[str, object]:
    """What ``--json`` said."""
    return dict(json.loads(run.out))
