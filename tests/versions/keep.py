"""Keep this release's schema, with interrupted migrations in it, for the tests of every later one.

``python tests/versions/keep.py`` writes two files to ``tests/data/versions``: ``RELEASE.sql.gz``, a copy that was killed on its
way, and ``RELEASE-live.sql.gz``, a live migration that was killed just behind the decision of a cut-over, with something
that had drifted, and with writes that nobody has brought over. What belongs to one machine (the places of source and target, the
schema's name, the migration's id, which is their hash) stands in it as ``@NAME@``; the marker beside the files, as a comment
at the end. Run it once, when a release is made; never again for that release.
"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import psycopg

from crossfade.store.backends.embedded import EmbeddedServer, majors
from crossfade.testing import prodigy
from crossfade.testing.planting import EPOCH_NS, Planter

DUMPS = Path(__file__).parents[1] / "data/versions"
LIVE, MARKER = "-live", "-- marker "
SCHEMA = "kept_at_release"
EVENTS = 3_000

ROGUE, AFTER = "events/repo/job-1/events-20251116_101500.jsonl", "sessions/after.json"
"""What somebody wrote in files that had handed their events over; what a program wrote in the database, behind the decision."""

ROGUE_TEXT, AFTER_TEXT = '{"id":"rogue"}\n', '{"id":"after","status":"Running"}'


def build(root: Path) -> None:
    """The tree that the migration in the first dump copies; the same on every run."""
    prodigy.build(str(root), events=EVENTS)


def build_live(root: Path) -> None:
    """The tree of the migration in the second dump, as it was before anybody wrote in it; the same on every run."""
    tree = Planter(str(root))
    for job in range(3):
        lines = b"".join(b'{"id":"%d-%d","timestamp":"2025-11-16T10:15:00Z"}\n' % (job, number) for number in range(20))
        tree.file(b"events/repo/job-%d/events-20251116_101500.jsonl" % job, lines)
        tree.file(b"sessions/session-%d.json" % job, b'{"id":"session-%d","status":"Running"}' % job)
    tree.link(b"latest", b"sessions/session-1.json")
    tree.directory(b"empty")
    tree.settle()


def go_rogue(root: Path) -> None:
    """Write in the files what the database decides about."""
    (root / ROGUE).write_text(ROGUE_TEXT)
    os.utime(root / ROGUE, ns=(EPOCH_NS, EPOCH_NS))


@dataclass
class Bench:
    """Where a dump is made: a tree, and a server. ``ask`` is for plain SQL."""

    place: Path
    dsn: str

    @property
    def root(self) -> Path:
        """The tree."""
        return self.place / "tree"

    @property
    def target(self) -> str:
        """The database."""
        return f"embedded://{self.place}/database?schema={SCHEMA}&store=tree"

    def start(self, *words: str, **environment: str) -> subprocess.Popen[bytes]:
        """``crossfade WORDS``, under way, in a process group of its own."""
        env = {**os.environ, "XDG_STATE_HOME": f"{self.place}/state", **environment}
        return subprocess.Popen([sys.executable, "-m", "crossfade", *words], env=env, start_new_session=True)

    def ask(self, query: str) -> object:
        """The only value of *query*."""
        options = f"-c search_path={SCHEMA},pg_catalog"
        with psycopg.connect(self.dsn, autocommit=True, options=options) as connection:
            row = connection.execute(query.encode()).fetchone()
        return row[0] if row else None

    def until(self, query: str, seconds: float = 60.0) -> None:
        """Wait until *query* says something that is true."""
        over = time.monotonic() + seconds
        while not self.ask(query):
            assert time.monotonic() < over, query
            time.sleep(0.05)


def main() -> None:
    """Write both."""
    for name, leave in (("", leave_a_copy), (LIVE, leave_a_hand_over)):
        keep(name, leave)


def keep(name: str, leave: Callable[[Bench], str]) -> None:
    """Have *leave* leave something, and dump it, with what it says at the end."""
    with _bench() as bench:
        text = leave(bench)
        text = _dumped(bench.dsn) + text
        migration = str(bench.ask("SELECT migration_id FROM migrations"))
        here = {"SOURCE": f"file://{bench.root}", "TARGET": bench.target, "MIGRATION": migration, "SCHEMA": SCHEMA}
        for word, value in here.items():
            text = text.replace(value, f"@{word}@")
        assert str(bench.place) not in text, "a place of this machine is left"
    DUMPS.mkdir(parents=True, exist_ok=True)
    path = DUMPS / f"{metadata.version('crossfade')}{name}.sql.gz"
    path.write_bytes(gzip.compress(text.encode(), mtime=0))
    print(path)


@contextmanager
def _bench() -> Iterator[Bench]:
    with tempfile.TemporaryDirectory() as place, EmbeddedServer(f"{place}/database") as dsn:
        yield Bench(Path(place), dsn)


def leave_a_copy(bench: Bench) -> str:
    """Begin a copy, and kill it in the middle."""
    build(bench.root)
    options = ("--once", "--batch-records", "300", "--workers", "1")
    process = bench.start("start", str(bench.root), bench.target, *options, CROSSFADE_FAILPOINT="postgres.page:after@9")
    assert process.wait(120) < 0, "it was to be killed"
    return ""


def leave_a_hand_over(bench: Bench) -> str:
    """Follow, cut the events over, have somebody write them all the same, and die just behind the decision about the rest.

    Then a program writes where the authority is by now.
    """
    build_live(bench.root)
    ends = (str(bench.root), bench.target)
    runner = bench.start("start", *ends, "--cpu-max", "100", CROSSFADE_FAILPOINT="postgres.decision:after@2")
    bench.until(f"SELECT to_regclass('{SCHEMA}.journal') IS NOT NULL")
    bench.until("SELECT count(*) FROM journal WHERE event = 'following'")
    words = ("cutover", "--store", bench.target, "--writers-stopped", "--hold-max", "5")
    assert bench.start(*words, "--only", "events").wait(120) == 0
    go_rogue(bench.root)
    bench.until("SELECT count(*) FROM drift")
    asked = bench.start(*words, "--force")
    assert runner.wait(120) < 0, "it was to be killed"
    asked.kill()
    asked.wait()
    assert bench.ask("SELECT count(*) FROM drift WHERE state = 'open'") == 1
    assert bench.ask("SELECT phase FROM migrations") == "cut-over"
    bench.ask(f"SELECT {SCHEMA}.put('{AFTER}', '{AFTER_TEXT}')")
    marker = json.loads(Path(f"{bench.root}.crossfade/route.json").read_text())
    return f"\n{MARKER}{json.dumps(marker)}\n"


def _dumped(dsn: str) -> str:
    program = majors()[max(majors())] / "pg_dump"
    options = ["--schema", SCHEMA, "--no-owner", "--no-privileges", "--no-comments", "--dbname", dsn]
    return subprocess.run([str(program), *options], capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    main()
