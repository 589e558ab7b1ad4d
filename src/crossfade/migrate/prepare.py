"""From two locations to a run: who keeps the control state, whether the pair may be moved at all, and how.

Every refusal happens here or in the survey, before the first byte is written.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial

import psycopg

from crossfade.errors import (
    CrossfadeError,
    Entangled,
    NotYet,
    PhaseForbids,
    SourceEmpty,
)
from crossfade.migrate.audit.record import recorded, refused
from crossfade.migrate.audit.scribe import Scribe
from crossfade.migrate.claiming import Patient, claim, wanted_by
from crossfade.migrate.decide import toward_database, toward_files
from crossfade.migrate.governor import Governor, governor_of
from crossfade.migrate.inventory import Decide
from crossfade.migrate.known import begun, chosen_kinds, find_store, kinds_to_move, layout_of, refuse_finished, tree_of
from crossfade.migrate.obstacles import make_directory
from crossfade.migrate.phases import OF_COPY, OF_RESTORE, Phases
from crossfade.migrate.plan import Manner, Plan, keeps_strangers, tree_name
from crossfade.model import layouts
from crossfade.model.layouts import Layout
from crossfade.store.backends.file.walk import NOBODYS, left_out_by
from crossfade.store.backends.postgres import leases, pointer
from crossfade.store.backends.postgres.ledger import Ledger, MigrationRow
from crossfade.store.backends.postgres.pointer import Pointer
from crossfade.store.location import Location, check_name, entangled
from crossfade.store.port import Recipe
from crossfade.store.registry import DatabaseRecipe, FileRecipe, MarkedRecipe, serving


@dataclass(frozen=True)
class Request:
    """What a person asked for. ``once`` is a copy that ends, ``incremental`` one of a copy that is finished. ``patient`` is who waits
    for another runner to be gone.
    """

    source: Location
    target: Location
    layout: str = ""
    store_name: str = ""
    only: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    add: tuple[str, ...] = ()
    include_transient: bool = False
    manner: Manner = field(default_factory=Manner)
    verb: str = "start"
    once: bool = False
    incremental: bool = False
    patient: Patient = field(default_factory=Patient, compare=False)

    @property
    def control(self) -> Location:
        """The side that keeps the control state."""
        return self.target if self.target.is_database else self.source


@dataclass(frozen=True)
class Run:
    """A pair that may be moved, and everything that moving needs. ``epoch`` is this runner's.

    ``ledger`` keeps the control state; ``origin``, of a pair of databases, is that of the plan's source, where a pointer stands.
    ``cut`` are the kinds that are followed the other way round, because they were cut over by themselves.
    """

    request: Request
    plan: Plan
    layout: Layout
    kinds: frozenset[str] | None
    ledger: Ledger
    store_id: int
    epoch: int
    source: Recipe
    target: Recipe
    decide: Decide
    before: MigrationRow | None
    scribe: Scribe
    governor: Governor
    cut: frozenset[str] = frozenset()
    origin: Ledger | None = None

    @property
    def migration(self) -> str:
        """The migration's id."""
        return self.plan.migration

    @property
    def reversed(self) -> bool:
        """True where the plan's target is the source: after a cut-over, and while lost files come back."""
        return self.request.source.url != self.plan.source

    @property
    def phases(self) -> Phases:
        """What this run's phases are called."""
        return OF_RESTORE if self.reversed and self.request.verb == "restore" else OF_COPY

    @property
    def keeps_strangers(self) -> bool:
        """True where a stranger's files stay as they are. A restore fills what is no plan's target, and says so for itself."""
        target = self.request.target
        planned = target.url if self.phases is OF_RESTORE else self.plan.target
        return keeps_strangers(merge=self.request.manner.merge, target=target, planned=planned)

    @property
    def from_files(self) -> bool:
        """True where the source is a directory."""
        return not self.request.source.is_database

    @property
    def to_files(self) -> bool:
        """True where the target is a directory."""
        return not self.request.target.is_database

    @property
    def leaves_out(self) -> Callable[[bytes, bool], bool]:
        """Says of a path in the source, files, and whether it is a directory, that it does not move (``left_out_by``)."""
        assert isinstance(self.source, FileRecipe)
        return left_out_by(self.layout, include_transient=self.source.include_transient)

    @property
    def from_control(self) -> bool:
        """True where the source is the database that keeps the control state."""
        return not self.from_files and (self.to_files or self.reversed)

    @property
    def far_recipe(self) -> Recipe:
        """How to open the side that keeps no control state."""
        return self.target if self.from_control else self.source

    @property
    def books(self) -> tuple[Ledger, int]:
        """Where it is written what was applied to the target, and what was refused there; and the tree's number in it."""
        if self.origin is None or not self.from_control:
            return self.ledger, self.store_id
        return self.origin, number_of(self.target)


