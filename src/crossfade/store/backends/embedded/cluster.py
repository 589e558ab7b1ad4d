"""The cluster in ``data/``: made by initdb, configured by us at every start, started by ``pg_ctl``.

*The fd trick.* When root runs the server as somebody else, that user often cannot reach ``data/`` by its path, because a
parent (``/root``, a 0700 temporary directory) is closed to it, and a parent's mode is not ours to change. So we open
``data/`` ourselves, let the server inherit the descriptor, and name the directory ``/proc/self/fd/N``: the kernel goes
straight there. PostgreSQL changes into its data directory once and works with relative names from then on. (``-D .``
does not work: it is made absolute first, and that path is not reachable.)
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from crossfade.errors import EmbeddedFailed
from crossfade.store.backends.embedded.account import Account, pwd_entry
from crossfade.store.backends.embedded.postmaster import HOME_NOTE, remove_socket_dir, running
from crossfade.store.backends.embedded.sockets import new_socket_dir, sweep
from crossfade.store.disk import sync_directory

SUPERUSER = "crossfade"
PORT = 5432  # only a part of the socket's name: nothing listens on TCP

_CONF = """\
# Written by crossfade at every start; put your own settings into postgresql.conf, below the include.
listen_addresses = ''
port = {port}
unix_socket_directories = '{socket_dir}'
unix_socket_permissions = 0700

fsync = on
full_page_writes = on
synchronous_commit = on
shared_buffers = 128MB
max_wal_size = 2GB
checkpoint_timeout = 15min
max_connections = 50
jit = off
timezone = 'UTC'

