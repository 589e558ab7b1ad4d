"""Dealing with one thing that has drifted, as a person wants it.

``ignore`` puts the authority's version back, and keeps the other one aside. ``take`` writes the other one into the authority,
if both are still what they were when they were seen.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from psycopg import errors as pg

from crossfade.errors import CrossfadeError
from crossfade.migrate.decide import Task
from crossfade.migrate.follow.taking import take
from crossfade.migrate.prepare import Run
from crossfade.model.paths import text_of
from crossfade.store.backends.file.aside import Aside
from crossfade.store.backends.postgres.drift import Item, Side, State, Wish, seen_of
from crossfade.store.backends.postgres.server import translate
from crossfade.store.port import Reading, Store

RECORDS = "records"
"""What stands there where the records of an entry are not what its books say: no look at lists can see that."""

_WRITERS_SECONDS = 0.5


@dataclass(frozen=True)
class Dealt:
    """What has become of an item, and in words what was done, or why not. *put_back*: once its path is brought anew.

    *seen* is what stands there by now, where that is another thing than it was.
    """

    state: State
    outcome: str
    put_back: bool = False
    seen: tuple[Task, ...] = ()


class Dealing:
    """Deals with what has drifted on the side that *run* follows into, its *target*."""

    def __init__(self, run: Run, source: Store, target: Store) -> None:
        self._run = run
        self._source = source
        self._target = target
        self.side: Side = "source" if run.reversed else "target"

    def deal(self, item: Item, wished: Wish) -> Dealt:
        """Do what is *wished*."""
        try:
            return self._ignore(item) if wished == "ignore" else self._take(item)
        except CrossfadeError as error:
            return Dealt("open", error.sentence)
        except (pg.DataError, pg.IntegrityError) as error:
            return Dealt("open", f"the server refused it ({error.sqlstate})")
        except pg.OperationalError as error:
            return Dealt("open", translate(error, "the database").sentence)
        except OSError as error:
            return Dealt("open", f"the system refused: {error.strerror}")

    def _ignore(self, item: Item) -> Dealt:
        task = self._look(item.seen.path)
        is_there = task.target is not None and task.target.type != "gone"
        if is_there and not self._is(item, task):
            return _changed(task)
        kept = self._keep(item, task)
        return Dealt("open", f"kept as {kept}" if kept else "the authority's version is put back", put_back=True)

    def _keep(self, item: Item, task: Task) -> str:
        """Put the version aside that nobody wants here; where, if there is one."""
        there, path = task.target, item.seen.path
        if self._run.to_files:
            aside = Aside(self._run.request.target.path)
            return text_of(aside.move(path, item.item) if there is not None else aside.find(path, item.item))
        if there is None or there.type != "file" or not self._run.from_files:
            return ""
        content = (block.data for block in self._target.read([Reading(there)]))
        return text_of(Aside(self._run.request.source.path).write(path, item.item, content))

    def _take(self, item: Item) -> Dealt:
        if not self._run.to_files:
            return Dealt("open", "the files have the authority, and are not written: write it there, then ignore this")
        with take(self._run, _WRITERS_SECONDS) as write:
            task = self._look(item.seen.path)
            if item.seen.type == RECORDS or not self._is(item, task):
                return _changed(task)
            write(task)
        return Dealt("taken", "it is the authority's version now")

    def _look(self, path: bytes) -> Task:
        """What stands at *path* on both sides now."""
        source = next(iter(self._source.look([path])), None)
        return Task("conflict", source, next(iter(self._target.look([path])), None))

    def _is(self, item: Item, task: Task) -> bool:
        """True where both sides are what they were."""
        if task.source is None and task.target is None:
            return False
        now = seen_of(self.side, task.source, task.target)
        if item.seen.type == RECORDS:
            now = replace(now, type=RECORDS, klass="changed", authority=item.seen.authority)
        return now == item.seen


def _changed(task: Task) -> Dealt:
    """Somebody wrote one of the sides since: what was decided was about something else."""
    seen = (task,) if task.source is not None or task.target is not None else ()
    return Dealt("open", "it changed since it was seen; look at it again", seen=seen)
