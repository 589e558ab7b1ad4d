"""What is missing in the files when a run begins: it was removed, it moved, or the volume that holds it is not there."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from itertools import groupby, islice

from crossfade.errors import Removed
from crossfade.migrate.decide import Task
from crossfade.migrate.follow.brake import (
    Footing,
    also_on,
    footing_of,
    is_counted,
    lost_of,
    not_mounted,
    why_not_left,
    why_not_there,
    why_unmounted,
)
from crossfade.migrate.inventory import Decide, tasks
from crossfade.migrate.prepare import Run
from crossfade.migrate.renames import Renames, moves_among
from crossfade.migrate.restore import ARRIVED, check_restored, restoring
from crossfade.model.changes import Move, Page
from crossfade.model.entries import Entry
from crossfade.model.paths import from_text, text_of
from crossfade.store.backends.file.walk import lies_left_out
from crossfade.store.backends.postgres import journal
from crossfade.store.backends.postgres.ledger import Ledger
from crossfade.store.port import Store

MOUNTED = "mounted"
"""The line of the journal which says where volumes that move were mounted below the source's root, once there was one."""

_NAMED = 100
_TOGETHER = 500


class Census:
    """Counts, while both sides are compared, what the target *held* and how much of it is *gone* from the source.

    Of what the source *hides* nothing is known, so it is not gone. ``unmounted`` says why something is not where a volume is *lost*.
    ``others`` are files of the source that are of kinds which do not move: who has many of them is no fresh volume.
    """

    def __init__(self, decide: Decide, hides: Callable[[bytes], bool], lost: Sequence[bytes] = ()) -> None:
        self._decide = decide
        self._hides = hides
        self._lost = lost
        self.held = self.gone = self.others = 0
        self.unmounted = ""

    def met(self, entries: Iterator[Entry], kinds: frozenset[str] | None) -> Iterator[Entry]:
        """The source's *entries* as they come; with *kinds*, those of others are counted."""
        for entry in entries:
            self.others += kinds is not None and bool(entry.kind) and entry.kind not in kinds
            yield entry

    def decide(self, source: Entry | None, target: Entry | None) -> Task | None:
        """What is to be done about a pair, which counts."""
        task = self._decide(source, target)
        if target is not None and is_counted(target):
            self.held += 1
            if task is not None and task.verb == "remove" and not self._hides(target.path):
                self.gone += 1
                self.unmounted = self.unmounted or why_unmounted([target.path], self._lost)
        return task

    def moved(self, moves: Sequence[Move], source: Store) -> None:
        """These are not gone. Where something new stands in *source* at their old places, they were not counted either."""
        self.gone -= len(moves) - len(list(source.look([move.before.path for move in moves])))

    def why_not(self, before: Footing | None, root: bytes) -> str:
        """Why it is not to be believed that so much is gone from the files below *root*, which stood on *before*; empty where it is."""
        if not self.gone or before is None:
            return ""
        now = footing_of(root)
        return self.unmounted or why_not_left(self.gone, self.held, replace(before, empty=False), now, self.others)


Inventories = Callable[[], tuple[Iterator[Entry], Iterator[Entry]]]
"""Both sides, listed anew."""


def moved(
    run: Run, source: Store, target: Store, inventories: Inventories, hides: Callable[[bytes], bool]
) -> tuple[bool, Census]:
    """Have the entries of files that moved go where they went; whether some did, and what is gone then.

    What was listed while something moved was counted wrongly, so it is counted anew.
    """
    census, found = _counted(run, inventories, hides)
    has_moved = False
    for moves in moves_among(found, Renames(run, source, target)):
        target.apply(Page(tuple(moves)))
        has_moved = True
    if has_moved:
        census, found = _counted(run, inventories, hides)
    deque(found, maxlen=0)
    return has_moved, census


def _counted(run: Run, inventories: Inventories, hides: Callable[[bytes], bool]) -> tuple[Census, Iterator[Task]]:
    """All that there is to do, and what counts, as it comes, what is gone."""
    census = Census(run.decide, hides, lost_volumes(run.ledger, run.migration, run.request.source.path))
    source, target = inventories()
    return census, tasks(census.met(source, run.kinds), target, census.decide, run.kinds)


