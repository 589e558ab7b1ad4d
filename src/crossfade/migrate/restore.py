"""Bringing a directory back that vanished, as a container's does: the migration that filled the store runs the other way round.

It stays the same migration. What is written is marked as it would have been on the way there, so that following goes on
without moving a byte of it again. Until all is there and proven the phase says so, and nothing that is still missing is
taken for removed.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace

import psycopg

from crossfade.errors import CrossfadeError, PhaseForbids, Removed, TargetForeign
from crossfade.migrate.audit.record import refused
from crossfade.migrate.decide import Task
from crossfade.migrate.known import find_store, tree_option
from crossfade.migrate.obstacles import make_directory
from crossfade.migrate.phases import OF_COPY, OF_RESTORE, RESTORING
from crossfade.migrate.plan import Plan
from crossfade.migrate.prepare import Make, Request, Run, onto_database, turned
from crossfade.migrate.to_type import refilling, start_again
from crossfade.model import layouts
from crossfade.model.changes import Page, Touch
from crossfade.model.entries import Entry, altered
from crossfade.model.paths import path_of, text_of
from crossfade.store.backends.file.walk import NOBODYS
from crossfade.store.backends.postgres import journal
from crossfade.store.backends.postgres.ledger import Ledger, MigrationRow
from crossfade.store.backends.postgres.leftovers import cut_short
from crossfade.store.location import Location
from crossfade.store.registry import DatabaseRecipe, FileRecipe, serving

ARRIVED = ("following", "proved")
"""Lines of the journal which say that everything was brought over once."""

_UNDER_WAY = (OF_COPY.busy, OF_COPY.stopped, OF_COPY.wrong)
"""Phases of an ordinary copy that has begun to write and is not proven."""

_SETTLING = 2000
"""Whoever settles, among the workers."""

_TOGETHER = 500
_NAMED = 100


@dataclass(frozen=True)
class Found:
    """What a restore finds. ``begun`` is the migration that filled the store from the directory, None where none did.

    ``nothing`` says that the store holds no tree yet; ``other`` names something that the directory holds. ``known`` is the
    migration that has the two for its ends, whichever way round, and ``ledger`` is where it stands. ``came_from`` is the
    directory that the store was filled from, where that is another one.
    """

    begun: MigrationRow | None = None
    nothing: bool = False
    under_way: bool = False
    other: str = ""
    known: str = ""
    ledger: Ledger | None = None
    came_from: str = ""

    @property
    def make(self) -> Make | None:
        """How the run is made: that of ``begun``, turned round; or an ordinary copy."""
        begun = self.begun
        return None if begun is None else Make(lambda request, held: _forth(request, begun, held), _turned_back)

    def leave_alone(self, why: str) -> bytes:
        """Write down that nothing is brought back, where some migration is about it; the head of its journal, else nothing."""
        if self.ledger is None or not self.known:
            return b""
        with suppress(
            CrossfadeError, psycopg.Error
        ):  # a database that only takes no writes keeps no container from starting
            self.ledger.note(self.known, "left alone", {}, why)
        return self.ledger.journal_head(self.known)


@contextmanager
def looked(request: Request) -> Iterator[Found]:
    """What there is, while the store's server runs. Raises PhaseForbids where nothing may be brought back."""
    with ExitStack() as held:
        ledger = Ledger(held.enter_context(serving(request.source)), request.source.schema)
        held.callback(ledger.close)
        if request.manner.allow_empty and not (ledger.version() is not None and ledger.stores()):
            yield Found(nothing=True)
            return
        row = find_store(ledger, request.source, request.store_name)
        found = _found([m for m in ledger.migrations() if m.store_id == row.store_id], request, ledger)
        is_another = row.origin.startswith("file:") and row.origin != request.target.url
        yield replace(found, came_from=row.origin) if is_another else found


def _found(rows: list[MigrationRow], request: Request, ledger: Ledger) -> Found:
    """Of *rows*, all of one tree: the migration to go on with, and whether a restore is under way."""
    other = first_name(request.target)
    there = sorted(
        (row for row in rows if row.source == request.target.url and row.phase != "finished"),
        key=lambda row: row.target != request.source.url,
    )
    if there:
        if error := _why_not_whole(there[0], request, ledger):
            raise refused(ledger, there[0].migration, error)
        return Found(there[0], False, there[0].phase == RESTORING, other, there[0].migration, ledger)
    back = [row for row in rows if (row.source, row.target) == (request.source.url, request.target.url)]
    known = back[0].migration if back else ""
    return Found(None, False, any(row.phase in _UNDER_WAY for row in back), other, known, ledger)


