"""What networks and servers do to a follower: it waits, says why, and goes on; nothing is lost, nothing is twice."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import psycopg
import pytest

from crossfade.store.backends.postgres.ledger import Ledger
from crossfade.store.backends.postgres.server import Server
from crossfade.store.location import conninfo, parse
from support.cluster import Cluster
from support.following import stopped_at_the_end
from support.proxy import Proxy
from support.running import Terminal, finish, kill_group, once_each, wait_for

_SCHEMA = count(1)
LINE = b'{"id":"%d","timestamp":"2026-11-23T00:00:00Z"}\n'


class Line:
    """A follower at one end of a wire, a schema of its own at the other, and a log that grows."""

    def __init__(self, cluster: Cluster, proxy: Proxy, terminal: Terminal, root: Path) -> None:
        self.cluster, self.proxy, self.root = cluster, proxy, root
        self.schema = f"live{next(_SCHEMA)}"
        self.said = root.parent / "said"
        self.log = root / "events/r/j/events-1.jsonl"
        self.log.parent.mkdir(parents=True)
        self.written = 0
        self.write(3)
        self._terminal = Terminal(terminal.home, {"PGPASSWORD": cluster.password})
        self.process: subprocess.Popen[bytes] | None = None

    def follow(self, *options: str) -> None:
        """Start the follower; it has arrived when what is written now comes through."""
        with self.said.open("wb") as said:
            url = self.cluster.url(self.schema, self.proxy.port)
            self.process = self._terminal.popen(
                "start", self.root, url, "--cpu-max", "100", *options, stdout=said, stderr=said
            )
        wait_for("following", lambda: "following" in self.said.read_text(), 60)
        self.arrives()

    def write(self, lines: int = 20) -> None:
        with self.log.open("ab", 0) as file:
            for _ in range(lines):
                file.write(LINE % self.written)
                self.written += 1

    def rows(self) -> int:
        with self.cluster.connect() as connection:
            found = connection.execute("SELECT to_regclass(%s)", [f"{self.schema}.events"]).fetchone()
            if found is None or found[0] is None:
                return 0
            return int(connection.execute(f'SELECT count(*) FROM "{self.schema}".events').fetchone()[0])  # type: ignore[index]

    def arrives(self) -> None:
        """What is written now comes through, and is there once."""
        self.write()
        assert self.process is not None
        wait_for("what was written", lambda: self.rows() == self.written, 90)
        assert self.process.poll() is None, self.said.read_text()
        with self.cluster.connect() as connection:
            assert once_each(connection, self.schema, self.root) == self.written

    def asks(self, *words: str, through: Proxy) -> subprocess.Popen[bytes]:
        """Somebody at another terminal, and another wire."""
        return self._terminal.popen(*words, "--store", self.cluster.url(self.schema, through.port))

    def says(self, words: str, before: int = 0) -> None:
        wait_for(f"the word {words!r}", lambda: words in self.said.read_text()[before:], 60)

    def is_cut(self, cut: Callable[[], None]) -> None:
        """*cut* breaks the line: it says that it tries again; what is written then comes through, and nothing is waited for."""
        wait_for("nothing to wait for", lambda: "waiting: " not in self.said.read_text().splitlines()[-1], 30)
        before = len(self.said.read_text())
        cut()
        self.arrives()
        self.says("waiting: trying again after", before)


@pytest.fixture
def line(cluster: Cluster, terminal: Terminal, tmp_path: Path) -> Iterator[Line]:
    root = tmp_path / "live"
    root.mkdir()
    with Proxy(cluster.port) as proxy:
        line = Line(cluster, proxy, terminal, root)
        line.follow()
        assert line.process is not None
        with stopped_at_the_end(line.process, line.said):
            yield line
            proxy.go_on()
    with cluster.connect() as connection:
        connection.execute(f'DROP SCHEMA IF EXISTS "{line.schema}" CASCADE')


def test_a_server_that_restarts_is_waited_for_and_said_so(line: Line):
    """As a crash would; meanwhile the program writes on."""
    line.cluster.stop(immediately=True)
    line.write()
    line.says("waiting: trying again after")
    line.cluster.start()
    line.arrives()


def test_a_connection_that_is_cut_is_made_again(line: Line):
    """Between two pages, and within one, and it is said. One that is found broken when it is told to stop is made again, too."""
    line.is_cut(line.proxy.drop)
    line.is_cut(lambda: line.proxy.drop_after(300))
    line.proxy.drop()


def test_a_connection_that_stalls_is_sat_out_and_said_so(line: Line):
    """Whoever waits for an answer can say nothing; somebody else does."""
    line.proxy.stall()
    line.write()
    line.says("waiting: the database has not answered for 2 s")
    line.proxy.go_on()
    line.arrives()


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT])
def test_whoever_has_nothing_to_do_hears_that_it_is_to_stop_though_the_server_is_away(
    told: signal.Signals, cluster: Cluster, terminal: Terminal, tmp_path: Path
):
    """Only what it looks after once a second is asked for then, and that it waits is said; no longer than the grace once it is told."""
    root = tmp_path / "live"
    root.mkdir()
    with Proxy(cluster.port) as proxy:
        line = Line(cluster, proxy, terminal, root)
        line.follow("--grace", "2s")
        assert line.process is not None
        try:
            time.sleep(2)  # nothing is left to bring
            before = len(line.said.read_text())
            proxy.stop()
            line.says("waiting: trying again after", before)
            line.process.send_signal(told)
            done = finish(line.process, 30)
        finally:
            kill_group(line.process)
    assert done.status == 2, line.said.read_text()
    assert "error[CF203]" in line.said.read_text()
    with cluster.connect() as connection:
        connection.execute(f'DROP SCHEMA "{line.schema}" CASCADE')


_LATE = " was not cut-over within 4.0 s; {} did not answer in the end\n"


@pytest.mark.parametrize(
    ("goes", "is_first", "why"),
    [
        (Proxy.stop, False, _LATE),
        (Proxy.stall, False, _LATE),
        (Proxy.stall, True, "error[CF214]: within 4.0 s no database said whether it is cut-over\n"),
    ],
    ids=["is away", "falls silent", "is silent from the start"],
)
def test_whoever_waits_for_a_phase_waits_no_longer_than_was_said_for_a_server_that(
    line: Line, goes: Callable[[Proxy], object], is_first: bool, why: str
):
    """It may be so for ever."""
    with Proxy(line.cluster.port) as proxy:
        if is_first:
            goes(proxy)
        asked = line.asks("status", "--watch", "--wait-for", "cut-over", "--timeout", "4s", through=proxy)
        if not is_first:
            assert asked.stdout is not None
            assert asked.stdout.readline()
            goes(proxy)
        done = finish(asked, 20)

    assert done.status == 2, done
    assert "error[CF214]" in done.err
    assert why.format(line.cluster.url(line.schema, proxy.port)) in done.err
    assert ("does not answer; looking again" in done.err) is (goes is Proxy.stop)


def test_whoever_looks_on_gives_a_silent_line_up_and_looks_through_another(line: Line):
    """A line whose other end is gone is silent for ever; a new one may be answered."""
    where = parse(line.cluster.url(line.schema, line.proxy.port))
    ledger = Ledger(Server(conninfo(where), where.url, line.cluster.password), line.schema)
    ledger.now()
    ledger.answer_seconds = 1.0
    line.proxy.stall()
    began = time.monotonic()
    with pytest.raises(psycopg.OperationalError):
        ledger.now()
    assert time.monotonic() - began < 20
    line.proxy.go_on()
    ledger.now()
    ledger.close()


def test_a_long_transaction_in_another_database_holds_nobody_up(line: Line):
    """The horizon of the whole server stands still; a tree of files does not care."""
    with line.cluster.connect() as connection:
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = 'other'").fetchone():
            connection.execute("CREATE DATABASE other")
    info = {"host": "127.0.0.1", "port": line.cluster.port, "user": "crossfade", "password": line.cluster.password}
    with psycopg.connect(**info, dbname="other") as other:
        other.execute("SELECT pg_current_xact_id()")
        line.arrives()
