"""Writing a page of files so that a power cut leaves each entry whole or absent.

Bytes go under a temporary name into a directory of ours, are synced once a page, get their mode and time, and are renamed;
then the directories are synced. An entry that spans pages grows under its temporary name, and goes on there after a crash.
Directories get their modes and times last, bottom up, by ``Touch`` changes that come in that order.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import stat
from collections.abc import Callable

from crossfade.errors import TargetForeign
from crossfade.model.changes import Page, Put, Remove, Touch
from crossfade.model.cut import cut, form_of
from crossfade.model.digests import Digester, Segment
from crossfade.model.entries import Entry, altered
from crossfade.model.layouts import Layout
from crossfade.model.paths import leaves_root, parent_of, text_of
from crossfade.observe.failpoints import durable
from crossfade.store.backends.file.tree import Tree
from crossfade.store.backends.file.walk import OURS, signature_of
from crossfade.store.port import Applied, Refusal

REFUSED = {errno.ENAMETOOLONG: "name-too-long", errno.EILSEQ: "name-not-allowed", errno.EINVAL: "name-not-allowed"}
"""What a file system says of a name that it cannot hold; the entry goes to quarantine."""

_SYNC_EACH = 8


class PageWriter:
    """Writes pages into *tree*."""

    def __init__(self, tree: Tree, layout: Layout) -> None:
        self._tree = tree
        self._layout = layout
        self._staging, self._staging_path = _staging(tree)
        self._staged: set[bytes] = set()

    def write(self, page: Page) -> Applied:
        """Make *page* true and durable; safe to repeat. What this file system cannot hold is refused, not skipped."""
        refusals: dict[bytes, Refusal] = {}
        finished: list[Entry] = []
        touched: set[bytes] = set()
        for change in page.changes:
            try:
                done = self._prepare(change)
            except (OSError, ValueError) as error:
                refusals[change.entry.path] = _refusal(change.entry, error)
                continue
            if isinstance(change, Remove):
                touched.add(parent_of(change.entry.path))
            finished += [done] if done else []
        self._sync()
        settled: list[Entry] = []
        for entry in finished:
            try:
                settled.append(self._settle(entry))
            except (OSError, ValueError) as error:
                refusals[entry.path] = _refusal(entry, error)
                _unlink(_staged_name(entry), self._staging)
            else:
                touched.add(parent_of(entry.path))
        self._sync_directories(touched)
        return Applied(entries=tuple(settled), refusals=tuple(refusals.values()))

    def _prepare(self, change: Put | Touch | Remove) -> Entry | None:
        """Everything that may happen before the sync. The entry, when it is whole and only lacks its name."""
        if change.entry.path and leaves_root(change.entry.path):
            raise ValueError("escapes-root")
        if isinstance(change, Remove):
            self._remove(change.entry)
            return None
        if isinstance(change, Put):
            return self._stage(change)
        if change.entry.type == "link":
            self._stage_link(change.entry)
        else:
            _unlink(_staged_name(change.entry), self._staging)  # of an earlier run: what is touched is there already
        return change.entry

    def _stage(self, put: Put) -> Entry | None:
        """Append to the staged file. It is ours alone, and readable, until it gets its name."""
        block = put.block
        name = _staged_name(put.entry)
        if block.offset > max(_size(name, self._staging), 0):
            self._check_placed(put)
        else:
            self._append(name, put)
        return altered(put.entry, size=block.end, digest=put.digest) if block.last else None

    def _append(self, name: bytes, put: Put) -> None:
        block = put.block
        descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600, dir_fd=self._staging)
        try:
            if os.fstat(descriptor).st_size > block.offset:  # a truncated file is flushed when it is closed, on ext4
                os.ftruncate(descriptor, block.offset)
            _write_all(descriptor, block.data, block.offset)
        finally:
            os.close(descriptor)
        self._staged.add(name)

    def _check_placed(self, put: Put) -> None:
        """What came before is not staged any more: an earlier try of this page gave the entry its name, or somebody took it."""
        block = put.block
        try:
            descriptor = self._tree.open(put.entry.path)
        except OSError:
            raise _taken(put.entry) from None
        try:
            is_there = os.pread(descriptor, len(block.data), block.offset) == block.data
            ends_there = not block.last or os.fstat(descriptor).st_size == block.end
        finally:
            os.close(descriptor)
        if not (is_there and ends_there):
            raise _taken(put.entry)

    def _stage_link(self, entry: Entry) -> None:
        name = _staged_name(entry)
        _unlink(name, self._staging)
        os.symlink(entry.link, name, dir_fd=self._staging)
        self._staged.add(name)

    def _sync(self) -> None:
        """The staged bytes, on disk: one call for the file system, or one a file where they are few."""
        with durable("file.sync"):
            if len(self._staged) > _SYNC_EACH and _syncfs is not None:
                _syncfs(self._staging)
            else:
                for name in self._staged:
                    _fsync_name(name, self._staging)
        self._staged.clear()

    def _settle(self, entry: Entry) -> Entry:
        """Give *entry* its name, or a directory its mode and time; the entry with the signature that it has now."""
        if entry.type == "dir":
            return self._settle_directory(entry)
        name = _staged_name(entry)
        handle, final = self._placed(entry.path)
        if _size(name, self._staging) >= 0:
            _dress(name, self._staging, entry)
            with durable("file.rename"):
                self._with_right(entry.path, lambda: os.rename(name, final, src_dir_fd=self._staging, dst_dir_fd=handle))
        else:
            _dress(final, handle, entry)
        return altered(entry, signature=signature_of(self._tree.stat(entry.path)))

    def _settle_directory(self, entry: Entry) -> Entry:
        self._make(entry.path)
        handle = self._tree.directory(entry.path)
        found = os.fstat(handle)
        if stat.S_IMODE(found.st_mode) != entry.mode or found.st_mtime_ns != entry.mtime_ns:
            with durable("file.metadata"):
                os.fchmod(handle, entry.mode)
                os.utime(handle, ns=(entry.mtime_ns, entry.mtime_ns))
        return altered(entry, signature=signature_of(os.fstat(handle)))

    def _placed(self, path: bytes) -> tuple[int, bytes]:
        """The handle of the directory that holds *path*, made where it is missing, and the name in it."""
        self._make(parent_of(path))
        return self._tree.place(path)

    def _make(self, path: bytes) -> None:
        """Have the directory *path*, and all above it."""
        assert not path or not leaves_root(path)
        try:
            self._tree.directory(path, create=True)
        except PermissionError:
            self._make(parent_of(path))  # it may lie below one that even its owner made read-only
            self._with_right(path, lambda: self._tree.directory(path, create=True))

    def _with_right(self, path: bytes, act: Callable[[], object]) -> None:
        """Do *act* in the directory of *path*, which may be one that even its owner made read-only."""
        try:
            act()
        except PermissionError:
            handle = self._tree.directory(parent_of(path))
            mode = stat.S_IMODE(os.fstat(handle).st_mode)
            if mode & 0o300 == 0o300:
                raise
            os.fchmod(handle, mode | 0o700)  # put right again when directories are settled
            act()

    def _remove(self, entry: Entry) -> None:
        try:
            handle, name = self._tree.place(entry.path)
        except FileNotFoundError:
            return
        if entry.type == "dir":
            self._tree.forget(entry.path)
            self._with_right(entry.path, lambda: _rmdir(name, handle))
        else:
            self._with_right(entry.path, lambda: _unlink(name, handle))

    def _sync_directories(self, paths: set[bytes]) -> None:
        with durable("file.directory"):
            for path in sorted(paths):
                if _is_directory(self._tree, path):
                    os.fsync(self._tree.directory(path))

    def staged(self, entry: Entry) -> tuple[Segment, ...]:
        """The whole segments of what is staged for *entry*, up to where a record ends: where to go on."""
        try:
            descriptor = os.open(_staged_name(entry), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=self._staging)
        except FileNotFoundError:
            return ()
        digester, whole = Digester(), 0
        try:
            form = form_of(entry.form, os.pread(descriptor, 4, 0))
            for part in cut(lambda size: os.read(descriptor, size), form):
                digester.add(part.offset, part.data)
                is_cut_short = form == "log" and not part.data.endswith(b"\n")
                whole = whole if is_cut_short else part.offset + len(part.data)
        finally:
            os.close(descriptor)
        return tuple(segment for segment in digester.fresh() if segment.offset + segment.size <= whole)

    def close(self) -> None:
        """Leave nothing behind but what is staged and unfinished. May be called twice."""
        if self._staging >= 0:
            os.close(self._staging)
            self._staging = -1
            _remove_if_empty(self._staging_path)


def _staging(tree: Tree) -> tuple[int, bytes]:
    """A directory of ours on the tree's own file system: beside the root, or, where that is another one, inside it."""
    beside = os.path.realpath(tree.root).rstrip(b"/") + OURS
    for path in (beside, os.path.join(tree.root, OURS)):
        try:
            os.makedirs(path, 0o700, exist_ok=True)
        except (PermissionError, OSError):
            continue
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        if os.fstat(handle).st_dev == tree.stat(b"").st_dev:
            return handle, path
        os.close(handle)
        _remove_if_empty(path)
    raise PermissionError(errno.EACCES, "no place for temporary files beside or inside the target")


