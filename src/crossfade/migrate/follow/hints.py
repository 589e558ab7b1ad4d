"""What the file system says of a live tree. Only hints: a queue may overflow, a watch may end.

Whenever something may have been missed, that is said, and all is looked at; and nothing is handed over until it was.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from itertools import count
from typing import Protocol

from crossfade.errors import GateShut
from crossfade.migrate.follow.inotify import News, Watches
from crossfade.store.backends.file.mounts import shared_with_others
from crossfade.store.backends.file.walk import lies_left_out

_STEP_SECONDS = 0.02
_AGAIN_SECONDS = 2.0
_CHECK_SECONDS = 1.0
_LIMIT_SECONDS = 30.0
_LIMIT_SECONDS_MOST = 3600.0
_numbers = count()
"""Of all watches: several may hear of one barrier."""


class Hints(Protocol):
    """What tells of changes while it is entered.

    ``trouble`` says why nothing is heard, or not all; ``hears_all`` is True while all is. ``unread`` changes are known and not
    told yet, the oldest *since* then. ``is_shared`` says, in a hand-over, that others may change things of which nothing is told.
    """

    is_shared: bool
    trouble: str
    unread: int
    unread_since: float | None

    @property
    def hears_all(self) -> bool: ...

    def __enter__(self) -> Hints: ...

    def __exit__(self, *_: object) -> None: ...


def check_heard(watch: Watch | None, seconds: float) -> None:
    """Raises GateShut where what happened until now, if there is a *watch* that hears of it, is not heard within *seconds*."""
    if watch is not None and not watch.has_met(seconds):
        raise GateShut("the file system is slow to tell what happened; nothing was handed over", hint="try again")


def check_knows(*, all_of_it: bool) -> None:
    """Raises GateShut where something may have been missed."""
    if not all_of_it:
        missed = "something may have happened in the source that was not heard of; nothing was handed over"
        raise GateShut(missed, hint="try again: all is looked at once more")


class Watch:
    """Tells *hear* of paths under *root*; a path maps to True where what lies below may have changed as well.

    *miss* is called when something may have happened that nobody is told of: also once when the watch is up, of all before.
    *leaves_out* is asked of paths that are not moved (``left_out_by``).
    """

    def __init__(
        self,
        root: bytes,
        hear: Callable[[dict[bytes, bool]], None],
        miss: Callable[[], object],
        leaves_out: Callable[[bytes, bool], bool],
    ) -> None:
        self._root = root
        self._leaves_out = leaves_out
        self._hear = hear
        self._miss = miss
        self._barrier = b""
        self.is_shared = False
        self._watches: Watches | None = None
        self._met: set[bytes] = set()
        self._news = threading.Condition()
        self._over = threading.Event()
        self._limit_seconds = _LIMIT_SECONDS
        self._thread = threading.Thread(target=self._watch, name="watch", daemon=True)
        self.trouble = ""
        self.unread = 0
        self.unread_since: float | None = None

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(timeout=5)

    @property
    def hears_all(self) -> bool:
        """True while it is up, and no directory is left out."""
        return self._watches is not None and not self.trouble

    def meet_in(self, barrier: bytes) -> None:
        """Have *barrier*, a directory of ours outside of the tree, so that ``has_met`` can be asked.

        What happens there is heard in one order with the rest. ``is_shared`` says from then on that other hosts may write into
        the tree, of which nothing is heard.
        """
        self._barrier = barrier
        self.is_shared = bool(shared_with_others(self._root, self._moves))
        with self._news:
            if self._watches is not None:
                self._watches.also(barrier)

    def _moves(self, directory: bytes) -> bool:
        return not lies_left_out(self._leaves_out, directory, directory=True)

    def has_met(self, seconds: float) -> bool:
        """True once all that happened before this call is heard; False where that takes longer than *seconds*.

        The file system tells things in the order in which they happened, so it is enough to wait for one of ours.
        """
        name = b"%d-%d" % (os.getpid(), next(_numbers))
        path = os.path.join(self._barrier, name)
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        try:
            with self._news:
                return self._news.wait_for(lambda: name in self._met, seconds)
        finally:
            os.unlink(path)
            self._met.discard(name)

    def _watch(self) -> None:
        """Watch until it is over; a watch that breaks is made again, and what it missed is looked for."""
        while not self._over.is_set():
            try:
                with Watches(self._root, self._leaves_out) as watches:
                    self._listen(watches)
            except OSError as error:  # no watches left, or the root is gone
                self.trouble = f"no hints from the file system ({error.strerror}): changes are found by the sweep"
            finally:
                self._watches = None
            self._miss()
            self._over.wait(_AGAIN_SECONDS)

    def _listen(self, watches: Watches) -> None:
        self._begin(watches)
        due, limit_due = time.monotonic() + _CHECK_SECONDS, time.monotonic() + self._limit_seconds
        while not self._over.wait(_STEP_SECONDS):
            self._tell(watches.read())
            self.trouble = watches.trouble
            if time.monotonic() >= due:
                watches.check_root()
                due = time.monotonic() + _CHECK_SECONDS
            if time.monotonic() >= limit_due:
                self._check_limit(watches)
                limit_due = time.monotonic() + self._limit_seconds

    def _check_limit(self, watches: Watches) -> None:
        """Begin anew where there seem to be watches again; each time less eagerly, for there may be one, and no second."""
        try:
            watches.check_limit()
        except OSError:
            self._limit_seconds = min(2 * self._limit_seconds, _LIMIT_SECONDS_MOST)
            raise

    def _begin(self, watches: Watches) -> None:
        with self._news:
            if self._barrier:
                watches.also(self._barrier)
            self._watches, self.trouble = watches, watches.trouble
        self._miss()

    def _tell(self, news: News) -> None:
        """Paths first, then the barrier, which says that they were told."""
        if news.lost:
            self._miss()
        if news.paths:
            self._hear(news.paths)
        if news.met:
            with self._news:
                self._met |= news.met
                self._news.notify_all()