def census_of(run: Run, source: Store, target: Store) -> Census:
    """What *run*, which begins, would remove; what moved left out. Raises Removed where a restore is not finished."""

    def inventories() -> tuple[Iterator[Entry], Iterator[Entry]]:
        return source.entries(), target.entries(tombstones=True)

    def found() -> Iterator[Task]:
        return tasks(*inventories(), run.decide, run.kinds)

    check_restored(run, found)
    census, counted = _counted(run, inventories, source.hides)
    deque(counted, maxlen=0)
    for moves in moves_among(found(), Renames(run, source, target)) if census.gone else ():
        census.moved(moves, source)
    return census


def check_gone(run: Run, census: Census, before: Footing | None) -> None:
    """Raises Removed where so much is gone that it is not to be believed, and nobody says that it is meant."""
    if not run.request.manner.allow_removals and (why := census.why_not(before, run.request.source.path)):
        raise removed(run, why)


def removed(run: Run, why: str, nothing: str = "nothing") -> Removed:
    """It is not believed, *why* it says, and a person decides: *run* stays as it is until then. *nothing* more was removed."""
    run.ledger.phase(run.migration, "braked", "braked", {"reason": why})
    now = footing_of(run.request.source.path)
    room = "" if now is None or now.empty else "move away what is there, and "
    is_whole = run.ledger.ask(lambda c: journal.tells_of(c, run.ledger.schema, run.migration, ARRIVED))
    back = f", or {room}{restoring(run)}" if is_whole and not run.reversed else ""
    return Removed(
        f"{why}: {nothing} was removed from the target", hint=f"mount the volume{back}; --allow-removals if it is meant"
    )


# While they are read


class Ground:
    """What the files that *run* copies stood on when it began. Once that has changed, nothing is a removal, and nothing was copied whole."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._root = run.request.source.path
        self._nothing = "nothing"
        self.footing = footing_of(self._root) if run.from_files else None

    def under(self, work: Iterator[Task]) -> Iterator[Task]:
        """*work* as it comes. Raises Removed before a removal whose file stood on what is not there any more."""
        for is_removal, group in groupby(work, lambda task: task.verb == "remove"):
            while is_removal and (some := list(islice(group, _TOGETHER))):
                self.check()
                self._nothing = "nothing more"
                yield from some
            yield from group

    def check(self) -> None:
        """Raises Removed where the files do not stand on the same any more, and nobody says that it is meant."""
        if self.footing is not None and not self._run.request.manner.allow_removals and (why := self._why(self.footing)):
            raise removed(self._run, why, self._nothing)

    def note(self) -> None:
        """Have later runs know what they stood on: also a volume that is gone again by now, and one that came since."""
        if self.footing is not None:
            self.footing = also_on(self.footing, footing_of(self._root))
            note_volumes(self._run, self.footing.mounts)

    def _why(self, before: Footing) -> str:
        now = footing_of(self._root)
        lost = lost_of(self._root, before.mounts, now.mounts) if now is not None else []
        return why_not_there(before, now) or next(map(not_mounted, _that_move(self._run, lost)), "")


# Volumes below the root


def lost_volumes(ledger: Ledger, migration: str, root: bytes) -> list[bytes]:
    """Where an earlier run saw something mounted below *root*, the source's, and nothing is now. The root's own may be any."""
    now = footing_of(root)
    return [] if now is None else lost_of(root, _known_volumes(ledger, migration), now.mounts)


def note_volumes(run: Run, mounts: Collection[bytes]) -> None:
    """Have later runs know that something is, or was, mounted at *mounts* below the source's root, which is a directory."""
    there = sorted(_that_move(run, mounts))[:_NAMED]
    if there != _known_volumes(run.ledger, run.migration):
        run.ledger.note(run.migration, MOUNTED, {"paths": list(map(text_of, there))})


def _that_move(run: Run, mounts: Collection[bytes]) -> list[bytes]:
    """Those of *mounts* that hold something of what moves: a build mounts and unmounts in its worktree as it likes."""
    return [path for path in mounts if not lies_left_out(run.leaves_out, path, directory=True)]


def _known_volumes(ledger: Ledger, migration: str) -> list[bytes]:
    line = ledger.ask(lambda c: journal.last(c, ledger.schema, migration, MOUNTED))
    return [from_text(text) for text in line.details()["paths"]] if line is not None else []
