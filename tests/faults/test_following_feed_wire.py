"""What networks and servers do to whoever follows a database: it waits, says why, and goes on; nothing is lost, nothing is twice."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count
from pathlib import Path

import psycopg
import pytest

from support.cluster import Cluster
from support.following import stopped_at_the_end
from support.proxy import Proxy
from support.running import Terminal, compare, wait_for
from support.sql_programs import SqlProgram, connection_of, in_step, new_tree

_NUMBER = count(1)


class Line:
    """A program that writes a tree by SQL; and, at the other end of a wire, a follower that brings it into files."""

    def __init__(self, cluster: Cluster, proxy: Proxy, terminal: Terminal, folder: Path) -> None:
        number = next(_NUMBER)
        self.cluster, self.proxy = cluster, proxy
        self.schema = f"fed{number}"
        self.url = cluster.url(self.schema, proxy.port)
        self.database = cluster.database(self.schema)
        new_tree(self.database)
        self.program = SqlProgram(self.database, seed=number)
        self.program.work(30)
        self.files, self.said = folder / "files", folder / "said"
        self.terminal = Terminal(terminal.home, {"PGPASSWORD": cluster.password})
        self.process: subprocess.Popen[bytes] | None = None

    def follow(self) -> None:
        """Start the follower; it has arrived when what is written now comes through."""
        with self.said.open("wb") as said:
            self.process = self.terminal.popen("start", self.url, self.files, "--cpu-max", "100", stdout=said, stderr=said)
        wait_for("following", lambda: "following" in self.said.read_text(), 60)
        self.arrives()

    def arrives(self) -> None:
        """What is written now comes through."""
        self.program.work(20)
        in_step(self.files, self.program, seconds=90)
        assert self.process is not None
        assert self.process.poll() is None, self.said.read_text()

    def restart(self) -> None:
        """Have the server crash, and come back once the follower says that it waits; the program connects anew."""
        before = len(self.said.read_text())
        self.cluster.stop(immediately=True)
        try:
            wait_for("a word", lambda: "waiting: " in self.said.read_text()[before:], 60)
        finally:
            self.cluster.start()
        self.program.sql = self.database.connect(origin="")

    def is_cut(self, cut: Callable[[], None]) -> None:
        """*cut* breaks the line: it says what it waits for; what is written then comes through."""
        wait_for("nothing to wait for", lambda: "waiting: " not in self.said.read_text().splitlines()[-1], 30)
        before = len(self.said.read_text())
        cut()
        self.arrives()
        wait_for("a word", lambda: "waiting: " in self.said.read_text()[before:], 30)

    def status_says(self, *words: str) -> None:
        """Any other terminal sees it."""
        ask = ("status", "--store", self.database.url)
        wait_for(" ".join(words), lambda: all(word in self.terminal.run(*ask).out for word in words), 30)


@pytest.fixture
def line(cluster: Cluster, terminal: Terminal, tmp_path: Path) -> Iterator[Line]:
    with Proxy(cluster.port) as proxy:
        line = Line(cluster, proxy, terminal, tmp_path)
        line.follow()
        assert line.process is not None
        with stopped_at_the_end(line.process, line.said):
            yield line
            proxy.go_on()
    restored = line.terminal.run("start", line.database.url, tmp_path / "back", "--once")
    assert restored.status == 0, restored
    compare(line.files, tmp_path / "back")
    with cluster.connect() as connection:
        connection.execute(f'DROP SCHEMA "{line.schema}" CASCADE')


def test_a_server_that_restarts_is_waited_for_and_said_so(line: Line):
    """As a crash would: with what was committed and not read yet, and with a transaction that ends with it."""
    line.program.work(10)
    with closing(connection_of(line.database)) as never_ended:
        never_ended.execute(f"SELECT {line.schema}.put('sessions/never.json', '{{}}'::text)")
        line.restart()
    line.arrives()
    assert not (line.files / "sessions/never.json").exists()


def test_a_connection_that_is_cut_is_made_again(line: Line):
    """All of them, once between two pages, once within one, and it is said; and once before it is told to stop."""
    line.is_cut(line.proxy.drop)
    line.is_cut(lambda: line.proxy.drop_after(300))
    line.proxy.drop()


def test_a_connection_that_stalls_is_sat_out_and_said_so(line: Line):
    """Whoever waits for an answer can say nothing; somebody else does."""
    line.proxy.stall()
    line.program.work(20)
    said = "waiting: the database has not answered for 2 s"
    wait_for("a word", lambda: said in line.said.read_text(), 30)
    line.proxy.go_on()
    line.arrives()


def test_a_transaction_of_another_database_that_holds_the_feed_back_is_named(line: Line):
    """It needs not touch anything of ours: the status names its process, its database and its age; then it goes on."""
    with line.cluster.connect() as connection:
        connection.execute("CREATE DATABASE elsewhere")
        info = {"host": "127.0.0.1", "port": line.cluster.port, "user": "crossfade", "password": line.cluster.password}
        with psycopg.connect(**info, dbname="elsewhere", application_name="a long report") as other:
            other.execute("SELECT pg_current_xact_id()")
            line.program.work(20)
            who = f"a transaction of process {other.info.backend_pid} (a long report, user crossfade, database elsewhere) runs for"
            line.status_says("changes cannot be read yet", who, " unread) behind")
            assert who in line.said.read_text()
        line.arrives()
        connection.execute("DROP DATABASE elsewhere")
    wait_for("no trouble", lambda: "cannot be read" not in line.terminal.run("status", "--store", line.database.url).out)
