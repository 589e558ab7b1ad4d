"""Disks that are full: a small file system of a follower's own, and a database on one."""

from __future__ import annotations

import errno
import os
import shlex
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from support.cluster import Cluster
from support.running import CROSSFADE, Run, Terminal, finish
from support.servers import Database

_MOUNT = 'mount -t tmpfs -o size="$0" none "$1" && shift && exec "$@"'


class Ballast:
    """What fills a disk, and can be thrown overboard: a file in *directory*."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / "ballast"

    def fill(self) -> None:
        """Take all that is left."""
        with self._file.open("ab", 0) as file:
            for size in (1 << 20, 4096, 1):
                _write_until_full(file.fileno(), bytes(size))

    def clear(self) -> None:
        """Give it back."""
        self._file.unlink()


def _write_until_full(file: int, part: bytes) -> None:
    try:
        while os.write(file, part):
            pass
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise


def start_on_a_small_disk(terminal: Terminal, disk: Path, size: str, said: Path, *words: object) -> subprocess.Popen[bytes]:
    """A command that has a file system of *size* at *disk*, which goes with it. Nobody else sees it, but by ``seen_by``."""
    disk.mkdir()
    command = ["unshare", "--mount", "--map-root-user", "sh", "-c", _MOUNT, size, str(disk), *CROSSFADE, *map(str, words)]
    environment = {**os.environ, "XDG_STATE_HOME": str(terminal.home), **terminal.environment}
    with said.open("wb") as file:
        return subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True
        )


def with_volumes(terminal: Terminal, volumes: Sequence[Path], *commands: Sequence[object], options: str = "") -> Run:
    """How the last of *commands* ended, each given once the one before has ended well, where each of *volumes* is mounted by itself.

    They hold what they held. Nobody else sees that they are mounted. *options* are the mount's.
    """
    mounts = [f"mount --bind {at} {at}" + (f" && mount -o remount,bind,{options} {at}" if options else "") for at in volumes]
    told = [shlex.join(list(map(str, words))) for words in commands]
    as_root = [] if os.geteuid() == 0 else ["--map-root-user"]  # by which root would lose what belongs to other accounts
    command = ["unshare", "--mount", *as_root, "sh", "-c", " && ".join([*mounts, *told])]
    environment = {**os.environ, "XDG_STATE_HOME": str(terminal.home), **terminal.environment}
    return finish(
        subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    )


def seen_by(process: subprocess.Popen[bytes], path: Path) -> Path:
    """*path*, as the file systems of *process* have it."""
    return Path(f"/proc/{process.pid}/root{path}")


class SmallDatabase:
    """A database on a disk that can be full. *where* keeps its files; it is a tablespace."""

    def __init__(self, database: Database, where: Path) -> None:
        self.database = database
        self._ballast = Ballast(where)

    def fill(self) -> None:
        """No table can grow from here on."""
        self._ballast.fill()

    def clear(self) -> None:
        """They can again."""
        self._ballast.clear()


class ForbiddenDatabase:
    """The same where nobody may mount anything: a trigger says what the server would."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def fill(self) -> None:
        """No event can be added from here on."""
        self.database.run(
            "CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS"
            " $$BEGIN RAISE EXCEPTION USING ERRCODE = 'disk_full'; END$$",
            "CREATE TRIGGER no_room BEFORE INSERT ON events FOR EACH STATEMENT EXECUTE FUNCTION no_room()",
        )

    def clear(self) -> None:
        """They can again."""
        self.database.run("DROP FUNCTION no_room CASCADE")


@contextmanager
def small_database(cluster: Cluster, size: str) -> Iterator[SmallDatabase | ForbiddenDatabase]:
    """A database of *cluster* on a tablespace of *size*, or one that is said to be, where this user may not mount anything."""
    disk = cluster.home / "small"
    disk.mkdir()
    if not _mounted(disk, size):
        yield ForbiddenDatabase(cluster.database("small"))
        return
    try:
        with cluster.connect() as connection:
            cluster.own(disk)
            connection.execute(f"CREATE TABLESPACE small LOCATION '{disk}'")
            connection.execute("CREATE DATABASE small TABLESPACE small")
            yield SmallDatabase(cluster.database("small", name="small"), disk)
            connection.execute("DROP DATABASE small WITH (FORCE)")
            connection.execute("DROP TABLESPACE small")
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def _mounted(disk: Path, size: str) -> bool:
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(disk)]
    return os.geteuid() == 0 and subprocess.run(mount, check=False, capture_output=True).returncode == 0
