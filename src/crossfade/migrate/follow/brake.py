"""An unmounted or emptied volume is not a deletion: removals beyond a measure stop, and ask."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from crossfade.errors import SourceMissing
from crossfade.migrate.decide import Task
from crossfade.model.entries import Entry
from crossfade.model.paths import is_below, text_of
from crossfade.store.backends.file.mounts import mounts_below
from crossfade.store.backends.file.walk import NOBODYS

_WINDOW_SECONDS = 60.0
_FEW = 100
_SHARE = 0.5

_HANDFUL = 3
_NEARLY_ALL = 0.9
"""Of what was brought: who follows may see a small tree cleared, but one that lacks so much from the first may be another's."""


@dataclass(frozen=True)
class Footing:
    """What the root of a tree stands on: its device, and those of the volumes *mounts* below it; and whether there is anything in it."""

    device: int
    empty: bool
    mounts: Mapping[bytes, bytes] = field(default_factory=dict)


def why_to_brake(removals: int, total: int, before: Footing, now: Footing | None) -> str:
    """Why *removals*, within a minute, of *total* files are not to be believed; empty where they are.

    *before* is what the root stood on when following began, *now* what it does; None where there is no root at all.
    """
    if why := why_not_there(before, now):
        return why
    return f"{removals:,} of {total:,} files are gone within a minute" if _is_much(removals, total) else ""


def why_not_left(removals: int, total: int, before: Footing, now: Footing | None, others: int = 0) -> str:
    """The same when a run begins, which *removals* of *total* files that were brought before are missing from.

    Where only some kinds move, and more *others* stand there than are gone, it is the same tree as before.
    """
    if why := why_not_there(before, now):
        return why
    is_nearly_all = removals > _HANDFUL and removals >= total * _NEARLY_ALL and others <= removals
    gone = f"{removals:,} of the {total:,} files that the target holds are gone from the source"
    return gone if is_nearly_all or _is_much(removals, total) else ""


def why_not_there(before: Footing, now: Footing | None) -> str:
    """Why nothing at all is to be believed of a root that stands on *now*."""
    if now is None:
        return "the source's root is gone"
    if now.device != before.device:
        return "the source's root is another volume than before"
    return "the source's root is empty" if now.empty and not before.empty else ""


def why_unmounted(paths: Iterable[bytes], lost: Sequence[bytes]) -> str:
    """Why it is not to be believed that *paths* are gone, where volumes are *lost* that were mounted below the root."""
    found = next((mount for path in paths for mount in lost if is_below(path, mount)), None)
    return not_mounted(found) if found is not None else ""


def not_mounted(place: bytes) -> str:
    """How it is said that a volume is gone."""
    return f"what was mounted at {text_of(place)} in the source is not there any more"


def _is_much(removals: int, total: int) -> bool:
    return removals > max(_FEW, total * _SHARE)


def is_counted(entry: Entry | None) -> bool:
    """True for what is counted, on both sides alike: files and links. A directory goes with what was in it."""
    return entry is not None and entry.type not in ("dir", "gone")


class Braked(Exception):
    """Removals that are not to be believed: a person decides."""


class Removals:
    """How many removals there were within the last minute."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def with_more(self, count: int, now: float) -> int:
        """Those of the last minute, if *count* more happen now."""
        while self._seen and self._seen[0][0] < now - _WINDOW_SECONDS:
            self._seen.popleft()
        return count + sum(number for _, number in self._seen)

    def add(self, count: int, now: float) -> None:
        """*count* more happened."""
        if count:
            self._seen.append((now, count))


class Brake:
    """Watches over the removals of a follower whose *root* stood on *footing* before any of it was copied; None for no tree of files.

    *total* is how many files there are. Where there are some, a root that is empty was not always so: whoever begins anew on an
    empty volume finds it empty from the first. With ``is_off`` everything is believed. *note* hears, once there is a new one, of
    all places below the root where something was mounted, before anything is brought from there.
    """

    def __init__(
        self, root: bytes, footing: Footing | None, total: int, note: Callable[[Collection[bytes]], object] = lambda _: None
    ) -> None:
        self._root = root
        self._footing = replace(footing, empty=footing.empty and not total) if footing is not None else None
        self._removals = Removals()
        self._note = note
        self.total = total
        self.is_off = False

    def check(self, tasks: Sequence[Task]) -> None:
        """Raises Braked where what *tasks* remove is not to be believed."""
        if self._footing is None or not tasks:
            return
        now, before = footing_of(self._root), self._footing
        removed = [task.entry for task in tasks if task.verb == "remove"]
        if removed and not self.is_off and (why := self._why(removed, before, now)):
            raise Braked(why)
        if now is not None and not now.mounts.keys() <= before.mounts.keys():
            self._footing = also_on(before, now)
            self._note(self._footing.mounts)

    def _why(self, removed: Sequence[Entry], before: Footing, now: Footing | None) -> str:
        """Why it is not to be believed that these are gone; where it is, they count for the next minute."""
        count, at = sum(map(is_counted, removed)), time.monotonic()
        why = why_to_brake(self._removals.with_more(count, at), self.total, before, now)
        if not why and now is not None:
            why = why_unmounted((entry.path for entry in removed), lost_of(self._root, before.mounts, now.mounts))
        if not why:
            self._removals.add(count, at)
        return why


def also_on(before: Footing, now: Footing | None) -> Footing:
    """*before*, with what is mounted *now*: what was learnt of a volume stays known when it is gone."""
    return before if now is None else replace(before, mounts={**now.mounts, **before.mounts})


def lost_of(root: bytes, before: Iterable[bytes], now: Container[bytes]) -> list[bytes]:
    """Where something was mounted *before*, and nothing is *now*, nor anything else: its content may be a part of the tree by now."""
    return [path for path in before if path not in now and _is_bare(os.path.join(root, path))]


def _is_bare(directory: bytes) -> bool:
    """True where there is nothing of anybody's; False where that cannot be seen."""
    try:
        with os.scandir(directory) as found:
            return all(os.fsencode(entry.name) in NOBODYS for entry in found)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False


def footing_of(root: bytes) -> Footing | None:
    """What the directory *root* stands on; None where there is none."""
    try:
        with os.scandir(root) as found:
            is_empty = all(os.fsencode(entry.name) in NOBODYS for entry in found)
            return Footing(os.stat(root).st_dev, is_empty, mounts_below(root))
    except (FileNotFoundError, NotADirectoryError, SourceMissing):
        return None
