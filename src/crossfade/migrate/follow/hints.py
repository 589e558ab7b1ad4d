"""What the file system says of a live tree. Only hints: a queue may overflow, a name may be garbled, a watch may end."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from itertools import count
from typing import Protocol

import watchfiles
from watchfiles import Change

from crossfade.model.paths import parent_of

_STEP_MS = 20
_DEBOUNCE_MS = 60
_AGAIN_SECONDS = 2.0
_GARBLED = "\ufffd"


class Hints(Protocol):
    """What tells of changes while it is entered.

    ``trouble`` says why nothing is heard, or not all. ``unread`` changes are known and not told yet, the oldest *since* then.
    """

    trouble: str
    unread: int
    unread_since: float | None

    def __enter__(self) -> Hints: ...

    def __exit__(self, *_: object) -> None: ...


class Watch:
    """Tells *hear* of paths under *root*; a path maps to True where what lies below may have changed as well.

    *barrier* is a directory of ours, outside of the tree: what happens there is heard in one order with the rest.
    """

    def __init__(self, root: bytes, hear: Callable[[dict[bytes, bool]], None], barrier: bytes = b"") -> None:
        self._root = root
        self._hear = hear
        self._barrier = barrier
        self._numbers = count()
        self._met: set[bytes] = set()
        self._news = threading.Condition()
        self._over = threading.Event()
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
    def has_barrier(self) -> bool:
        """True where ``has_met`` can be asked."""
        return bool(self._barrier)

    def has_met(self, seconds: float) -> bool:
        """True once all that happened before this call is heard; False where that takes longer than *seconds*.

        The file system tells things in the order in which they happened, so it is enough to wait for one of ours.
        """
        name = b"%d-%d" % (os.getpid(), next(self._numbers))
        path = os.path.join(self._barrier, name)
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        try:
            with self._news:
                return self._news.wait_for(lambda: name in self._met, seconds)
        finally:
            os.unlink(path)
            self._met.discard(name)

    def _watch(self) -> None:
        """Watch until it is over; a watch that breaks is made again, and the sweep finds what it missed."""
        while not self._over.is_set():
            try:
                self._listen()
            except (OSError, RuntimeError) as error:  # no watches left, or the root is gone
                self.trouble = f"no hints from the file system ({type(error).__name__}): changes are found by the sweep"
            self._over.wait(_AGAIN_SECONDS)

    def _listen(self) -> None:
        changes = watchfiles.watch(
            *map(os.fsdecode, filter(None, (self._root, self._barrier))),
            watch_filter=None,
            debounce=_DEBOUNCE_MS,
            step=_STEP_MS,
            stop_event=self._over,
            rust_timeout=1000,
            yield_on_timeout=True,
            raise_interrupt=False,
            ignore_permission_denied=True,
        )
        for found in changes:
            self.trouble = ""
            inside = [change for change in found if not self._is_barrier(change[1])]
            if inside:
                self._hear(hinted(self._root, inside))
            if len(inside) < len(found):
                self._meet(text for change, text in found if change is Change.added and self._is_barrier(text))

    def _is_barrier(self, text: str) -> bool:
        return bool(self._barrier) and os.fsencode(text).startswith(self._barrier)

    def _meet(self, texts: Iterable[str]) -> None:
        with self._news:
            self._met.update(os.fsencode(os.path.basename(text)) for text in texts)
            self._news.notify_all()


def hinted(root: bytes, changes: Iterable[tuple[Change, str]]) -> dict[bytes, bool]:
    """The paths that *changes* name, below *root*. What came or went changes its directory, too."""
    found: dict[bytes, bool] = {}
    for change, text in changes:
        path = _below(root, text)
        came_or_went = change is not Change.modified
        found[path] = found.get(path, False) or came_or_went or _GARBLED in text
        if came_or_went and path:
            found.setdefault(parent_of(path), False)
    return found


def _below(root: bytes, text: str) -> bytes:
    """The path under *root*; for a name that is not UTF-8, which the watch cannot say, the directory that holds it."""
    path = os.fsencode(text)
    below = path[len(root.rstrip(b"/")) + 1 :]
    while _GARBLED in os.fsdecode(below):
        below = parent_of(below)
    return below
