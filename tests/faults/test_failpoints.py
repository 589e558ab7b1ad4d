"""Every durable call has a name, and whoever dies just before or after one loses nothing and repeats nothing.

The calls are found by reading the source, the places are reached by running the command line in both directions, in a
process group of its own that is killed whole, as a power cut would.
"""

from __future__ import annotations

import ast
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

import crossfade
from crossfade.observe.failpoints import FAILPOINTS, places
from crossfade.store.location import conninfo, parse
from crossfade.testing import prodigy
from support.running import Run, Terminal, compare, once_each
from support.servers import NAMES, Servers

SOURCE = Path(crossfade.__file__).parent
TESTS = Path(__file__).parents[1]

DURABLE = {
    "os.fsync",
    "os.fdatasync",
    "os.rename",
    "os.replace",
    "os.link",
    "os.fchmod",
    "_syncfs",
    "sync_each",
    "sync_directory",
    "self.disk.sync",
    "self._staging.disk.sync",
    "*.commit",
    "*.transaction",
}
"""Calls after which something is true that was not before; ``*.`` stands for any object."""

ELSEWHERE = {
    "console/background.py": "the log of what a run in the background says; no migration depends on it",
    "migrate/certificate.py": "a report for people, replaced whole; no migration depends on it",
    "migrate/survey.py": "a plan's transactions are rolled back",
    "store/backends/embedded/": "a server's home and programs, made again when they are missing; PostgreSQL keeps its own data",
    "testing/": "trees for tests",
}
"""Rooms whose durable calls keep nothing of a migration."""

INSIDE = {
    (
        "store/backends/postgres/store.py",
        "_commit",
    ): "postgres.page: entered inside the transaction, so that it ends with it",
    ("store/backends/postgres/server.py", "_fit"): "settings of a session; they die with it",
    ("store/backends/postgres/sending.py", "_bisect"): "a savepoint inside the page's transaction",
    (
        "store/backends/postgres/ledger.py",
        "_once",
    ): "looking, the lease and its renewal; what must last is named by the caller",
    ("store/disk.py", "sync_directory"): "named by whoever calls it",
    ("store/backends/file/staging.py", "is_one_mount"): "of a name that nothing has: it asks, and moves nothing",
    ("store/backends/postgres/wishes.py", "listen"): "a session that listens; nothing was written in it",
    ("store/writer.py", "_put"): "a program's own write: whole or not at all, and as durable as its files always were",
    ("store/writer.py", "_keep_mode"): "called in _put, before the file has its name",
    ("migrate/follow/taking.py", "take"): "holds a lock while a page is applied, and writes nothing itself",
    ("store/backends/file/syncing.py", "sync"): "called in file.sync and file.directory",
    ("store/backends/file/writing.py", "_sync_some"): "called in file.directory",
    ("store/backends/file/writing.py", "_finish"): "before file.sync, under a temporary name",
    ("store/backends/file/writing.py", "_with_right"): "a right for the moment, put right when directories are settled",
}
"""Functions that may hold a durable call outside of ``with durable``, each with the reason."""


@dataclass(frozen=True)
class Call:
    """A durable call in the source, or a name that one stands under."""

    file: str
    line: int
    function: str
    what: str
    name: str