def _staged_name(entry: Entry) -> bytes:
    """One name for one content of one path: what is left of another content is never gone on with."""
    text = b"%b\0%d\0%d" % (entry.path, entry.generation, entry.mtime_ns)
    return hashlib.sha256(text).hexdigest()[:40].encode()


def _refusal(entry: Entry, error: OSError | ValueError) -> Refusal:
    """What cannot be placed goes to quarantine; anything else is not about this entry, and is raised."""
    if isinstance(error, ValueError):
        return Refusal(entry, None, entry.size, "escapes-root")
    if error.errno in REFUSED:
        return Refusal(entry, None, entry.size, REFUSED[error.errno])
    if error.errno in (errno.ENOTDIR, errno.ELOOP, errno.EISDIR, errno.ENOTEMPTY, errno.EEXIST):
        return Refusal(entry, None, entry.size, "stranger")
    raise error


def _taken(entry: Entry) -> TargetForeign:
    return TargetForeign(
        f"{text_of(entry.path)}: what was written of it so far is gone", hint="repeat the command, which writes it anew"
    )


def _dress(name: bytes, handle: int, entry: Entry) -> None:
    """Give what is at *name* its mode and time. A link has only a time."""
    found = os.stat(name, dir_fd=handle, follow_symlinks=False)
    if stat.S_ISREG(found.st_mode) and stat.S_IMODE(found.st_mode) != entry.mode:
        os.chmod(name, entry.mode, dir_fd=handle)
    os.utime(name, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=handle, follow_symlinks=False)


def _write_all(descriptor: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


def _fsync_name(name: bytes, handle: int) -> None:
    if stat.S_ISLNK(os.stat(name, dir_fd=handle, follow_symlinks=False).st_mode):
        return
    descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=handle)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _size(name: bytes, handle: int) -> int:
    """The size of what is at *name*; -1 where nothing is."""
    try:
        return os.stat(name, dir_fd=handle, follow_symlinks=False).st_size
    except FileNotFoundError:
        return -1


def _is_directory(tree: Tree, path: bytes) -> bool:
    try:
        tree.directory(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _unlink(name: bytes, handle: int) -> None:
    try:
        os.unlink(name, dir_fd=handle)
    except FileNotFoundError:
        return


def _rmdir(name: bytes, handle: int) -> None:
    try:
        os.rmdir(name, dir_fd=handle)
    except FileNotFoundError:
        return


def _remove_if_empty(path: bytes) -> None:
    try:
        os.rmdir(path)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT):
            raise


def _find_syncfs() -> Callable[[int], None] | None:
    """Linux's ``syncfs``, which the standard library does not offer."""
    function = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if function is None:
        return None

    def syncfs(descriptor: int) -> None:
        if function(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    return syncfs


_syncfs = _find_syncfs()