def number_of(recipe: Recipe) -> int:
    """The number of a tree in a database."""
    assert isinstance(recipe, DatabaseRecipe)
    return recipe.store_id


@dataclass(frozen=True)
class Make:
    """How a run is made: ``claimed`` takes its lease; then ``directed`` has it the way round that its row says, or refuses it."""

    claimed: Callable[[Request, ExitStack], Run]
    directed: Callable[[Run], Run]


@contextmanager
def prepared(request: Request, make: Make | None = None) -> Iterator[Run]:
    """A run for *request*, its lease taken. Raises what speaks against it; gives the lease back at the end.

    Of a migration that was cut over, the run is the other way round. *make* makes another run than the pair says.
    """
    check_pair(request.source, request.target)
    make = make or _STRAIGHT
    with ExitStack() as held:
        run = make.claimed(request, held)
        held.callback(run.ledger.close)
        held.callback(run.governor.close)
        try:
            with recorded(run.ledger, run.scribe, run.migration):
                claimed = _read_again(run)
                run = make.directed(claimed)
                _keep_to(claimed)
                _be_known(run)
                yield run
        finally:
            _give_back(run)


def _straight(request: Request, held: ExitStack) -> Run:
    return _to_database(request, held) if request.target.is_database else _to_files(request, held)


def _read_again(run: Run) -> Run:
    """*run* by its row as it stands now. Until the lease was taken another runner may have decided, finished, or added kinds;
    from here on nobody else does. Raises PhaseForbids where it is finished by now, PlanDiffers where it moves other kinds.
    """
    if run.before is None and run.epoch == 1:
        return run
    row = next(row for row in run.ledger.migrations() if row.migration == run.migration)
    refuse_finished(row)
    kinds = chosen_kinds(run.request, run.layout, row)
    if kinds != (None if row.kinds is None else frozenset(row.kinds)):
        run.ledger.move_kinds(run.migration, run.epoch, kinds)
    return replace(run, before=row, kinds=kinds)


def _keep_to(run: Run) -> None:
    """Have written down what *run* keeps to, once nothing speaks against it any more: what is refused is nobody's wish."""
    wanted = wanted_by(run.request, run.before)
    if run.before is not None and wanted:
        run.ledger.keep_to(run.migration, run.epoch, wanted)


def _give_back(run: Run) -> None:
    """Let the next runner in at once. Where the server is away, the lease runs out by itself: no time is spent on it."""
    run.ledger.patience_seconds = 0.0
    with suppress(psycopg.Error, CrossfadeError):
        run.ledger.release(run.migration, run.epoch)


def _as_it_stands(run: Run) -> Run:
    """*run* in the direction that its migration has by now."""
    if run.before is None:
        return run
    return replace(turned(run) if run.before.reversed else run, cut=frozenset(run.before.cut or ()))


_STRAIGHT = Make(_straight, _as_it_stands)


