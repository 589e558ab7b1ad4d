"""Writing a page of files so that a power cut leaves each entry whole or absent.

Bytes go under a temporary name into a directory of ours (``staging``), get their mode and time, are synced once a page, and
are renamed; then the directories are synced. An entry that spans pages grows under its temporary name, and goes on there
after a crash. Directories get their modes and times last, bottom up, by ``Touch`` changes that come in that order.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from crossfade.errors import TargetForeign
from crossfade.model.changes import Move, Page, Put, Remove, Touch
from crossfade.model.digests import Segment
from crossfade.model.entries import Entry, Signature, altered
from crossfade.model.paths import ancestors_of, leaves_root, parent_of, text_of
from crossfade.observe.failpoints import durable
from crossfade.store.backends.file.appending import Appending
from crossfade.store.backends.file.names import IMPOSSIBLE, REFUSED
from crossfade.store.backends.file.spelling import OtherSpelling, refuse_other_spelling
from crossfade.store.backends.file.staging import Staging, name_of
from crossfade.store.backends.file.syncing import sync_each
from crossfade.store.backends.file.tree import Tree
from crossfade.store.backends.file.walk import signature_of
from crossfade.store.port import Applied, Refusal

_GONE = (errno.ENOENT, *IMPOSSIBLE)
"""What it says where nothing is to be removed."""

_ABSENT = (*_GONE, errno.ENOTDIR)
"""What it says of a path where nothing is."""

_FULL = (errno.ENOTEMPTY, errno.EEXIST)
"""What it says of a directory that is to go, and holds something."""

_OPEN = 64
"""How many directories are held open at once, waiting to be synced."""

T = TypeVar("T")


class PageWriter:
    """Writes pages into *tree*. *fence* is called before each change, and raises where it must not be made any more."""

    def __init__(self, tree: Tree, fence: Callable[[], None]) -> None:
        self._tree = tree
        self._fence = fence
        self._staging = Staging(tree)
        self._seen: dict[bytes, Entry | None] = {}
        self._left: set[bytes] = set()
        self._placed: dict[bytes, Signature] = {}
        self._dressed: set[bytes] = set()
        self._appending = Appending(tree, self._unlock)

    def write(self, page: Page) -> Applied:
        """Make *page* true and durable; safe to repeat. What this file system cannot hold is refused, not skipped."""
        refusals: dict[bytes, Refusal] = {}
        touched: set[bytes] = set()
        self._seen, self._left, self._dressed = dict(page.seen), set(), set()
        self._placed = {path: signature for path, signature in self._placed.items() if path in page.seen}
        try:
            self._appending.begin()
            whole = self._prepare(page, refusals, touched)
            self._staging.sync()
            appended = self._appending.settle()
        finally:
            self._staging.drop()
            self._appending.drop()
        settled = self._settle(whole, refusals, touched)
        self._sync(touched | self._tree.take_made() | self._dressed)
        left = (*self._appending.left, *self._left)
        return Applied(entries=(*appended, *settled), refusals=tuple(refusals.values()), left=left)

    def _prepare(self, page: Page, refusals: dict[bytes, Refusal], touched: set[bytes]) -> list[tuple[Entry, bytes]]:
        """Everything that may happen before the sync. The entries that only lack their names, and what they are staged under."""
        whole: list[tuple[Entry, bytes]] = []
        for change in page.changes:
            assert not isinstance(change, Move), "a store is not asked for what it cannot do"
            if isinstance(change, Put) and change.onto is not None:
                self._fence()
                self._appending.write(change)
                continue
            try:
                name = self._begin(change)
            except (OSError, ValueError) as error:
                refusals[change.entry.path] = _refusal(change.entry, error)
                continue
            if isinstance(change, Remove):
                touched.add(parent_of(change.entry.path))
            elif not isinstance(change, Put):
                whole.append((change.entry, name))
            elif change.block.last:
                whole.append((altered(change.entry, size=change.block.end, digest=change.digest), name))
        return whole

    def _begin(self, change: Put | Touch | Remove) -> bytes:
        """Take *change* as far as it goes before the sync; the name that it is staged under, empty for none."""
        self._fence()
        entry = change.entry
        if leaves_root(entry.path) and (entry.path or entry.type != "dir"):
            raise ValueError("escapes-root")
        if isinstance(change, Remove):
            self._take_away(entry)
            return b""
        if entry.type == "dir":
            return b""
        name = name_of(entry)
        if isinstance(change, Put):
            return self._stage(change, name)
        if entry.type == "link":
            self._staging.link(name, entry.link, entry.mtime_ns)
            return name
        self._staging.remove(name)  # of an earlier run: what is touched is there already
        return b""

    def _take_away(self, entry: Entry) -> None:
        """Remove what was seen. A page that is repeated may have removed it, and have put there what comes after it."""
        path, found = entry.path, self._found(entry.path)
        if found is None or path not in self._seen or _is_as_seen(self._seen[path], found):
            self._remove(entry)
        elif not self._is_placed(path, found):
            self._left.add(path)
        if path in self._seen and path not in self._left:
            self._seen[path] = None

    def _is_left(self, entry: Entry) -> bool:
        """True where something else stands than was seen, or than an earlier try of this page has put there: it is somebody
        else's, and stays, and so does what it is in the way of. A rename would cover it.
        """
        path = entry.path
        if path in self._seen and entry.type != "dir":
            found = self._found(path)
            if not (_is_as_seen(self._seen[path], found) or self._is_placed(path, found)):
                if found is not None:
                    refuse_other_spelling(*self._tree.place(path, create=True), found)
                self._left.add(path)
        return bool(self._left) and not self._left.isdisjoint((path, *ancestors_of(path)))

    def _is_placed(self, path: bytes, found: os.stat_result | None) -> bool:
        """True where *found*, at *path*, is what an earlier try of this page has put there."""
        return found is not None and path in self._placed and signature_of(found) == self._placed[path]

    def _found(self, path: bytes) -> os.stat_result | None:
        """What stands at *path* now; None for nothing."""
        try:
            return self._tree.stat(path)
        except OSError as error:
            if error.errno not in _ABSENT:
                raise
        return None

    def _stage(self, put: Put, name: bytes) -> bytes:
        """Append to the staged file *name*. It is ours alone until it is whole. Empty where the entry has its own name by now."""
        block = put.block
        if block.offset and block.offset > self._staging.size(name):
            self._check_placed(put)
            return b""
        descriptor = self._staging.write(name, block.data, block.offset)
        if block.last:
            _finish(descriptor, put.entry)
        return name

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

    def _settle(self, whole: list[tuple[Entry, bytes]], refusals: dict[bytes, Refusal], touched: set[bytes]) -> list[Entry]:
        """Give what is *whole* its name; the entries with the signatures that they have now."""
        settled: list[Entry] = []
        for entry, name in whole:
            self._fence()
            try:
                if self._is_left(entry):
                    self._left.add(entry.path)
                    self._staging.remove(name or name_of(entry))
                    continue
                settled.append(self._settle_directory(entry) if entry.type == "dir" else self._place(entry, name))
            except (OSError, ValueError) as error:
                refusals[entry.path] = _refusal(entry, error)
                self._staging.remove(name or name_of(entry))
            else:
                touched.add(entry.path if entry.type == "dir" else parent_of(entry.path))
        return settled

    def _place(self, entry: Entry, name: bytes) -> Entry:
        """Give *entry* its name. It may have it: from an earlier try of this page, or because it is only touched."""
        directory, _, final = entry.path.rpartition(b"/")
        handle = self._make(directory)
        if name:
            self._check_spelling(entry.path, handle, final)
            self._rename(name, handle, final, directory)
        else:
            _dress(final, handle, entry)
            self._dressed.add(entry.path)
        signature = signature_of(os.stat(final, dir_fd=handle, follow_symlinks=False))
        if entry.path in self._seen:
            self._placed[entry.path] = signature
        return altered(entry, signature=signature)

    def _check_spelling(self, path: bytes, handle: int, final: bytes) -> None:
        """Raises OtherSpelling where another entry has the name. Where nothing was seen, and just now nothing was found, none has."""
        if self._seen.get(path, path) is None and path not in self._placed:
            return
        with suppress(FileNotFoundError):
            refuse_other_spelling(handle, final, os.stat(final, dir_fd=handle, follow_symlinks=False))

    def _rename(self, name: bytes, handle: int, final: bytes, directory: bytes) -> None:
        staging = self._staging.handle
        with durable("file.rename"):
            self._with_right(directory, lambda: os.rename(name, final, src_dir_fd=staging, dst_dir_fd=handle))
        self._staging.placed(name)

    def _settle_directory(self, entry: Entry) -> Entry:
        handle = self._make(entry.path)
        found = os.fstat(handle)
        if stat.S_IMODE(found.st_mode) != entry.mode or found.st_mtime_ns != entry.mtime_ns:
            with durable("file.metadata"):
                os.fchmod(handle, entry.mode)
                os.utime(handle, ns=(entry.mtime_ns, entry.mtime_ns))
            found = os.fstat(handle)
        return altered(entry, signature=signature_of(found))

    def _make(self, path: bytes) -> int:
        """A handle on the directory *path*, made where it is missing, with all above it."""
        try:
            return self._tree.directory(path, create=True)
        except PermissionError:
            self._make(parent_of(path))  # it may lie below one that even its owner made read-only
            return self._with_right(parent_of(path), lambda: self._tree.directory(path, create=True))

    def _with_right(self, directory: bytes, act: Callable[[], T]) -> T:
        """What *act* does in *directory*, which may be one that even its owner made read-only."""
        try:
            return act()
        except PermissionError:
            handle = self._tree.directory(directory)
            mode = stat.S_IMODE(os.fstat(handle).st_mode)
            if mode & 0o300 == 0o300:
                raise
            os.fchmod(handle, mode | 0o700)  # put right again when directories are settled
            return act()

    def _remove(self, entry: Entry) -> None:
        try:
            handle, name = self._tree.place(entry.path)
        except OSError as error:
            if error.errno not in _GONE:
                raise
            return
        if entry.type == "dir":
            self._tree.forget(entry.path)
            self._remove_directory(entry.path, lambda: _rmdir(name, handle))
        else:
            self._with_right(parent_of(entry.path), lambda: _unlink(name, handle))

    def _remove_directory(self, path: bytes, act: Callable[[], None]) -> None:
        """A directory goes empty, or not at all: what is in it may be ours, and go in a moment, or somebody else's."""
        try:
            self._with_right(parent_of(path), act)
        except OSError as error:
            if error.errno not in _FULL or path not in self._seen:
                raise
            self._left.add(path)

    def _unlock(self, entry: Entry) -> None:
        """Let its owner write a file that is read-only; its mode is put right when it is settled."""
        handle, name = self._tree.place(entry.path)
        _change_mode(name, handle, entry.mode | 0o600)

    def _sync(self, paths: set[bytes]) -> None:
        """Directories, with the names in them, and the files that got another mode or time where they are."""
        with durable("file.directory"):
            if self._staging.disk.takes_whole(len(paths)):
                self._staging.disk.sync()
                return
            ordered = sorted(paths)
            for start in range(0, len(ordered), _OPEN):
                self._sync_some(ordered[start : start + _OPEN])

    def _sync_some(self, paths: list[bytes]) -> None:
        held: list[int] = []
        try:
            for path in paths:
                held += self._opened(path)
            sync_each(held)
        finally:
            for descriptor in held:
                os.close(descriptor)

    def _opened(self, path: bytes) -> list[int]:
        """A descriptor on what was changed at *path*; none where something else stands by now."""
        try:
            return [self._tree.open(path) if path in self._dressed else os.dup(self._tree.directory(path))]
        except PermissionError:  # a mode that keeps even its owner out
            os.sync()
        except OSError as error:
            if error.errno not in (*_ABSENT, errno.ELOOP):
                raise
        return []

    def staged(self, entry: Entry) -> tuple[Segment, ...]:
        """The whole segments of what is staged for *entry*: where to go on."""
        return self._staging.segments(entry)

    def close(self) -> None:
        """Leave nothing behind but what is staged and unfinished. May be called twice."""
        self._staging.close()


