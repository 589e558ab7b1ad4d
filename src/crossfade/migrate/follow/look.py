"""From dirty paths to tasks: what stands at them on both sides now, and what is to do about it."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence

from crossfade.migrate.decide import FOREIGN, Task
from crossfade.migrate.follow.dirty import Dirt
from crossfade.migrate.inventory import Decide, merge
from crossfade.model.entries import Entry
from crossfade.model.paths import is_below, key_of
from crossfade.store.port import Store

_HIDDEN = 1_000
_FULL_SECONDS = 5.0
"""How long a directory that did not go is taken for one that will not; then it is tried again."""

_NEVER = float("-inf"), False


class Look:
    """Looks at both sides. *kinds* bounds the files to these; *tombstones* asks the source for what it removed.

    ``hidden`` collects paths at which the source could not look, so that nothing is done about them: some, once there are
    many, for a look at everything names one again as long as that lasts.
    """

    def __init__(
        self, source: Store, target: Store, decide: Decide, kinds: frozenset[str] | None, *, tombstones: bool
    ) -> None:
        self._source = source
        self._target = target
        self._decide = decide
        self._kinds = kinds
        self._tombstones = tombstones
        self.hidden: set[bytes] = set()
        self._full: dict[bytes, tuple[float, bool]] = {}
        self._alone: set[bytes] = set()

    def stayed(self, directories: Collection[bytes]) -> None:
        """*directories* were to be removed, and hold something."""
        now = time.monotonic()
        lately = {path: stay for path, stay in self._full.items() if now - stay[0] < _FULL_SECONDS}
        self._full = lately | {path: (now, path in self._alone) for path in directories}
        self._alone &= self._full.keys()

    def tasks(self, batch: Sequence[Dirt], anew: frozenset[bytes] = frozenset()) -> Iterator[Task]:
        """What differs at the paths of *batch*, and below those that are deep, in key order for each; those *anew* in any case."""
        if not batch:
            return
        paths = [dirt.path for dirt in batch]
        sources = {entry.path: entry for entry in self._source.look(paths)}
        hidden = {path for path in paths if self._source.hides(path, looked=True)}
        targets = {entry.path: entry for entry in self._target.look(paths)}
        through: bytes | None = None
        for dirt in sorted(batch, key=lambda dirt: key_of(dirt.path)):
            if through is not None and is_below(dirt.path, through):
                continue  # met there; twice in a page it would be written twice
            one, other = sources.get(dirt.path), targets.get(dirt.path)
            if one is None and dirt.path in hidden:
                self._hide(dirt.path)
                continue
            yield from self._found(one, other, anew)
            if dirt.deep and (_is_directory(one) or _is_directory(other)):
                through = dirt.path
                yield from self._below(dirt.path, anew)

    def _below(self, path: bytes, anew: frozenset[bytes] = frozenset()) -> Iterator[Task]:
        ones = self._source.entries(under=path, tombstones=self._tombstones)
        for one, other in merge(ones, self._target.entries(under=path, tombstones=True)):
            if one is None and other is not None and self._source.hides(other.path):
                self._hide(other.path)
            else:
                yield from self._found(one, other, anew)

    def _found(self, one: Entry | None, other: Entry | None, anew: frozenset[bytes]) -> Iterator[Task]:
        entry = one or other
        return self._anew(one, other) if entry is not None and entry.path in anew else self._task(one, other)

    def _hide(self, path: bytes) -> None:
        """The source could not look at *path*, so that nothing is known of what is there."""
        if len(self.hidden) < _HIDDEN:
            self.hidden.add(path)

    def _task(self, one: Entry | None, other: Entry | None) -> Iterator[Task]:
        entry = one or other
        if entry is None or (self._kinds is not None and entry.kind and entry.kind not in self._kinds):
            return
        task = self._decide(one, other)
        if task is not None:
            yield Task("stranger", None, task.target) if self._holds_only_theirs(task) else task

    def _holds_only_theirs(self, task: Task) -> bool:
        """True for a directory of ours that did not go just now, though nothing of ours was in it: it holds somebody else's."""
        path = task.entry.path
        since, was_alone = self._full.get(path, _NEVER)
        if task.verb != "remove" or time.monotonic() - since >= _FULL_SECONDS:
            return False
        is_alone = all(below.verb in FOREIGN for below in self._below(path))
        (self._alone.add if is_alone else self._alone.discard)(path)
        return is_alone and was_alone

    def _anew(self, one: Entry | None, other: Entry | None) -> Iterator[Task]:
        """What brings over all of it, though it may look as if it were there. Somebody else's file is never overwritten."""
        found = list(self._task(one, other))
        verbs, foreign = {task.verb for task in found}, () if self._tombstones else ("conflict", "stranger")
        if not verbs <= {"refresh", "touch", "absent", *foreign}:
            yield from found
        elif one is not None and one.type != "gone":
            yield Task("put" if one.type == "file" else "touch", one, other)
        elif found:
            yield Task("remove", None, other)


def _is_directory(entry: Entry | None) -> bool:
    return entry is not None and entry.type == "dir"


def in_order(tasks: Sequence[Task], *, to_files: bool) -> list[Task]:
    """*tasks* so that nothing is in the way of another: what goes first, from the bottom; then what stands where a directory
    belongs; then files; directories last.

    A database does not care, and gets them as they come.
    """
    if not to_files:
        return list(tasks)
    gone = [task for task in tasks if task.verb == "remove"]
    in_the_way = [Task("remove", None, task.target) for task in tasks if _makes_way(task)]
    files = [task for task in tasks if task.verb != "remove" and task.entry.type != "dir"]
    directories = [_made(task) for task in tasks if task.verb != "remove" and task.entry.type == "dir"]
    return [*reversed(gone), *in_the_way, *files, *reversed(directories)]


def _makes_way(task: Task) -> bool:
    """True where a file or a link stands where a directory belongs, perhaps with files of its own."""
    return task.replaces and task.entry.type == "dir"


def _made(task: Task) -> Task:
    """*task*, for a directory that is there by then."""
    return Task(task.verb, task.source, None) if _makes_way(task) else task
