"""A look at a directory before it is written: what is not ours to touch, and what is in the way.

In the way is a path that changes its type, and what is below it. It goes before the copy begins. Later would be too late: kinds
are copied side by side, so a file may arrive before the link goes that stands where its directory belongs.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import islice

from crossfade.errors import TargetForeign, TargetUnwritable
from crossfade.migrate.backwards import Backwards
from crossfade.migrate.decide import Task
from crossfade.model.changes import Page, Remove, Touch
from crossfade.model.entries import altered
from crossfade.model.layouts import Layout
from crossfade.model.paths import text_of
from crossfade.store.backends.file.reach import is_read_only, of_others, out_of_reach
from crossfade.store.backends.file.tree import Tree
from crossfade.store.backends.file.walk import fates_of, left_out_by, lies_left_out
from crossfade.store.location import Location
from crossfade.store.port import Applied

WRITABLE = "mount the tree as one volume, and let all of it belong to the account that runs crossfade (chown -R)"
"""What to do about files that cannot be written as pages are."""

_NAMED = 3
_TOGETHER = 5000


class Obstacles:
    """Collects them from tasks that come in key order, so that what lies below a directory follows it."""

    def __init__(self) -> None:
        self.removals = Backwards()
        self._below: bytes | None = None

    def look(self, task: Task) -> None:
        """Take what *task* would remove, if it is in the way."""
        target = task.target
        if target is None:
            return
        if task.replaces and task.source is not None:
            self.removals.add(Remove(altered(target, row=task.source.row)))
            self._below = target.path + b"/" if target.type == "dir" else None
        elif task.verb == "remove" and self._below is not None and target.path.startswith(self._below):
            self.removals.add(Remove(target))


def survey(tasks: Iterable[Task], target: str, *, strangers_may_stay: bool) -> tuple[Backwards, bool]:
    """What is in the way of *tasks* in the directory *target*, the lowest first; and whether there is anything to do at all.

    Raises TargetForeign, naming three, for files that are not ours, or not as we wrote them.
    """
    obstacles, is_idle = Obstacles(), True
    met: dict[str, list[bytes]] = {"stranger": [], "conflict": []}
    counts: Counter[str] = Counter()
    for task in tasks:
        if task.verb not in met:
            is_idle = False
            obstacles.look(task)
            continue
        counts[task.verb] += 1
        if len(met[task.verb]) < _NAMED:
            met[task.verb].append(task.entry.path)
    if (found := met["stranger"]) and not strangers_may_stay:
        raise TargetForeign(
            f"{target} holds files of a stranger: {named(found, counts['stranger'])}",
            hint="choose an empty directory; --merge keeps them, --delete-extra removes them",
        )
    if found := met["conflict"]:
        raise TargetForeign(
            f"{target} was changed since it was written: {named(found, counts['conflict'])}",
            hint="move these paths away, then repeat the command",
        )
    return obstacles.removals, is_idle


def named(paths: Sequence[bytes], count: int = 0) -> str:
    """The first three of *paths*, for people, and how many more there are: of *count*, where *paths* does not hold them all."""
    shown = ", ".join(text_of(path) or "(the root)" for path in paths[:3])
    more = max(count, len(paths)) - 3
    return shown + (f", and {more} more" if more > 0 else "")


def late(tasks: Iterable[Task]) -> Backwards:
    """Those of *tasks* that are about directories, the lowest first: what is written in one changes its time."""
    found = Backwards()
    for task in tasks:
        if task.entry.type != "dir":
            continue
        if task.verb == "remove" and task.target is not None:
            found.add(Remove(task.target))
        elif task.source is not None:
            found.add(Touch(task.source))
    return found


def pages(changes: Iterable[Touch | Remove]) -> Iterator[Page]:
    """*changes* in pages that remove a file or a link only as it was looked at. What is in a directory keeps that."""
    coming = iter(changes)
    while page := tuple(islice(coming, _TOGETHER)):
        gone = (change.entry for change in page if isinstance(change, Remove) and change.entry.type != "dir")
        yield Page(page, seen={entry.path: entry for entry in gone})


def check_applied(applied: Applied) -> None:
    """Raises TargetForeign where something was written by somebody else since it was looked at."""
    if applied.left:
        raise TargetForeign(
            f"the target was changed under the command: {named(applied.left)}",
            hint="move these paths away, then repeat the command",
        )


def make_directory(location: Location, layout: Layout, *, include_transient: bool) -> None:
    """Have the target directory. Raises what speaks against it, before anything is read."""
    try:
        os.makedirs(location.path, 0o777, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise TargetForeign(f"{location} is a file, or lies below one", hint="name a directory, new or empty") from None
    except OSError as error:
        raise TargetUnwritable(
            f"cannot make {location}: {error.strerror}", hint="choose a place that you may write"
        ) from None
    if not os.access(location.path, os.W_OK | os.X_OK) or is_read_only(location.path):
        raise TargetUnwritable(f"{location} is read-only", hint="choose a place that you may write")
    check_reach(location, layout, include_transient=include_transient)


def check_reach(location: Location, layout: Layout, *, include_transient: bool) -> None:
    """Raises TargetUnwritable, which names it, where the root of a tree, or a volume below it that moves, cannot be written."""
    with _looked_at(location) as tree:
        _refuse_volumes(location, tree, layout, include_transient=include_transient)


def check_way_back(location: Location, layout: Layout, kinds: frozenset[str] | None, *, include_transient: bool) -> None:
    """The same for files of *kinds* that have the authority, and would follow from then on: also where one of them, or a directory, is
    not this account's. Looks at all that moves.
    """
    with _looked_at(location) as tree:
        _refuse_volumes(location, tree, layout, include_transient=include_transient)
        for path, why in of_others(tree, layout, fates_of(include_transient=include_transient), kinds):
            raise TargetUnwritable(f"{location} cannot be written at {text_of(path)}: {why}", hint=WRITABLE)


def _refuse_volumes(location: Location, tree: Tree, layout: Layout, *, include_transient: bool) -> None:
    leaves_out = left_out_by(layout, include_transient=include_transient)

    def moves(path: bytes) -> bool:
        return not lies_left_out(leaves_out, path, directory=os.path.isdir(os.path.join(location.path, path)))

    for path, why in out_of_reach(tree, moves):
        place = f"{location} cannot be written below {text_of(path)}" if path else f"{location} cannot be written"
        raise TargetUnwritable(f"{place}: {why}", hint=WRITABLE)


@contextmanager
def _looked_at(location: Location) -> Iterator[Tree]:
    """The tree at *location*, open. Raises TargetUnwritable where it cannot be looked at."""
    try:
        with closing(Tree(location.path)) as tree:
            yield tree
    except OSError as error:
        raise TargetUnwritable(f"{location} cannot be written: {error.strerror}", hint=WRITABLE) from None