# The log is to hold no statement and no record. An ERROR's own text may quote a value ('invalid input syntax for type
# integer: "…"'), so nothing below LOG is kept; in the server's order that is LOG, FATAL and PANIC. The client gets all.
logging_collector = off
log_destination = 'stderr'
log_timezone = 'UTC'
log_line_prefix = '%m [%p] '
log_min_messages = log
log_min_error_statement = panic
log_error_verbosity = terse
log_statement = 'none'
log_duration = off
log_min_duration_statement = -1
log_min_duration_sample = -1
log_transaction_sample_rate = 0
log_parameter_max_length = 0
log_parameter_max_length_on_error = 0
log_lock_waits = off
log_temp_files = -1
log_checkpoints = off
log_autovacuum_min_duration = -1
"""

_HBA = """\
# Written by crossfade at every start. Who you are is what the kernel says; everything else is refused.
local all crossfade peer map=crossfade
"""


@dataclass(frozen=True)
class Cluster:
    """The data directory below *directory*, and what is needed to work on it. The caller holds ``start.lock``."""

    directory: str
    account: Account
    programs: Path
    log: int

    @property
    def data(self) -> str:
        return os.path.join(self.directory, "data")

    def create(self, server_lock: int, deadline: float) -> None:
        """initdb beside its final name, then rename: a kill in the middle leaves nothing that looks like a cluster."""
        fresh = os.path.join(self.directory, "data.new")
        if os.path.lexists(fresh):
            shutil.rmtree(fresh)
        os.mkdir(fresh, 0o700)
        with self._reached(fresh) as (name, fd):
            self.account.own(fd)
            self._call(self._initdb(name), (fd, server_lock), deadline, "could not be initialised")
            self._include_ours(fd)
        os.rename(fresh, self.data)
        sync_directory(self.directory)

    def _initdb(self, data: str) -> list[str]:
        options = ["--encoding=UTF8", "--locale=C", f"--username={SUPERUSER}", "--auth=peer", "--data-checksums"]
        return [str(self.programs / "initdb"), f"--pgdata={data}", *options, "--no-instructions"]

    def _include_ours(self, data: int) -> None:
        with open(os.open("postgresql.conf", os.O_RDONLY | os.O_NOFOLLOW, dir_fd=data), encoding="utf-8") as file:
            original = file.read()
        self._write(data, "postgresql.conf", original + "\ninclude 'crossfade.conf'\n")

    def start(self, server_lock: int, deadline: float) -> None:
        """Start the server and wait until it takes connections. It inherits *server_lock* and so keeps it."""
        self._forget_last()
        with self._reached(self.data) as (name, fd), self._socket_dir() as socket_dir:
            self._configure(fd, socket_dir)
            seconds = max(1, int(deadline - time.monotonic()))
            argv = [str(self.programs / "pg_ctl"), f"--pgdata={name}", "--silent", "--wait", f"--timeout={seconds}"]
            self._call([*argv, "start"], (fd, server_lock), deadline + 5, "did not start")

    def _forget_last(self) -> None:
        """Remove what a server that was killed left behind, its ``postmaster.pid`` among it.

        PostgreSQL would refuse to start while that process id exists. But it may be a zombie (in a container the first
        process often reaps nobody), or by now another program's. We know better: we hold ``server.lock``, so none of
        our servers' processes lives; and one that was started by hand would work in ``data/``.
        """
        if running(self.directory):
            return
        sweep(self.directory)
        with suppress(FileNotFoundError):
            os.unlink(os.path.join(self.data, "postmaster.pid"))

    @contextmanager
    def _socket_dir(self) -> Iterator[str]:
        """A new socket directory, removed again when the server does not start."""
        path = new_socket_dir(self.directory)
        try:
            with self._reached(path) as (_, fd):
                self._write(fd, HOME_NOTE, self.directory)
                self.account.own(fd)
            yield path
        except BaseException:
            if not running(self.directory):
                remove_socket_dir(path)
            raise

    def _configure(self, data: int, socket_dir: str) -> None:
        self._write(data, "crossfade.conf", _CONF.format(port=PORT, socket_dir=socket_dir))
        self._write(data, "pg_hba.conf", _HBA)
        self._write(data, "pg_ident.conf", "".join(f'crossfade "{name}" {SUPERUSER}\n' for name in self._welcome()))

    def _welcome(self) -> list[str]:
        """The names that may connect: the directory's owner, and root, who can read it anyway."""
        return sorted({pwd_entry(uid).pw_name for uid in (0, os.stat(self.directory).st_uid)})

    def _write(self, folder: int, name: str, text: str) -> None:
        """Replace a file of the server's user. That user may have put a link there, which root must not follow."""
        part = f"{name}.new"
        with suppress(FileNotFoundError):
            os.unlink(part, dir_fd=folder)
        fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=folder)
        with open(fd, "w", encoding="utf-8", errors="surrogateescape") as file:
            self.account.own(fd)
            file.write(text)
            file.flush()
            os.fsync(fd)
        os.rename(part, name, src_dir_fd=folder, dst_dir_fd=folder)

    @contextmanager
    def _reached(self, path: str) -> Iterator[tuple[str, int]]:
        """A name for *path* that the server's user can follow, and the descriptor it may need for that."""
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            yield (f"/proc/self/fd/{fd}" if self.account.borrowed else path), fd
        finally:
            os.close(fd)

    def _call(self, argv: list[str], inherit: tuple[int, ...], deadline: float, failure: str) -> None:
        before = os.fstat(self.log).st_size
        seconds = max(1.0, deadline - time.monotonic())
        if self.account.run(argv, output=self.log, inherit=inherit, seconds=seconds) != 0:
            raise self._failed(failure, before)

    def _failed(self, failure: str, log_offset: int) -> EmbeddedFailed:
        log = os.path.join(self.directory, "server.log")
        reason = _meaningful(log, log_offset)
        return EmbeddedFailed(f"the PostgreSQL in {self.directory} {failure}: {reason}", hint=f"read {log}")


def _meaningful(log: str, offset: int) -> str:
    """The last lines that name a reason; the log holds no statements and no records."""
    with open(log, "rb") as file:
        file.seek(offset)
        lines = [line.strip() for line in file.read().decode("utf-8", "replace").splitlines() if line.strip()]
    telling = [line for line in lines if any(word in line for word in ("FATAL", "PANIC", "error:", "could not"))]
    return " | ".join((telling or lines)[-3:]) or "it said nothing"
