"""What networks and servers do to a copy: dropped, stalled, restarted, gone, locked; and a commit of which nobody hears.

Through a proxy, to a real server on TCP that asks for a password. The demands are those after a crash: the command ends
with 0 by itself or when it is given again, nothing is lost, nothing is twice, counted by SQL.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from support.cluster import Cluster
from support.proxy import Proxy
from support.running import Run, Terminal, build_long_store, compare, finish, once_each, wait_for

_SCHEMA = count(1)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built once, never changed."""
    return build_long_store(tmp_path_factory.mktemp("wire") / "prodigy")


@pytest.fixture
def proxy(cluster: Cluster) -> Iterator[Proxy]:
    with Proxy(cluster.port) as running:
        yield running


class Line:
    """A terminal at one end of the wire, a schema of its own at the other."""

    def __init__(self, cluster: Cluster, proxy: Proxy, terminal: Terminal, store: Path) -> None:
        self.cluster, self.proxy, self.store = cluster, proxy, store
        self.schema = f"wire{next(_SCHEMA)}"
        self.url = cluster.url(self.schema, proxy.port)
        self.terminal = Terminal(terminal.home, {"PGPASSWORD": cluster.password})

    def start(self, *options: object, patience: float = 60) -> Callable[[], Run]:
        """Begin to copy; the answer waits for the end."""
        process = self.terminal.popen(
            "start", self.store, self.url, "--once", *options, environment={"CROSSFADE_PATIENCE_SECONDS": str(patience)}
        )
        return lambda: finish(process, 90)

    def copying(self, pages: int = 2) -> None:
        """Wait until some pages are there."""
        query = f'SELECT count(*) FROM "{self.schema}".entries'

        def some() -> bool:
            with self.cluster.connect() as connection:
                found = connection.execute("SELECT to_regclass(%s)", [f"{self.schema}.entries"]).fetchone()
                return bool(found and found[0]) and connection.execute(query).fetchone()[0] >= pages  # type: ignore[index]

        wait_for("the first pages", some)

    def judge(self) -> None:
        with self.cluster.connect() as connection:
            assert once_each(connection, self.schema, self.store) > 20_000


@pytest.fixture
def line(cluster: Cluster, proxy: Proxy, terminal: Terminal, store: Path) -> Iterator[Line]:
    line = Line(cluster, proxy, terminal, store)
    yield line
    proxy.go_on()
    with cluster.connect() as connection:
        connection.execute(f'DROP SCHEMA IF EXISTS "{line.schema}" CASCADE')


SLOWLY = ("--rate-limit", "5MB")


@pytest.mark.parametrize("bytes_", [300_000, 3_000_000, 9_000_000], ids=str)
def test_a_connection_that_drops_within_a_page_is_made_again(line: Line, bytes_: int):
    """Every connection breaks after so many bytes: early, and within the second and the last page of a long log."""
    line.proxy.drop_after(bytes_)

    done = line.start("--batch-bytes", "1MiB")()

    assert done.status == 0, done
    assert line.proxy.events == ["dropped"]
    assert "Traceback" not in done.err
    assert "psycopg" not in done.err
    line.judge()


@pytest.mark.parametrize(
    ("act", "page"), [("lose_answer", 2), ("lose_answer", 9), ("lose_commit", 9), ("delay_commit", 1), ("delay_commit", 9)]
)
def test_a_commit_that_nobody_heard_is_asked_for_and_not_guessed(line: Line, act: str, page: int):
    """It happened; it did not; or it is still on its way while the next connection asks. In no case is a row there twice."""
    proxy = line.proxy
    proxy.at_page_commit(page, proxy.delay_commit(0.7) if act == "delay_commit" else getattr(proxy, act))

    done = line.start("--batch-bytes", "1MiB", "--workers", 1)()

    assert done.status == 0, done
    assert proxy.events, "no page was met"
    line.judge()


def test_a_server_that_restarts_in_the_middle_is_waited_for(line: Line):
    """As a crash would, and it stays away for two seconds; the run goes on and says what it waits for."""
    done = line.start(*SLOWLY)
    line.copying()
    line.cluster.stop(immediately=True)
    time.sleep(2)
    line.cluster.start()

    found = done()
    assert found.status == 0, found
    assert "waiting: trying again after" in found.err
    line.judge()


def test_a_server_that_stays_away_ends_the_run_and_the_next_one_finishes(line: Line):
    """Patience has an end: exit 2, with a code and what to type; nothing is lost, and nothing begins anew."""
    done = line.start(*SLOWLY, patience=2)
    line.copying()
    line.proxy.stop()

    found = done()
    assert found.status == 2, found
    assert "error[CF203]" in found.err
    assert "\n  try: " in found.err
    assert "Traceback" not in found.err
    assert found.seconds < 25, "patience of 2 s is not 25"

    line.proxy.go_on()
    again = line.start()()
    assert again.status == 0, again
    line.judge()


def test_a_server_that_was_never_there_is_said_at_once(line: Line):
    """A mistyped address is no reason to wait for five minutes."""
    line.proxy.stop()

    found = line.start(patience=60)()
    assert found.status == 2, found
    assert "error[CF203]" in found.err
    assert found.seconds < 15


def test_a_stall_that_ends_is_sat_out(line: Line):
    """Nothing flows for three seconds, no connection breaks."""
    done = line.start(*SLOWLY)
    line.copying()
    line.proxy.stall()
    time.sleep(3)
    line.proxy.go_on()

    found = done()
    assert found.status == 0, found
    line.judge()


def test_whoever_locks_a_table_is_waited_for(line: Line):
    """Three seconds of somebody's ACCESS EXCLUSIVE; and a statement of ours that is given up meanwhile is repeated."""
    done = line.start(*SLOWLY)
    line.copying()
    with line.cluster.connect() as connection, connection.transaction():
        connection.execute(f'LOCK TABLE "{line.schema}".events IN ACCESS EXCLUSIVE MODE')
        time.sleep(1.5)
        connection.execute(  # as a DBA would who looks for what is stuck
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name LIKE 'crossfade%%' AND wait_event_type = 'Lock' AND pid <> pg_backend_pid()"
        )
        time.sleep(1.5)

    found = done()
    assert found.status == 0, found
    line.judge()


def test_a_restore_survives_the_same(line: Line, tmp_path: Path):
    """Dropped while pages are read, and once the server restarts while marks are written."""
    done = line.start()()
    assert done.status == 0, done

    target = tmp_path / "restored"
    process = line.terminal.popen(
        "start", line.url, target, "--once", *SLOWLY, environment={"CROSSFADE_PATIENCE_SECONDS": "60"}
    )
    wait_for("the first files", lambda: target.exists() and any(target.rglob("*.json")))
    line.proxy.drop()
    time.sleep(0.5)
    line.cluster.stop(immediately=True)
    time.sleep(0.5)
    line.cluster.start()

    found = finish(process, 90)
    assert found.status == 0, found
    compare(line.store, target)


def test_the_password_is_nowhere(line: Line):
    """Not in what is said, not in the arguments of any process, not in the registry."""
    seen: list[str] = []
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.05):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    text = path.read_bytes().decode(errors="replace")
                except OSError:
                    continue
                seen.extend([text] if line.cluster.password in text else [])

    watcher = threading.Thread(target=look)
    watcher.start()
    line.proxy.drop_after(2_000_000)
    done = line.start()()
    over.set()
    watcher.join()

    assert done.status == 0, done
    assert not seen
    assert line.cluster.password not in done.out + done.err
    assert not [
        path for path in line.terminal.home.rglob("*") if path.is_file() and line.cluster.password in path.read_text()
    ]
