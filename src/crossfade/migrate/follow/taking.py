"""Taking what was written into retired files into the database that decides, while its writers wait."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace

from psycopg import errors as pg

from crossfade.errors import GateShut
from crossfade.migrate.carry import Carrier
from crossfade.migrate.decide import Task
from crossfade.migrate.plan import Limits
from crossfade.migrate.prepare import Run
from crossfade.model.entries import Entry
from crossfade.model.paths import ancestors_of, text_of
from crossfade.store.backends.postgres import route
from crossfade.store.backends.postgres.server import Connection
from crossfade.store.port import Store
from crossfade.store.registry import DatabaseRecipe, MarkedRecipe

_WORKER = 1100
"""Its own number among the workers: positions are kept by worker."""

_SILENCE_SECONDS = 60.0
"""After so long without a page the server lets writers go on: whoever takes something was stopped, or waits for a disk that is gone."""


@contextmanager
def take(run: Run, seconds: float) -> Iterator[Callable[[Task], None]]:
    """What takes the target's side of a task into the source. Nobody else writes the database meanwhile.

    Raises GateShut where a writer in flight is not done within *seconds*, and where it comes on so slowly that writers went on.
    """
    database, files = run.source, run.target
    assert isinstance(database, DatabaseRecipe)
    assert isinstance(files, MarkedRecipe)
    with closing(database.server.connect("drift")) as connection, connection.transaction():
        route.limit_silence(connection, _SILENCE_SECONDS)  # another connection writes, for as long as it takes
        try:
            route.close_gate(connection, database.location.schema, run.store_id, seconds)
        except pg.LockNotAvailable:
            raise GateShut("a writer of the database holds on to its transaction", hint="try again") from None
        there = replace(database, epoch=run.epoch).open(_WORKER)
        here = files.files.open()
        try:
            yield lambda task: _carry(here, there, task, lambda: _keep(connection))
        finally:
            here.close()
            there.close()


def _keep(connection: Connection) -> None:
    """A word on *connection*, whose silence means that nothing goes on. Raises GateShut where nobody waits for it any more."""
    try:
        connection.execute("SELECT 1")
    except pg.Error:
        raise GateShut("it took so long that the database let its writers go on", hint="try again") from None


def _carry(files: Store, database: Store, task: Task, keep: Callable[[], None]) -> None:
    one, other = task.target, task.source
    if other is not None and other.type == "dir" and (one is None or one.type != "dir"):
        _refuse_below(database, other)
    tasks = [] if one is None else list(_parents(files, database, one.path))
    carrier = Carrier(files, database, Limits(), ready=lambda *_: keep(), done=lambda _: keep(), stop=lambda: False)
    carrier.carry([*tasks, _task(one, other)])


def _task(one: Entry | None, other: Entry | None) -> Task:
    if one is None:
        return Task("remove", None, other)
    return Task("put" if one.type == "file" else "touch", one, other)


def _parents(files: Store, database: Store, path: bytes) -> Iterator[Task]:
    """The directories above *path* that the database does not have, from the top."""
    above = [path for path in ancestors_of(path) if path]
    there = {entry.path: entry for entry in database.look(above)}
    for entry in files.look(above):
        known = there.get(entry.path)
        if known is None or known.type == "gone":
            yield Task("touch", entry, known)


def _refuse_below(database: Store, directory: Entry) -> None:
    if next(iter(database.entries(under=directory.path)), None) is not None:
        raise GateShut(
            f"{text_of(directory.path)} is a directory there, with something in it", hint="take what is below it first"
        )
