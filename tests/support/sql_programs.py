"""A tree that lives in a database, programs that write it by SQL, and followers of it."""

from __future__ import annotations

import random
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from crossfade.model import layouts
from support.running import Terminal, finish, wait_for
from support.servers import Database
from support.twins import make_known

LINE = b'{"id":"%d","timestamp":"2026-11-23T00:00:00Z","event":{"event_type":"x"},"pad":"%s"}\n'


def new_tree(database: Database, name: str = "tree") -> None:
    """A tree of the layout prodigy that is nobody's copy: its authority is the database."""
    make_known(database, layouts.load("prodigy"))
    database.run(f"SET search_path = {database.location.schema}; SELECT make_store('{name}', 'prodigy')")


@dataclass
class SqlProgram:
    """Writes a tree by the functions of its schema, as a program does that knows nothing else; and keeps what it wrote.

    *area* keeps the paths of several programs apart.
    """

    database: Database
    seed: int
    area: str = "a"
    files: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._count = 0
        self.sql = self.database.connect(origin="")

    def work(self, operations: int) -> None:
        """So many writes, each of its own transaction."""
        acts = [self._append, self._document, self._remove, self._rotate, self._rewrite]
        for _ in range(operations):
            self._count += 1
            self._random.choices(acts, [70, 15, 5, 5, 5])[0]()

    def call(self, function: str, *values: object) -> None:
        """Call one of the functions."""
        marks = ", ".join(["%s"] * len(values))
        self.sql.execute(f"SELECT {self.database.location.schema}.{function}({marks})", values)

    def _log(self) -> str:
        return f"events/{self.area}/j/events-{self._random.randrange(4)}.jsonl"

    def _append(self) -> None:
        self.append(self._log(), LINE % (self._count, b"x" * self._random.randrange(500)))

    def append(self, path: str, line: bytes) -> None:
        """Have *line* at the end of a log."""
        self.call("append", path, line)
        self.files[path] = self.files.get(path, b"") + line

    def _document(self) -> None:
        path = f"sessions/{self.area}{self._random.randrange(20)}.json"
        self.put(path, b'{"id":"s","n":%d}' % self._count)

    def put(self, path: str, data: bytes) -> None:
        """Have a file hold *data*."""
        self.call("put", path, data)
        self.files[path] = data

    def _remove(self) -> None:
        if self.files:
            path = self._random.choice(sorted(self.files))
            self.call("remove", path)
            del self.files[path]

    def _rotate(self) -> None:
        path = self._log()
        if path in self.files:
            self.call("move", path, f"{path}.{self._count}")
            self.files[f"{path}.{self._count}"] = self.files.pop(path)

    def _rewrite(self) -> None:
        path = self._log()
        if path in self.files:
            lines = self.files[path].splitlines(keepends=True)
            self.put(path, b"".join(lines[len(lines) // 2 :]))


def follower(
    terminal: Terminal, source: object, target: object, control: Database, *options: str
) -> subprocess.Popen[bytes]:
    """A follower that has arrived. *control* is the database that keeps its journal."""
    table = f"{control.location.schema}.journal"
    query = f"SELECT count(*) FROM {table} WHERE event = 'following'"
    arrived = 0 if control.one("SELECT to_regclass(%s)", table) is None else control.one(query)
    process = terminal.popen("start", source, target, "--cpu-max", "100", *options)

    def has_arrived() -> bool:
        assert process.poll() is None, finish(process)
        return control.one("SELECT to_regclass(%s)", table) is not None and control.one(query) != arrived

    wait_for("a follower", has_arrived, 60)
    return process


STANDING = """
SELECT key, type, kind, form, size, records, raws, digest, CASE type WHEN 'link' THEN 0 ELSE mode END, mtime_ns, link
FROM {}.entries WHERE type <> 'gone' ORDER BY key
"""
"""What a tree in a database comes to, but for its numbers, generations and tombstones."""


def standing(database: Database) -> list[tuple]:
    """All entries of a database's only tree, with their digests."""
    return database.all(STANDING.format(database.location.schema))


def same_trees(one: Database, other: Database, seconds: float = 60) -> None:
    """Wait until two databases hold the same tree."""
    try:
        wait_for("the same tree", lambda: standing(one) == standing(other), seconds)
    except AssertionError:
        differing = set(standing(one)) ^ set(standing(other))
        raise AssertionError(f"not the same after {seconds} s: {sorted(differing)[:6]}") from None


def files_below(root: Path) -> dict[str, bytes]:
    """Every regular file below *root*, by its path."""
    found = {}
    for path in root.rglob("*"):
        try:
            if path.is_file() and not path.is_symlink():
                found[str(path.relative_to(root))] = path.read_bytes()
        except FileNotFoundError:
            continue  # it was renamed away under us
    return found


def in_step(root: Path, *programs: SqlProgram, seconds: float = 60) -> None:
    """Wait until the files below *root* are what the programs wrote."""
    expected = {path: data for program in programs for path, data in program.files.items()}
    try:
        wait_for("being in step", lambda: files_below(root) == expected, seconds)
    except AssertionError:
        found = files_below(root)
        differing = [path for path in expected.keys() | found.keys() if expected.get(path) != found.get(path)]
        raise AssertionError(f"not in step after {seconds} s: {sorted(differing)[:20]}") from None


def quiet(process: subprocess.Popen[bytes]) -> None:
    """Stop a follower as a supervisor does; it ends well."""
    process.terminate()
    done = finish(process)
    assert done.status == 0, done


def connection_of(database: Database) -> psycopg.Connection:
    """A connection for transactions of one's own, by the functions only."""
    connection = database.connect(origin="")
    connection.autocommit = False
    return connection
