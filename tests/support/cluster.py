"""A PostgreSQL of a test's own that listens on TCP, asks for a password, and may be killed and started again.

The embedded server has a socket only, and its supervisor would not be amused. The programs are the wheel's.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType

import psycopg
from psycopg import sql

from crossfade.store.backends.embedded import majors
from crossfade.store.backends.embedded.account import account_for
from crossfade.store.backends.embedded.programs import programs_for
from crossfade.store.backends.postgres.server import Server
from crossfade.store.location import conninfo, parse
from support.servers import Database, _postgres


class Cluster:
    """One server on 127.0.0.1, for the user ``crossfade`` with ``password``, in a directory of its own.

    *programs* are the wheel's unless others are named; *settings* are given to the server at every start.
    """

    def __init__(self, programs: Path | None = None, **settings: str) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="cf-", dir="/tmp"))
        self.password = secrets.token_hex(8)
        self.port = _free_port()
        self.settings = settings
        self._account = account_for(str(self.home))
        self._programs = programs or programs_for(max(majors()), self._account)
        self._server: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Cluster:
        self.home.chmod(0o755)
        self._data, self._log = self.home / "data", self.home / "log"
        self._data.mkdir(0o700)
        self.own(self._data)
        secret = self.give("secret", self.password.encode())
        with self._log.open("wb") as log:
            initdb = [str(self._programs / "initdb"), "-D", str(self._data), "-E", "UTF8", "--locale=C", "-U", "crossfade"]
            initdb += ["-A", "scram-sha-256", "--pwfile", str(secret), "-N"]
            assert self._account.run(initdb, output=log.fileno()) == 0, self._log.read_text()
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()
        shutil.rmtree(self.home)

    def give(self, name: str, content: bytes) -> Path:
        """Put a file into its directory that only the server's user can read."""
        path = self.home / name
        path.write_bytes(content)
        path.chmod(0o600)
        self.own(path)
        return path

    def own(self, path: Path) -> None:
        """Have *path* belong to the server's user."""
        os.chown(path, self._account.uid, self._account.gid)

    def start(self) -> None:
        """Start it, on the same port as ever, and wait until it serves."""
        argv = [str(self._programs / "postgres"), "-D", str(self._data), "-k", "", "-c", "listen_addresses=127.0.0.1"]
        argv += ["-p", str(self.port), "-c", "max_connections=50"]
        argv += [word for name, value in self.settings.items() for word in ("-c", f"{name}={value}")]
        with self._log.open("ab") as log:
            self._server = _postgres(argv, self._account, log)
        deadline = time.monotonic() + 60
        while True:
            try:
                self.connect().close()
            except psycopg.OperationalError:
                assert self._server.poll() is None, self._log.read_text()
                assert time.monotonic() < deadline, self._log.read_text()
                time.sleep(0.05)
            else:
                return

    def stop(self, *, immediately: bool = False) -> None:
        """End it: in good order, or as a crash would (``pg_ctl stop -m immediate``)."""
        if self._server is not None:
            self._server.send_signal(signal.SIGQUIT if immediately else signal.SIGINT)
            self._server.wait(60)
            self._server = None

    def connect(self) -> psycopg.Connection:
        """A plain connection, not through any proxy; every statement commits."""
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user="crossfade", password=self.password, dbname="postgres", autocommit=True
        )

    def changes_password(self, password: str) -> None:
        """Have another password from now on."""
        with self.connect() as connection:
            connection.execute(sql.SQL("ALTER ROLE crossfade PASSWORD {}").format(password))
        self.password = password

    def url(self, schema: str, port: int | None = None, *, name: str = "postgres") -> str:
        """Where *schema* is, for crossfade, in the database *name*; the password is not in it."""
        return f"postgresql://crossfade@127.0.0.1:{port or self.port}/{name}?schema={schema}"

    def database(self, schema: str, *, name: str = "postgres") -> Database:
        """*schema*, for a test that reads and writes it past crossfade, and past any proxy."""
        location = parse(self.url(schema, name=name))
        return Database(location.url, location, Server(conninfo(location), location.url, self.password))


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