class _Reader(ast.NodeVisitor):
    """Notes durable calls with the ``durable("name")`` that they stand in, and all such names."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._functions: list[str] = []
        self._names: list[str] = []
        self.calls: list[Call] = []
        self.names: list[Call] = []

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._functions.append(node.name)
        self.generic_visit(node)
        self._functions.pop()

    def visit_With(self, node: ast.With) -> None:
        before = len(self._names)
        for item in node.items:
            self.visit(item.context_expr)
            if isinstance(item.context_expr, ast.Call) and _spelled(item.context_expr.func) == "durable":
                self._names.append(_argument(item.context_expr))
        for statement in node.body:
            self.visit(statement)
        del self._names[before:]

    def visit_Call(self, node: ast.Call) -> None:
        what = _spelled(node.func)
        if what == "durable":
            self.names.append(self._call(node, what, _argument(node)))
        if _is_named(node):
            self.names.append(self._call(node, what, _keyword(node)))
        if what in DURABLE or f"*.{what.rpartition('.')[2]}" in DURABLE:
            self.calls.append(self._call(node, what, self._names[-1] if self._names else ""))
        self.generic_visit(node)

    def _call(self, node: ast.Call, what: str, name: str) -> Call:
        return Call(self._file, node.lineno, self._functions[-1] if self._functions else "", what, name)


def _spelled(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{_spelled(node.value)}.{node.attr}"
    return "?"


def _argument(node: ast.Call) -> str:
    (first,) = node.args
    return first.value if isinstance(first, ast.Constant) else f"${_spelled(first)}"


def _is_named(node: ast.Call) -> bool:
    return _spelled(node.func).endswith("._run") and any(keyword.arg == "name" for keyword in node.keywords)


def _keyword(node: ast.Call) -> str:
    (name,) = (keyword.value for keyword in node.keywords if keyword.arg == "name")
    return str(name.value) if isinstance(name, ast.Constant) else "$"


def readers() -> Iterator[_Reader]:
    for path in sorted(SOURCE.rglob("*.py")):
        file = path.relative_to(SOURCE).as_posix()
        if not file.startswith(tuple(ELSEWHERE)):
            reader = _Reader(file)
            reader.visit(ast.parse(path.read_text()))
            yield reader


def test_every_durable_call_stands_under_a_registered_name():
    """A commit, a sync or a rename that no test can die at is one that nobody knows to be safe."""
    calls = [call for reader in readers() for call in reader.calls]
    bare = [c for c in calls if not c.name and (c.file, c.function) not in INSIDE and c.file != "observe/failpoints.py"]
    excused = {(c.file, c.function) for c in calls if not c.name}

    assert not bare
    assert set(INSIDE) <= excused | {("store/backends/postgres/ledger.py", "_once")}, "an excuse that nothing needs any more"
    assert len(calls) > 8, "the search finds nothing: it is broken"


def test_every_registered_name_is_used_and_no_other():
    """A name that nobody uses promises a test that does not happen."""
    used = {call.name for reader in readers() for call in reader.names if not call.name.startswith("$")}

    assert used == set(FAILPOINTS)


# Dying at each of them

FORWARD = ("postgres.schema", "postgres.claim", "postgres.page", "postgres.index", "postgres.ledger", "registry.save")
REVERSE = (
    "postgres.claim",
    "postgres.intents",
    "postgres.marks",
    "postgres.ledger",
    "file.sync",
    "file.rename",
    "file.directory",
    "file.metadata",
    "registry.save",
)
PASSING = {
    "postgres.page": 4,
    "postgres.intents": 3,
    "postgres.marks": 3,
    "file.sync": 3,
    "file.rename": 30,
    "file.directory": 2,
    "file.metadata": 5,
}
"""At which passing to die: in the middle of the work."""

CASES = [
    (way, f"{name}:{side}")
    for way, names in (("to the database", FORWARD), ("to files", REVERSE))
    for name in names
    for side in ("before", "after")
]


def test_the_tests_die_at_every_place():
    """Here, or where another test hands its name to a process: what nobody dies at is not known to be safe."""
    here = {place for _, place in CASES}

    assert sorted(set(places()) - here - _named_elsewhere()) == []


def _named_elsewhere() -> set[str]:
    """Every text that stands in another file of tests, without the number of a passing."""
    others = (path for path in TESTS.rglob("test_*.py") if path.name != Path(__file__).name)
    nodes = (node for path in others for node in ast.walk(ast.parse(path.read_text())))
    return {node.value.partition("@")[0] for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


@dataclass
class Trial:
    """One death, and what came after. *judge* raises where something is lost or twice."""

    died: Run
    after: Run
    judge: Callable[[], None] = field(repr=False)


@pytest.fixture(scope="module")
def trials(servers: Servers, small_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict]:
    """All trials, three at a time: each has its own schema, or its own directory, on one server."""
    url = servers.url(NAMES[0])
    where = parse(url)
    folder = tmp_path_factory.mktemp("trials")
    terminal = Terminal(folder / "state")
    copied = terminal.run("start", small_store, _schema(url, "whole"), "--once")
    assert copied.status == 0, copied
    found: dict[tuple[str, str], Future[Trial]] = {}
    connect = lambda: psycopg.connect(conninfo(where), password=where.secret or None, autocommit=True)  # noqa: E731
    with ThreadPoolExecutor(3) as executor:
        for number, (way, place) in enumerate(CASES):
            work = _forward if way == "to the database" else _reverse
            found[way, place] = executor.submit(work, url, small_store, folder, number, place, connect)
        yield found
    with connect() as connection:
        for name in ("whole", *(f"x{number}" for number in range(len(CASES)))):
            connection.execute(f'DROP SCHEMA IF EXISTS "{name}" CASCADE')


def _forward(url: str, store: Path, folder: Path, number: int, place: str, connect: Callable) -> Trial:
    command = ("start", store, _schema(url, f"x{number}"), "--once", "--batch-records", 500, "--workers", _workers(place))
    died, after = _die_and_return(Terminal(folder / f"state{number}"), command, place)

    def judge() -> None:
        with connect() as connection:
            assert once_each(connection, f"x{number}", store) > 1000

    return Trial(died, after, judge)


def _reverse(url: str, store: Path, folder: Path, number: int, place: str, _connect: Callable) -> Trial:
    target = folder / f"restored{number}"
    command = ("start", _schema(url, "whole"), target, "--once", "--batch-records", 500, "--workers", _workers(place))
    died, after = _die_and_return(Terminal(folder / f"state{number}"), command, place)

    def judge() -> None:
        compare(store, target)
        assert not [path.name for path in folder.glob(f"restored{number}.*")], "something of ours was left beside the target"

    return Trial(died, after, judge)


def _die_and_return(terminal: Terminal, command: tuple[object, ...], place: str) -> tuple[Run, Run]:
    passing = PASSING.get(place.partition(":")[0], 1)
    return terminal.run(*command, CROSSFADE_FAILPOINT=f"{place}@{passing}"), terminal.run(*command)


def _workers(place: str) -> int:
    """One is quicker to start; the pages of two are what a migration really has."""
    return 2 if place in ("postgres.page:after", "postgres.marks:before", "file.rename:after") else 1


def _schema(url: str, name: str) -> str:
    return f"{url}{'&' if '?' in url else '?'}schema={name}"


@pytest.mark.parametrize(("way", "place"), CASES, ids=str)
def test_dying_there_loses_nothing_and_repeats_nothing(way: str, place: str, trials: dict):
    """Killed exactly there, the same command ends what it began: every byte once, counted by SQL and by the comparer."""
    trial = trials[way, place].result()

    assert trial.died.status == -signal.SIGKILL, f"{place} was not reached: {trial.died}"
    assert trial.after.status == 0, trial.after
    trial.judge()


@pytest.fixture(scope="module")
def one_long_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of 34 MB: 33 segments, about four pages each."""
    root = tmp_path_factory.mktemp("one") / "prodigy"
    prodigy.write_logs(str(root), events=65_000, logs=1)
    return root


def test_dying_within_a_long_log_goes_on_behind_its_whole_segments(
    servers: Servers, one_long_log: Path, tmp_path: Path, terminal: Terminal
):
    """What was begun of the next segment is cut back and written again, also when that run dies, too; in both directions."""
    with servers.database(NAMES[0]) as database:
        copy = ("start", one_long_log, database.url, "--once", "--workers", 1, "--batch-bytes", "300kB")
        restore = ("start", database.url, tmp_path / "restored", "--once", "--workers", 1, "--batch-bytes", "300kB")
        for place, command in (("postgres.page", copy), ("file.sync", restore)):
            for side, passing in (("after", 30), ("before", 31), ("after", 6), ("before", 17), ("after", 2)):
                died = terminal.run(*command, CROSSFADE_FAILPOINT=f"{place}:{side}@{passing}")
                assert died.status == -signal.SIGKILL, died
            early = terminal.run(*command, CROSSFADE_FAILPOINT=f"{place}:after@65")
            assert early.status == 0, "most segments were there already, so sixty-five pages are more than were left"
        with database.connect() as connection:
            assert once_each(connection, database.location.schema, one_long_log) == 65_000
    compare(one_long_log, tmp_path / "restored")
