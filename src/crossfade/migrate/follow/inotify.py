"""What the kernel tells of a tree: one queue, and a watch on each of its directories (inotify(7)).

The queue is read now and then, and never waited for. A reader that the kernel has to wake for each write costs the program
that writes some five per cent of its time; one that comes by every few milliseconds costs it one.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from inotify_simple import Event, INotify, flags

from crossfade.migrate.follow.queue import happened
from crossfade.model.paths import is_below
from crossfade.store.backends.file.mounts import mounts_below
from crossfade.store.backends.file.walk import lies_left_out

_CAME = flags.CREATE | flags.MOVED_TO
_WENT = flags.DELETE | flags.MOVED_FROM
_ITSELF_GONE = flags.DELETE_SELF | flags.MOVE_SELF
_UNTOLD = flags.UNMOUNT | flags.IGNORED
"""What ends a watch though no parent tells of it. What is deleted or moved is not watched any more when this comes of it."""
_WATCHED = flags.MODIFY | flags.ATTRIB | flags.CLOSE_WRITE | _CAME | _WENT | flags.DELETE_SELF | flags.MOVE_SELF
_HOW = flags.ONLYDIR | flags.DONT_FOLLOW

_LIMIT = "the machine's limit on watches is reached (fs.inotify.max_user_watches)"
_RESTS = 9
"""Times as long as it took to watch everything anew, until that is done once more."""

_EVERY = 256
"""Directories that are watched between two looks at the queue, which would overflow while a large tree is."""

_AHEAD_MOST = 65_536
"""Events that were taken out of the queue meanwhile, and are not heard yet; any more have to wait in it."""

_NAMED = 1000
"""Directories without a watch that are kept by name, to be tried again; of any more it is known only that there are some."""


@dataclass
class News:
    """What happened since the last look: *paths*, each with whether what lies below may have changed as well.

    *met* are names that came into the barrier. *lost* says that more happened than the queue holds; and once more when the
    directories that came meanwhile are watched, too.
    """

    paths: dict[bytes, bool] = field(default_factory=dict)
    met: set[bytes] = field(default_factory=set)
    lost: bool = False


class Watches:
    """Those on the directories under *root*. Paths are below it, b"" is the root. Raises OSError where it cannot be watched.

    *leaves_out* says of a path, and whether it is a directory, that nobody needs to hear of it, or of anything below.
    """

    def __init__(self, root: bytes, leaves_out: Callable[[bytes, bool], bool]) -> None:
        self._root = root
        self._leaves_out = leaves_out
        self._queue = INotify()
        self._paths: dict[int, bytes] = {}
        self._barrier: int | None = None
        self._unwatched: dict[bytes, str] = {}
        self._are_more = False
        self._full_at: bytes | None = None
        self._is_behind = False
        self._anew_at = 0.0
        self._left: set[bytes] = set()
        self._ahead: list[Event] = []
        self._steps = 0
        try:
            self._standing = _identity(root)
            self._volumes = self._mounted()
            self._watch_all()
        except OSError:
            self._queue.close()
            raise

    def __enter__(self) -> Watches:
        return self

    def __exit__(self, *_: object) -> None:
        self._queue.close()

    @property
    def trouble(self) -> str:
        """Why not all of the tree is heard; empty where it is."""
        if self._is_behind:
            return "more happened at once than the queue of the file system holds, and directories may have come"
        if self._full_at is not None:
            return f"not all directories can be watched: {_LIMIT}"
        if not self._unwatched:
            return "some directories cannot be watched" if self._are_more else ""
        path, why = next(iter(self._unwatched.items()))
        return f"{len(self._unwatched):,} directories cannot be watched, {os.fsdecode(path)!r} first: {why}"

    def also(self, barrier: bytes) -> None:
        """Tell from now on what comes into the directory *barrier*, outside of the tree, in one order with the rest."""
        self._barrier = self._queue.add_watch(barrier, flags.CREATE)

    def check_root(self) -> None:
        """Raises OSError where another directory stands at the root's path by now, or none, or another volume in what is below."""
        if _identity(self._root) != self._standing:
            raise FileNotFoundError(errno.ENOENT, "the root was replaced", self._root)
        if self._mounted() != self._volumes:
            raise OSError(errno.ESTALE, "other volumes are mounted than before", self._root)

    def _mounted(self) -> dict[bytes, bytes]:
        found = mounts_below(self._root)
        return {path: at for path, at in found.items() if not lies_left_out(self._leaves_out, path, directory=True)}

    def check_limit(self) -> None:
        """Raises OSError where directories were left out for want of watches, and the machine has some again: begin anew."""
        if self._full_at is None:
            return
        path, self._full_at = self._full_at, None
        self._watch(path)
        if self._full_at is None:
            raise OSError(errno.EAGAIN, "there are watches again")

    def read(self) -> News:
        """What happened since the last call. Raises OSError where the root is gone, or watches ended that nobody told of."""
        news = News()
        events, self._ahead = [*self._ahead, *happened(self._queue)], []
        for event in events:
            self._hear(event, news)
        self._watch_again()
        self._is_behind |= news.lost
        if self._is_behind and not news.lost and time.monotonic() >= self._anew_at:
            self._watch_anew()
            news.lost = True
        return news

    def _watch_anew(self) -> None:
        """Watch what came while the queue was full, and know where it stands what moved. Not all the time, where it is full again and again."""
        began = time.monotonic()
        self._unwatched.clear()  # what of it is still there is met again
        self._are_more = False
        self._watch_all()
        self._is_behind = False
        self._anew_at = time.monotonic() + _RESTS * (time.monotonic() - began)

    def _watch_all(self) -> None:
        """Watch every directory, or know anew where it stands."""
        self._watch(b"")
        self._below(b"")

    def _watch_again(self) -> None:
        """Watch what stands by now where a directory left: of two that changed places, each leaves where the other came already."""
        left, self._left = self._left, set()
        for path in left:
            if self._watch(path):
                self._below(path)

    def _hear(self, event: Event, news: News) -> None:
        news.lost |= bool(event.mask & flags.Q_OVERFLOW)
        if event.wd == self._barrier:
            news.met.add(os.fsencode(event.name))
        elif event.wd in self._paths:
            self._hear_of(self._paths[event.wd], event, news)

    def _hear_of(self, directory: bytes, event: Event, news: News) -> None:
        """What happened in, or to, a *directory*. Its own end is told by its parent, too; that of the root by nobody else."""
        if event.mask & (_ITSELF_GONE | _UNTOLD):
            if not directory:
                raise FileNotFoundError(errno.ENOENT, "the root is gone", self._root)
            if event.mask & _UNTOLD:
                raise OSError(errno.ESTALE, "a directory went out of sight", os.path.join(self._root, directory))
            if event.mask & flags.DELETE_SELF:
                del self._paths[event.wd]
            return
        path, is_directory = _joined(directory, os.fsencode(event.name)), bool(event.mask & flags.ISDIR)
        came_or_went, was_shut = bool(event.mask & (_CAME | _WENT)), path in self._unwatched
        if not self._leaves_out(path, is_directory):
            if is_directory:
                self._keep_up(path, event.mask)
            news.paths[path] = news.paths.get(path, False) or came_or_went or was_shut
        if came_or_went:
            news.paths.setdefault(directory, False)

    def _keep_up(self, path: bytes, mask: int) -> None:
        """A directory came, went, or may be readable by now. One that was deleted was empty, and its watch went with it."""
        if mask & flags.MOVED_FROM:
            self._forget(path)
        if mask & _CAME or path in self._unwatched:
            self._unwatched.pop(path, None)
            if self._watch(path):
                self._below(path)

    def _forget(self, path: bytes) -> None:
        """*path* stands elsewhere, with all below: it is watched anew where it comes up, or never again."""
        for number in [n for n, at in self._paths.items() if at == path or is_below(at, path)]:
            del self._paths[number]
            with suppress(OSError):  # it is gone by now, and the watch with it
                self._queue.rm_watch(number)
        for shut in [at for at in self._unwatched if at == path or is_below(at, path)]:
            del self._unwatched[shut]
        self._left.add(path)

    def _below(self, path: bytes) -> None:
        """Watch every directory below *path*, which is watched: what comes into it from now on is heard of."""
        waiting = [path]
        while waiting and self._full_at is None:
            for below in self._directories(waiting.pop()):
                if self._watch(below):
                    waiting.append(below)
                self._make_room()

    def _make_room(self) -> None:
        """Take out of the queue what happened meanwhile, now and then; the next ``read`` hears it, before what came later."""
        self._steps += 1
        if self._steps % _EVERY == 0 and len(self._ahead) < _AHEAD_MOST:
            self._ahead += happened(self._queue)

    def _directories(self, path: bytes) -> Iterator[bytes]:
        try:
            with os.scandir(os.path.join(self._root, path)) as found:
                below = [_joined(path, entry.name) for entry in found if entry.is_dir(follow_symlinks=False)]
            yield from [directory for directory in below if not self._leaves_out(directory, True)]
        except OSError as error:
            self._leave_out(path, error)

    def _watch(self, path: bytes) -> bool:
        """Watch one directory; False where it cannot be, or is gone. Raises OSError for the root."""
        try:
            self._paths[self._queue.add_watch(os.path.join(self._root, path), _WATCHED | _HOW)] = path
        except OSError as error:
            if not path:
                raise
            self._leave_out(path, error)
            return False
        self._unwatched.pop(path, None)
        return True

    def _leave_out(self, path: bytes, error: OSError) -> None:
        """What is gone is told by its parent; anything else leaves a hole."""
        if error.errno == errno.ENOSPC:
            self._full_at = path
        elif error.errno not in (errno.ENOENT, errno.ENOTDIR):
            self._are_more |= len(self._unwatched) >= _NAMED
            if not self._are_more:
                self._unwatched[path] = error.strerror or "cannot be watched"


def _joined(directory: bytes, name: bytes) -> bytes:
    return b"/".join(filter(None, (directory, name)))


def _identity(path: bytes) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_dev, status.st_ino