def first_name(directory: Location) -> str:
    """Something that *directory* holds; empty where it is empty, or not there."""
    try:
        with os.scandir(directory.path) as found:
            return next((os.fsdecode(entry.name) for entry in found if os.fsencode(entry.name) not in NOBODYS), "")
    except FileNotFoundError:
        return ""
    except NotADirectoryError:
        raise TargetForeign(f"{directory} is a file, or lies below one", hint="name a directory, new or empty") from None


def _why_not_whole(begun: MigrationRow, request: Request, ledger: Ledger) -> PhaseForbids | None:
    """That the store has the authority, or never had all that the directory held; None where neither is so."""
    if begun.reversed:
        return PhaseForbids(
            f"migration {begun.migration} was cut over: {request.target} follows the store",
            hint=f"crossfade resume {begun.migration}   # it brings back what is missing",
        )
    if not ledger.ask(lambda c: journal.tells_of(c, ledger.schema, begun.migration, ARRIVED)):
        return PhaseForbids(
            f"the copy of {request.target} was never finished, so {request.source} does not hold all of it",
            hint=f"{start_again(begun, once=False)}   # where the files are; or take what there is: {_taking(request, begun)}",
        )
    return None


def _taking(request: Request, begun: MigrationRow) -> str:
    """The command that brings as much as the store holds, as a migration of its own."""
    name = [] if request.source.store else ["--store-name", begun.plan["store"]]
    return shlex.join(["crossfade", "start", request.source.url, request.target.url, *name, "--once"])


def _forth(request: Request, begun: MigrationRow, held: ExitStack) -> Run:
    """A run of *begun* as it was begun, its lease taken."""
    ledger = Ledger(held.enter_context(serving(request.source)), request.source.schema)
    row = find_store(ledger, request.source, begun.plan["store"])
    layout, plan = layouts.parse(row.layout, source=row.layout_name), Plan(**begun.plan)
    make_directory(request.target, layout, include_transient=plan.include_transient)
    there = replace(request, source=request.target, target=request.source, include_transient=plan.include_transient)
    files = FileRecipe(request.target, layout, plan.include_transient)
    kinds = None if begun.kinds is None else frozenset(begun.kinds)
    return onto_database(there, ledger, plan, layout, kinds, row.store_id, files, begun)


def _turned_back(run: Run) -> Run:
    """*run* the other way round. While its lease was waited for, it may have been cut over."""
    back = turned(run)
    if run.before is not None and (error := _why_not_whole(run.before, back.request, back.ledger)):
        raise error
    return back


def check_restored(run: Run, tasks: Callable[[], Iterable[Task]]) -> None:
    """Raises Removed where one of *tasks* would remove what an unfinished restore has not brought back yet, and nobody says that it may."""
    before = run.before
    if before is None or before.phase != RESTORING or not run.from_files or run.request.manner.allow_removals:
        return
    if any(task.verb == "remove" for task in tasks()):
        raise Removed(
            f"a restore of {run.request.source} was begun and not finished: nothing was removed from the target",
            hint=restoring(run),
        )


def unplaced(run: Run) -> frozenset[bytes]:
    """What could not be placed among the files, when it was brought there: that it is missing there is no removal."""
    items = [item for state in ("held", "ignored") for item in run.ledger.quarantine(run.migration, state)]
    return frozenset(path_of(item.key) for item in items if item.pos is None)


def settle_logs(run: Run) -> None:
    """Logs whose bringing was cut short, when their runner vanished, stand as far as they came: whole records, from the first on."""
    paths = run.ledger.ask(lambda c: cut_short(c, run.ledger.schema, run.store_id))
    recipe = DatabaseRecipe(run.request.source, run.ledger.server, run.store_id, run.layout, run.migration, run.epoch)
    store = recipe.open(_SETTLING)
    try:
        logs = [log for log in store.look(paths) if log.form == "log" and log.within is None]
        for start in range(0, len(logs), _TOGETHER):
            whole = store.digest(logs[start : start + _TOGETHER])
            store.apply(Page(tuple(Touch(_settled(log, digest)) for log, digest in whole)))
    finally:
        store.close()
    if logs:
        run.ledger.note(
            run.migration, "settled", {"count": len(logs), "paths": [text_of(log.path) for log in logs[:_NAMED]]}
        )


def _settled(log: Entry, digest: bytes) -> Entry:
    return altered(log, complete=True, digest=digest, signature=None, records=0, raws=0)


def restoring(run: Run) -> str:
    """The command that fills the source of *run* again, whichever way round it runs."""
    return refilling(run.plan.source, run.plan.target, run.plan.store)


def way_on(run: Run) -> str:
    """The command that mends what *run* brought. A restore is given again: what it fills is not yet what a store is mended from."""
    if run.phases is OF_RESTORE:
        return restoring(run)
    source, target = run.request.source, run.request.target
    name = tree_option(run.ledger, source, target, run.plan.store)
    repair = ["crossfade", "validate", source.url, target.url, *name, "--repair"]
    return f"{shlex.join(repair)}   # the source is untouched"