def _be_known(run: Run) -> None:
    """Be the runner in the source, too, where that is a database which was handed over: no earlier one writes there any more.

    Raises Fenced. Where a pointer should be and is none, the source was restored from a backup of before.
    """
    if run.origin is None:
        return
    schema, found = run.origin.schema, Pointer(run.migration, number_of(run.far_recipe), run.plan.target)
    was_cut = run.reversed or bool(run.cut)
    be = partial(pointer.make, pointer=found) if was_cut else partial(pointer.retake, migration=run.migration)
    if not run.origin.change(lambda c: be(c, schema, epoch=run.epoch)):
        raise leases.replaced(run.migration)


def turned(run: Run) -> Run:
    """The same migration, under the same lease, in the other direction."""
    request = replace(run.request, source=run.request.target, target=run.request.source)
    if isinstance(run.source, DatabaseRecipe) and isinstance(run.target, DatabaseRecipe):
        reading = replace(run.target, epoch=0, purpose="reader")
        writing = replace(run.source, migration=run.migration, epoch=run.epoch, purpose="worker")
        return replace(run, request=request, source=reading, target=writing, decide=toward_database)
    place = request.source if request.source.is_database else request.target
    database = DatabaseRecipe(place, run.ledger.server, run.store_id, run.layout, run.migration)
    is_target = run.plan.target == (request.target if request.source.is_database else request.source).url
    files = FileRecipe(
        request.target if request.source.is_database else request.source,
        run.layout,
        include_transient=is_target or run.plan.include_transient,
        skip_unreadable=run.request.manner.skip_unreadable,
    )
    if request.source.is_database:
        marked = MarkedRecipe(files, run.ledger.server, run.ledger.schema, run.migration, run.epoch)
        return replace(run, request=request, source=database, target=marked, decide=toward_files)
    return replace(run, request=request, source=files, target=replace(database, epoch=run.epoch), decide=toward_database)


def check_pair(source: Location, target: Location) -> None:
    """Refuse pairs that cannot be moved."""
    if not (source.is_database or target.is_database) or "memory" in (source.scheme, target.scheme):
        raise NotYet(
            f"moving {source.scheme} to {target.scheme} is not there yet",
            hint="go through a database: files to embedded:///path, and from there to files",
        )
    if entangled(source, target):
        raise Entangled(f"{source} and {target} lie inside one another", hint="choose a target outside of the source")


def _to_database(request: Request, held: ExitStack) -> Run:
    """Files or another database into a database, which keeps the control state."""
    if request.source.is_database:
        return _from_database(request, held)
    name = tree_name(request.source, request.target, request.store_name)
    layout = layouts.load(request.layout or "prodigy")
    source = FileRecipe(request.source, layout, request.include_transient, request.manner.skip_unreadable)
    held.callback(source.open().close)
    if request.target.scheme == "embedded" and not os.path.isdir(request.target.path):
        _check_incremental(request, None, None)
        refuse_empty(request, source)
    ledger = Ledger(held.enter_context(serving(request.target, create=True)), request.target.schema)
    if not request.layout and (known := layout_of(ledger, request.source, name)):
        layout, source = known, replace(source, layout=known)
    return _into_database(request, ledger, _plan(request, name, layout), layout, source)


def _from_database(request: Request, held: ExitStack) -> Run:
    origin = Ledger(held.enter_context(serving(request.source)), request.source.schema)
    held.callback(origin.close)
    row = find_store(origin, request.source, request.store_name)
    layout = layouts.parse(row.layout, source=row.layout_name)
    name = check_name("store name", request.target.store or row.name)
    plan = _plan(request, name, layout)
    source = DatabaseRecipe(request.source, origin.server, row.store_id, layout, purpose=f"{plan.migration} reader")
    ledger = Ledger(held.enter_context(serving(request.target, create=True)), request.target.schema)
    return replace(_into_database(request, ledger, plan, layout, source), origin=origin)


