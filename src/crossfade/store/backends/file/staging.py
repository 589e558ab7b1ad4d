"""Where entries grow until they are whole: a directory of ours on the tree's own file system, one name for each content.

Whoever is interrupted finds there, by that name, what it had written so far (docs/decisions/0008). What is there of an earlier
content of a path goes when the path is written.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

from crossfade.model.cut import cut, form_of
from crossfade.model.digests import Digester, Segment
from crossfade.model.entries import Entry
from crossfade.observe.failpoints import durable
from crossfade.store.backends.file.syncing import Disk, sync_each
from crossfade.store.backends.file.tree import Tree
from crossfade.store.backends.file.walk import OURS

_HELD = 64
"""How many staged files are held open, waiting to be synced."""

T = TypeVar("T")

_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW


_NOTHING = b"0" * 40
"""What is staged has the name of a digest, and this is none."""

_OF_PATH = 24
"""So many digits of a staged name tell the path, the rest the content."""


def name_of(entry: Entry) -> bytes:
    """One name for one content of one path: what is left of another content is never gone on with, and is found by the path."""
    digest = hashlib.sha256(b"staged\0" + entry.path)
    path = digest.hexdigest()[:_OF_PATH]
    digest.update(b"\0%d\0%d" % (entry.generation, entry.mtime_ns))
    return (path + digest.hexdigest())[:40].encode()


class Staging:
    """The staging directory of *tree*: ``handle`` is open on it, ``disk`` is the file system that it shares with the tree."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self.handle, self._path = staging_of(tree)
        self.disk = Disk(self.handle)
        self._held: dict[bytes, int] = {}
        self._closed = 0
        self._begun: dict[bytes, set[bytes]] = {}
        for name in map(os.fsencode, os.listdir(self.handle)):
            self._begun.setdefault(name[:_OF_PATH], set()).add(name)

    def write(self, name: bytes, data: bytes, offset: int) -> int:
        """*data* at *offset* of the file *name*, which ends there. A descriptor on it, good until the next call."""
        descriptor, is_new = self._held.get(name), False
        if descriptor is None:
            self._make_room()
            descriptor, is_new = self._opened(name)
            self._held[name] = descriptor
        if not is_new and os.fstat(descriptor).st_size > offset:  # a truncated file is flushed when it is closed, on ext4
            os.ftruncate(descriptor, offset)
        _write_all(descriptor, data, offset)
        return descriptor

    def _opened(self, name: bytes) -> tuple[int, bool]:
        """A descriptor on the file *name*, and whether it was made for that. Ours alone until it is whole."""
        if others := self._begun.get(name[:_OF_PATH]):
            self._drop(others - {name})
        self._begun[name[:_OF_PATH]] = {name}
        how = os.O_RDWR | os.O_CREAT | os.O_EXCL | _FLAGS
        try:
            return self._in_place(lambda: os.open(name, how, 0o600, dir_fd=self.handle)), True
        except FileExistsError:
            return self._reopened(name, os.O_RDWR), False

    def _in_place(self, make: Callable[[], T]) -> T:
        """What *make* does in the directory. It may have gone: whoever found it empty, and needed it no more, took it away."""
        try:
            return make()
        except FileNotFoundError:
            os.close(self.handle)
            self.handle, self._path = staging_of(self._tree)
            self.disk = Disk(self.handle)
            return make()

    def _reopened(self, name: bytes, how: int) -> int:
        """A descriptor on what an earlier run left. It may have its last mode already, which may keep even its owner out."""
        try:
            return os.open(name, how | _FLAGS, dir_fd=self.handle)
        except PermissionError:
            os.chmod(name, 0o600, dir_fd=self.handle)
            return os.open(name, how | _FLAGS, dir_fd=self.handle)

    def _make_room(self) -> None:
        if len(self._held) < _HELD:
            return
        if self.disk.takes_whole(_HELD):
            self._closed += len(self._held)
        else:
            with durable("file.sync"):
                sync_each(self._held.values())
        self._let_go()

    def link(self, name: bytes, text: bytes, mtime_ns: int) -> None:
        """A symbolic link that says *text*. It has no mode of its own. Raises OSError for a text that no link can have."""
        if not text or b"\0" in text:
            raise OSError(errno.EINVAL, "no link says that")
        self.remove(name)
        self._in_place(lambda: os.symlink(text, name, dir_fd=self.handle))
        os.utime(name, ns=(mtime_ns, mtime_ns), dir_fd=self.handle, follow_symlinks=False)

    def sync(self) -> None:
        """All that was written since the last call is on disk, under its temporary names."""
        with durable("file.sync"):
            if self.disk.takes_whole(self._closed + len(self._held)):
                self._let_go()
                self.disk.sync()
            else:
                sync_each(self._held.values())
        self.drop()

    def drop(self) -> None:
        """Nobody waits for what was written: it is written again, or was never needed."""
        self._let_go()
        self._closed = 0

    def _let_go(self) -> None:
        while self._held:
            os.close(self._held.popitem()[1])

    def size(self, name: bytes) -> int:
        """The size of what is at *name*; -1 where nothing is."""
        try:
            return os.stat(name, dir_fd=self.handle, follow_symlinks=False).st_size
        except FileNotFoundError:
            return -1

    def placed(self, name: bytes) -> None:
        """What was at *name* has its own by now."""
        self._begun.pop(name[:_OF_PATH], None)

    def remove(self, name: bytes) -> None:
        """Have nothing at *name*, and nothing of what its path held before."""
        self._drop({name} | self._begun.pop(name[:_OF_PATH], set()))

    def _drop(self, names: set[bytes]) -> None:
        for name in names:
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=self.handle)

    def segments(self, entry: Entry) -> tuple[Segment, ...]:
        """The whole segments of what is staged for *entry*, up to where a record ends: where to go on."""
        try:
            descriptor = self._reopened(name_of(entry), os.O_RDONLY)
        except FileNotFoundError:
            return ()
        try:
            return _segments(lambda size: os.read(descriptor, size), entry, os.pread(descriptor, 4, 0))
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Leave nothing behind but what is unfinished. May be called twice."""
        self.drop()
        if self.handle >= 0:
            os.close(self.handle)
            self.handle = -1
            with _time_kept(self._tree.directory(b"")):
                _remove_if_empty(self._path)


def _segments(read: Callable[[int], bytes], entry: Entry, head: bytes) -> tuple[Segment, ...]:
    form = form_of(entry.form, head)
    digester, whole = Digester(), 0
    for part in cut(read, form):
        digester.add(part.offset, part.data)
        is_cut_short = form == "log" and not part.data.endswith(b"\n")
        whole = whole if is_cut_short else part.offset + len(part.data)
    return tuple(segment for segment in digester.fresh() if segment.offset + segment.size <= whole)


def staging_of(tree: Tree) -> tuple[int, bytes]:
    """A directory of ours on the tree's own file system, open, and its path: beside the root, or, where that is another one, inside it.

    Inside, only names of forty hexadecimal digits are ours. Whoever finds it empty, and needs it no more, takes it away.
    """
    beside = os.path.realpath(tree.root).rstrip(b"/") + OURS
    for path in (beside, os.path.join(tree.root, OURS)):
        with _time_kept(tree.directory(b"")):
            handle = _ours(path)
        if handle is None:
            continue
        if os.fstat(handle).st_dev == tree.stat(b"").st_dev and is_one_mount(handle, tree.directory(b"")):
            return handle, path
        os.close(handle)
        _remove_if_empty(path)
    raise PermissionError(errno.EACCES, "no place for temporary files beside or inside the target")


def is_one_mount(one: int, other: int) -> bool:
    """True where what is in the open directory *one* can be renamed into *other*: what is mounted in two places, or by itself,
    is on one file system, and no rename leads there. Nothing is renamed for it, as nothing has that name.
    """
    try:
        os.rename(_NOTHING, _NOTHING, src_dir_fd=one, dst_dir_fd=other)
    except OSError as error:
        return error.errno != errno.EXDEV
    return True


@contextmanager
def _time_kept(root: int) -> Iterator[None]:
    """The open directory *root* keeps its time, which is the tree's, though a directory of ours comes or goes in it."""
    before = os.fstat(root)
    yield
    now = os.fstat(root)
    if now.st_mtime_ns != before.st_mtime_ns:
        with suppress(PermissionError):  # another's root: we may write in it, and no more
            os.utime(root, ns=(now.st_atime_ns, before.st_mtime_ns))
            with durable("file.directory"):
                os.fsync(root)


def _ours(path: bytes) -> int | None:
    """A descriptor on the directory *path*, made where it is missing; None for a link, and for one that others may write."""
    try:
        is_made = _is_made(path)
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    found = os.fstat(handle)
    if is_made or (found.st_uid == os.geteuid() and not found.st_mode & 0o022):
        return handle
    os.close(handle)
    return None


def _is_made(path: bytes) -> bool:
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        return False
    return True


def _write_all(descriptor: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


def _remove_if_empty(path: bytes) -> None:
    """It is only tidied away: somebody else may have made it for us where we may not remove it, or it may be a mount of its own."""
    with suppress(OSError):
        os.rmdir(path)