def _is_as_seen(seen: Entry | None, found: os.stat_result | None) -> bool:
    """True where *found* is what was *seen*. Of a directory the time changes with what is in it."""
    if seen is None or found is None:
        return seen is None and found is None
    return stat.S_ISDIR(found.st_mode) if seen.type == "dir" else signature_of(found) == seen.signature


def _refusal(entry: Entry, error: OSError | ValueError) -> Refusal:
    """What cannot be placed goes to quarantine; anything else is not about this entry, and is raised."""
    if isinstance(error, ValueError):
        return Refusal(entry, None, entry.size, "escapes-root")
    if isinstance(error, OtherSpelling):
        return Refusal(entry, None, entry.size, "name-collides")
    if error.errno in REFUSED:
        return Refusal(entry, None, entry.size, REFUSED[error.errno])
    if error.errno in (errno.ENOTDIR, errno.ELOOP, errno.EISDIR, *_FULL):
        return Refusal(entry, None, entry.size, "stranger")
    raise error


def _taken(entry: Entry) -> TargetForeign:
    return TargetForeign(
        f"{text_of(entry.path)}: what was written of it so far is gone", hint="repeat the command, which writes it anew"
    )


def _finish(descriptor: int, entry: Entry) -> None:
    """Give a staged file, which has all its bytes, its mode and time: they are synced with the bytes."""
    os.fchmod(descriptor, entry.mode)
    os.utime(descriptor, ns=(entry.mtime_ns, entry.mtime_ns))


def _dress(name: bytes, handle: int, entry: Entry) -> None:
    """Give what is at *name* its mode and time. A link has only a time."""
    found = os.stat(name, dir_fd=handle, follow_symlinks=False)
    if stat.S_ISREG(found.st_mode) and stat.S_IMODE(found.st_mode) != entry.mode:
        _change_mode(name, handle, entry.mode)
    os.utime(name, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=handle, follow_symlinks=False)


def _change_mode(name: bytes, handle: int, mode: int) -> None:
    """Of a file, whatever its mode is now; not of what a link leads to that took its place since it was looked at."""
    if not hasattr(os, "O_PATH"):
        os.chmod(name, mode, dir_fd=handle, follow_symlinks=False)
        return
    descriptor = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=handle)
    try:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.chmod(f"/proc/self/fd/{descriptor}", mode)
    finally:
        os.close(descriptor)


def _unlink(name: bytes, handle: int) -> None:
    try:
        os.unlink(name, dir_fd=handle)
    except OSError as error:
        if error.errno not in _GONE:
            raise


def _rmdir(name: bytes, handle: int) -> None:
    try:
        os.rmdir(name, dir_fd=handle)
    except OSError as error:
        if error.errno not in _GONE:
            raise