def _into_database(request: Request, ledger: Ledger, plan: Plan, layout: Layout, source: Recipe) -> Run:
    before = begun(ledger, plan, to_database=True) if ledger.version() is not None else None
    _check_incremental(request, before, ledger)
    kinds = kinds_to_move(request, layout, before, ledger)
    if before is None:
        refuse_empty(request, source)
    ledger.ensure(layout.kinds)
    store_id = tree_of(ledger, plan, layout)
    return onto_database(request, ledger, plan, layout, kinds, store_id, source, before)


def onto_database(
    request: Request,
    ledger: Ledger,
    plan: Plan,
    layout: Layout,
    kinds: frozenset[str] | None,
    store_id: int,
    source: Recipe,
    before: MigrationRow | None,
) -> Run:
    """A run of *plan* into the tree *store_id*, its lease taken."""
    epoch = _claim(request, ledger, plan, store_id, kinds)
    target = DatabaseRecipe(request.target, ledger.server, store_id, layout, plan.migration, epoch)
    scribe = Scribe(ledger.server, ledger.schema, plan.migration)
    governor = governor_of(request.manner, ledger.server, plan.migration)
    return Run(
        request, plan, layout, kinds, ledger, store_id, epoch, source, target, toward_database, before, scribe, governor
    )


def _check_incremental(request: Request, before: MigrationRow | None, ledger: Ledger | None) -> None:
    """Raises PhaseForbids where there is no finished copy that could be brought up to date."""
    if not request.incremental or (before is not None and before.was_proved):
        return
    hint = "leave --incremental out: start copies what is missing"
    if before is None or ledger is None:
        raise PhaseForbids(f"{request.source} was not copied to {request.target} yet", hint=hint)
    error = PhaseForbids(f"migration {before.migration} is {before.phase}: its first copy is not finished", hint=hint)
    raise refused(ledger, before.migration, error)


def refuse_empty(request: Request, source: Recipe, meant: str = "--allow-empty") -> None:
    """An empty source is rarely meant; *meant* is the option which says that it is. An inventory shows the root first."""
    if request.manner.may_find_nothing:
        return
    with closing(source.open(0)) as store:
        found = next((entry for entry in store.entries() if entry.path not in (b"", *NOBODYS)), None)
    if found is None:
        raise SourceEmpty(
            f"{request.source} holds no entry at all",
            hint=f"mount the volume or mend the path; {meant} if it is meant",
        )


def _to_files(request: Request, held: ExitStack) -> Run:
    """A database into a directory; the database keeps the control state."""
    server = held.enter_context(serving(request.source))
    ledger = Ledger(server, request.source.schema)
    row = find_store(ledger, request.source, request.store_name)
    layout = layouts.parse(row.layout, source=row.layout_name)
    plan = _plan(request, row.name, layout)
    before = begun(ledger, plan, to_database=False)
    _check_incremental(request, before, ledger)
    kinds = kinds_to_move(request, layout, before, ledger)
    make_directory(request.target, layout, include_transient=False)
    epoch = _claim(request, ledger, plan, row.store_id, kinds)
    source = DatabaseRecipe(request.source, server, row.store_id, layout, plan.migration)
    files = FileRecipe(request.target, layout, include_transient=True)
    target = MarkedRecipe(files, server, request.source.schema, plan.migration, epoch)
    scribe = Scribe(server, ledger.schema, plan.migration)
    governor = governor_of(request.manner, server, plan.migration)
    return Run(
        request, plan, layout, kinds, ledger, row.store_id, epoch, source, target, toward_files, before, scribe, governor
    )


def _plan(request: Request, name: str, layout: Layout) -> Plan:
    return Plan(request.source.url, request.target.url, name, layout.name, layout.fingerprint, request.include_transient)


def _claim(request: Request, ledger: Ledger, plan: Plan, store_id: int, kinds: frozenset[str] | None) -> int:
    row = {
        "migration": plan.migration,
        "store_id": store_id,
        "source": plan.source,
        "target": plan.target,
        "plan": plan.values(),
        "verb": request.verb,
        "wanted": wanted_by(request, None),
    }
    return claim(ledger, row, kinds, request.patient)
