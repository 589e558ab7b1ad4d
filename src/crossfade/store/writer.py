"""A writer that stays in step with the route: it writes where the authority is, whenever that changes hands.

    with Writer("/home/ada/.prodigy", "postgresql://db/state", store="prodigy") as writer:
        writer.append(b"events/shop/job-1/events-1.jsonl", b'{"id":"7"}\\n')

Each write holds the gate of the side that it goes to, so that a hand-over waits for it, or has it wait: no write fails, and
none is lost between the sides. A writer belongs to one thread.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any

import psycopg
from psycopg import sql

from crossfade.errors import Fenced, LocationInvalid, SourceMissing, TargetUnreachable, TargetUnwritable
from crossfade.model import layouts
from crossfade.model.layouts import Layout
from crossfade.model.paths import text_of
from crossfade.store.backends.file.gate import EVERY, Gate, Marker, Side
from crossfade.store.backends.file.staging import staging_of
from crossfade.store.backends.file.tree import Tree
from crossfade.store.backends.postgres import route
from crossfade.store.backends.postgres.names import within
from crossfade.store.backends.postgres.server import Connection, plain_errors
from crossfade.store.location import parse
from crossfade.store.registry import serving

_ELSEWHERE = "XF002"
_OTHER_EPOCH = "XF003"
_AGAIN_SECONDS = 0.002
_AWAY_SECONDS = 0.2
_FILE_MODE = 0o666
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


class Writer:
    """Writes entries of the tree at *root*, or of its twin *store* in *database*, whichever decides at that moment.

    With an *epoch* it writes only while that one lasts, and is refused afterwards (CF705). *patience_seconds* is how long a
    write waits for a hand-over, or to reach a database that is away. *store* is the tree's name, where it is not known from the
    marker beside the root, or from the directory that it came from.
    """

    def __init__(
        self, root: str | bytes, database: str, *, store: str = "", epoch: int | None = None, patience_seconds: float = 60.0
    ) -> None:
        self._root = os.fsencode(root)
        self._gate = Gate(self._root)
        self._location = parse(database)
        self._held = ExitStack()
        self._store = store or self._location.store or None
        self._epoch = epoch
        self._patience_seconds = patience_seconds
        self._tree: Tree | None = None
        self._connection: Connection | None = None
        self._layout: Layout | None = None
        self._without: tuple[Side, int | None] | None = None

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def put(self, path: bytes, body: bytes) -> None:
        """Have *path* hold *body*: whoever reads it finds that, or what was there before. A file keeps its mode."""
        self._write(path, lambda tree: _put(tree, path, body), "put", path, body)

    def append(self, path: bytes, line: bytes) -> None:
        """Add *line*, which ends with a newline, to the log at *path*."""
        self._write(path, lambda tree: _append(tree, path, line), "append", path, line)

    def remove(self, path: bytes) -> None:
        """Have nothing at *path*."""
        self._write(path, lambda tree: _remove(tree, path), "remove", path)

    def close(self) -> None:
        """Let go of files and the connection. May be called twice."""
        if self._tree is not None:
            self._tree.close()
        if self._connection is not None:
            self._connection.close()
        self._tree = self._connection = None
        self._held.close()

    # Where

    def _write(self, path: bytes, on_files: Callable[[Tree], None], function: str, *values: bytes) -> None:
        until = time.monotonic() + self._patience_seconds
        while not (self._reached(lambda: self._wrote_files(path, on_files), until) or self._called(function, values, until)):
            time.sleep(_AGAIN_SECONDS)

    def _reached(self, wrote: Callable[[], bool], until: float) -> bool:
        """What *wrote* says, once the database, if it has to be asked, is there. Nothing of a write was sent to it by then."""
        while True:
            try:
                is_done = wrote()
                if not is_done:
                    self._connected()
            except TargetUnreachable:
                if time.monotonic() >= until:
                    raise
                time.sleep(_AWAY_SECONDS)
            else:
                return is_done

    def _wrote_files(self, path: bytes, act: Callable[[Tree], None]) -> bool:
        """Write under the shared lock, if the files decide; False where the database does."""
        with self._gate.entered(self._patience_seconds) as marker:
            side, epoch = self._decided(marker, path)
            if side != "files":
                return False
            if None not in (epoch, self._epoch) and epoch != self._epoch:
                raise _old_epoch(epoch, self._epoch)
            act(self._open_tree())
        return True

    def _decided(self, marker: Marker | None, path: bytes) -> tuple[Side, int | None]:
        """The side that decides about *path*, and since which epoch."""
        if marker is None:
            return self._unmarked(path)
        self._store = self._store or marker.store
        side = marker.side_of(self._kind(path) if marker.authority.keys() - {EVERY} else EVERY)
        return self._asked(path) if side == "undecided" else (side, marker.epoch)

    def _unmarked(self, path: bytes) -> tuple[Side, int | None]:
        """Where no marker stands: nothing was ever handed over, or it stood on a volume that is gone, which the database knows.

        It is asked once, where all is decided by the files: whoever hands over makes a marker first.
        """
        self._without = self._without or self._all_in_files()
        return self._without or self._asked(path)

    def _all_in_files(self) -> tuple[Side, int | None] | None:
        """That the files decide about all of the tree, or that the database knows of none from here; None where it is not so."""
        query = "SELECT DISTINCT r.authority, r.epoch FROM {0}.routes AS r JOIN {0}.stores AS s USING (store_id) WHERE s.name = %s"
        try:
            self._store = self._store or self._name_of_root()
            routes = self._rows(query, self._store)
        except SourceMissing:  # an embedded database that nobody has made yet
            return "files", None
        if any(authority == "here" for authority, _ in routes):
            return None
        return "files", max((epoch for _, epoch in routes), default=None)

    def _name_of_root(self) -> str | None:
        """The name of the tree that is moved between this root and the database."""
        rows = self._rows("SELECT s.name, m.source, m.target FROM {0}.migrations AS m JOIN {0}.stores AS s USING (store_id)")
        names = sorted({name for name, *ends in rows if any(_is_at(end, self._root) for end in ends)})
        if len(names) > 1:
            raise LocationInvalid(
                f"several trees of {self._location} belong to this directory: {', '.join(names)}",
                hint="Writer(…, store=NAME)",
            )
        return names[0] if names else None

    def _rows(self, text: str, *values: object) -> list[Any]:
        """What the database answers; nothing, where nobody has ever moved anything into that schema."""
        with plain_errors(self._location.url):
            try:
                return self._connected().execute(self._sql(text), values).fetchall()
            except psycopg.errors.UndefinedTable:
                return []

    def _asked(self, path: bytes) -> tuple[Side, int | None]:
        """What the database says, in the middle of a hand-over that nobody is there to finish: the marker's epoch is the one before."""
        query = (
            "SELECT r.authority, r.epoch FROM {0}.routes AS r JOIN {0}.stores AS s USING (store_id)"
            " WHERE s.name = %s AND r.kind IN (%s, '') ORDER BY r.kind DESC LIMIT 1"
        )
        with plain_errors(self._location.url):
            route.wait(self._connected(), self._location.schema, self._store)  # a decision may be on its way at this moment
        found = self._rows(query, self._store, self._kind(path))
        return ("database" if found[0][0] == "here" else "files", found[0][1]) if found else ("files", None)

    def _kind(self, path: bytes) -> str:
        if self._layout is None:
            found = self._rows("SELECT layout, layout_name FROM {}.stores WHERE name = %s", self._store)
            if not found:
                return EVERY
            self._layout = layouts.parse(found[0][0], source=found[0][1])
        return self._layout.place(path).kind.name

    # In the database

    def _called(self, function: str, values: tuple[bytes, ...], until: float) -> bool:
        """Call a function of the schema; False where the authority is on the other side by now."""
        names = ", ".join(["%s::text", *["%s::bytea"] * len(values)])
        query = self._sql(f"SELECT {{}}.{function}({names})")
        try:
            self._connected().execute(query, [self._store, *values])
        except psycopg.Error as error:
            if error.sqlstate == _OTHER_EPOCH:
                raise _old_epoch(None, self._epoch) from None
            if time.monotonic() >= until or not self._passes(error):
                with plain_errors(self._location.url):
                    raise
            return False
        return True

    def _passes(self, error: psycopg.Error) -> bool:
        """True for a refusal that ends with the hand-over. A connection that broke tells nothing of its write: that is raised."""
        return error.sqlstate == _ELSEWHERE

    def _connected(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._held.close()
            self._connection = self._held.enter_context(serving(self._location)).connect("writer")
            self._connection.autocommit = True
            if self._epoch is not None:
                self._connection.execute("SELECT set_config('crossfade.epoch', %s, false)", [str(self._epoch)])
        return self._connection

    def _open_tree(self) -> Tree:
        if self._tree is None:
            self._tree = Tree(self._root)
        return self._tree

    def _sql(self, text: str) -> sql.Composed:
        return within(text, self._location.schema)


def _is_at(url: str, root: bytes) -> bool:
    """True where *url* is the directory *root*, by whatever links."""
    place = parse(url)
    return not place.is_database and os.path.realpath(place.path) == os.path.realpath(root)


def _old_epoch(now: int | None, mine: int | None) -> Fenced:
    found = f" is {now} by now," if now is not None else " is another by now,"
    return Fenced(f"the route's epoch{found} not {mine}: nothing was written", hint="open the writer anew")


def _put(tree: Tree, path: bytes, body: bytes) -> None:
    handle, name = tree.place(path, create=True)
    directory, staged, descriptor = _staged(tree)
    try:
        _write_all(descriptor, body)
        _keep_mode(descriptor, handle, name)
        os.rename(staged, name, src_dir_fd=directory, dst_dir_fd=handle)
    except OSError as error:
        os.unlink(staged, dir_fd=directory)
        if error.errno == errno.EXDEV:
            raise _other_volume(path) from None
        raise
    finally:
        os.close(descriptor)
        os.close(directory)


def _other_volume(path: bytes) -> TargetUnwritable:
    return TargetUnwritable(
        f"{text_of(path)} lies on a volume of its own below the root, where no file can be placed whole",
        hint="mount the tree as one volume",
    )


def _keep_mode(descriptor: int, handle: int, name: bytes) -> None:
    """Give the new file the mode of the one that it replaces."""
    with suppress(FileNotFoundError):
        found = os.stat(name, dir_fd=handle, follow_symlinks=False)
        if stat.S_ISREG(found.st_mode):
            os.fchmod(descriptor, stat.S_IMODE(found.st_mode))


def _staged(tree: Tree) -> tuple[int, bytes, int]:
    """A new file beside the tree, on its file system: the directory, a name that nobody else has, in whatever container, and the file."""
    while True:
        directory, _ = staging_of(tree)
        name = secrets.token_hex(20).encode()
        try:
            return directory, name, os.open(name, _NEW_FILE, _FILE_MODE, dir_fd=directory)
        except FileNotFoundError:  # somebody found the directory empty, and took it away
            os.close(directory)


def _append(tree: Tree, path: bytes, line: bytes) -> None:
    handle, name = tree.place(path, create=True)
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(name, flags, _FILE_MODE, dir_fd=handle)
    try:
        _append_whole(descriptor, line)
    finally:
        os.close(descriptor)


def _append_whole(descriptor: int, line: bytes) -> None:
    """All of *line*, or nothing: half of one would swallow the next."""
    written = 0
    try:
        while written < len(line):
            written += os.write(descriptor, line[written:])
    except OSError:
        end = os.lseek(descriptor, 0, os.SEEK_CUR)
        if written and os.fstat(descriptor).st_size == end:  # else somebody has appended behind it
            os.ftruncate(descriptor, end - written)
        raise


def _remove(tree: Tree, path: bytes) -> None:
    handle, name = tree.place(path)
    try:
        os.unlink(name, dir_fd=handle)
    except FileNotFoundError:
        return


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
