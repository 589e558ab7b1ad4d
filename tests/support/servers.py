"""Real PostgreSQL servers for tests: those of the wheel, those of the distribution, or the one that you name.

Each runs with its own defaults for durability (fsync on), listens on a socket only, is started when first asked for, and is
gone at the end, even after a ``kill -9``. What is missing is a failure, never a skip.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import psycopg
from psycopg.conninfo import conninfo_to_dict

from crossfade.store.backends.embedded import EmbeddedServer
from crossfade.store.backends.embedded.account import Account, account_for
from crossfade.store.backends.postgres.server import Server
from crossfade.store.location import Location, conninfo, parse

GIVEN = os.environ.get("CROSSFADE_TEST_POSTGRES", "")
DISTRIBUTION = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))

NAMES: list[str] = ["given"] if GIVEN else [
    "embedded-18",
    "embedded-16",
    *(f"distribution-{programs.parts[-3]}" for programs in DISTRIBUTION),
]  # fmt: skip
"""Every server that tests run on; the first is for tests that need just one."""

_SCHEMA = itertools.count(1)


@dataclass(frozen=True)
class Database:
    """A database of one test's own: in truth a schema of its own, which costs nothing to make."""

    url: str
    location: Location
    server: Server

    def connect(self, *, origin: str = "by-hand") -> psycopg.Connection:
        """A plain connection, with the schema in its search path; every statement commits.

        Tests plant damage by plain SQL, so the guard is lifted; with ``origin=""`` it is as for everybody.
        """
        return psycopg.connect(
            self.server.conninfo,
            password=self.server.secret or None,
            autocommit=True,
            options=f"-c search_path={self.location.schema},pg_catalog -c crossfade.origin={origin}",
        )

    def all(self, query: str, *values: object) -> list[tuple]:
        """The rows of *query*, asked by plain SQL."""
        with self.connect() as connection:
            return connection.execute(query, values).fetchall()

    def one(self, query: str, *values: object) -> object:
        """The only value of *query*."""
        ((value,),) = self.all(query, *values)
        return value

    def run(self, *statements: str) -> None:
        """Do *statements*, each committed by itself."""
        with self.connect() as connection:
            for text in statements:
                connection.execute(text)


class Servers:
    """The servers of one test session, each started when it is first asked for."""

    def __init__(self) -> None:
        self._held = ExitStack()
        self._urls: dict[str, str] = {}
        self._shared: dict[str, Database] = {}

    def url(self, name: str) -> str:
        """The URL of the server *name*."""
        if name not in self._urls:
            self._urls[name] = self._held.enter_context(_running(name))
        return self._urls[name]

    def shared(self, name: str) -> Database:
        """One database for the whole session, for tests that put trees of their own beside those of others."""
        if name not in self._shared:
            self._shared[name] = self._held.enter_context(self.database(name))
        return self._shared[name]

    @contextmanager
    def database(self, name: str) -> Iterator[Database]:
        """A fresh database on the server *name*, dropped at the end."""
        url = self.url(name)
        url += f"{'&' if '?' in url else '?'}schema=t{os.getpid()}_{next(_SCHEMA)}"
        location = parse(url)
        made = Database(url, location, Server(conninfo(location), location.url, location.secret))
        try:
            yield made
        finally:
            made.run(f"DROP SCHEMA IF EXISTS {location.schema} CASCADE")

    def close(self) -> None:
        """Stop them all."""
        self._held.close()


@contextmanager
def _running(name: str) -> Iterator[str]:
    kind, _, major = name.partition("-")
    if kind == "given":
        yield GIVEN if "://" in GIVEN else _url(GIVEN)
        return
    home = Path(tempfile.mkdtemp(prefix="cf-", dir="/tmp"))  # a socket's path has 107 bytes
    try:
        if kind == "embedded":
            with EmbeddedServer(home / "pg", major=int(major)) as found:
                yield _url(found)
        else:
            with distribution(Path(f"/usr/lib/postgresql/{major}/bin"), home) as found:
                yield _url(found)
    finally:
        shutil.rmtree(home)


def _url(found: str) -> str:
    """A libpq conninfo as a URL that crossfade takes."""
    values = {key: str(value) for key, value in conninfo_to_dict(found).items() if key in ("host", "port", "user", "dbname")}
    return f"postgresql:///{values.pop('dbname', 'postgres')}?{urlencode(values)}"


@contextmanager
def distribution(programs: Path, home: Path) -> Iterator[str]:
    """A new server from the distribution's *programs*, a child of this process that dies with it."""
    account = account_for(str(home))
    home.chmod(0o755)
    data, socket = home / "data", home / "s"
    for path in (data, socket):
        path.mkdir(0o700)
        os.chown(path, account.uid, account.gid)
    with (home / "log").open("wb") as log:
        initdb = [
            str(programs / "initdb"),
            "-D",
            str(data),
            "-E",
            "UTF8",
            "--locale=C",
            "-U",
            "crossfade",
            "-A",
            "trust",
            "-N",
        ]
        assert account.run(initdb, output=log.fileno()) == 0, (home / "log").read_text()
        server = _postgres(
            [str(programs / "postgres"), "-D", str(data), "-k", str(socket), "-c", "listen_addresses="], account, log
        )
    found = f"host={socket} user=crossfade dbname=postgres"
    try:
        _wait(found, server, home / "log")
        yield found
    finally:
        server.send_signal(signal.SIGINT)  # a fast shutdown
        server.wait(60)


def _postgres(argv: list[str], account: Account, log) -> subprocess.Popen[bytes]:
    libc = ctypes.CDLL(None)
    return subprocess.Popen(
        argv,
        cwd="/",
        stdout=log,
        stderr=log,
        user=account.uid if account.borrowed else None,
        group=account.gid if account.borrowed else None,
        extra_groups=[] if account.borrowed else None,
        start_new_session=True,
        preexec_fn=lambda: libc.prctl(1, signal.SIGQUIT),  # noqa: PLW1509 - PR_SET_PDEATHSIG; no threads here yet
    )


def _wait(found: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            psycopg.connect(found).close()
        except psycopg.OperationalError:
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        else:
            return
