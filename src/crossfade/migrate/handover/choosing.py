"""Which far side a migration has: that of a run, or of a row that somebody looks at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from crossfade.migrate.handover.control import Tree, control_of
from crossfade.migrate.handover.far import Far
from crossfade.migrate.handover.far_database import FarDatabase
from crossfade.migrate.handover.far_files import FarFiles
from crossfade.migrate.handover.twin import Twin, twin_in, twin_of
from crossfade.migrate.prepare import Run, number_of
from crossfade.store.backends.postgres import pointer
from crossfade.store.backends.postgres.ledger import Ledger, MigrationRow
from crossfade.store.location import parse
from crossfade.store.registry import serving


def far_of(run: Run) -> Far:
    """That of a run."""
    control, plan = control_of(run), run.plan
    twin = twin_of(run)
    if run.origin is None or twin is not None:
        return FarFiles(cast("Twin", twin))
    return FarDatabase(Tree(run.origin, number_of(run.far_recipe), run.migration), control, plan.target, run.epoch)


@contextmanager
def far_in(ledger: Ledger, row: MigrationRow) -> Iterator[Far]:
    """That of a migration as it is written down, to look at. Raises what speaks against looking into another database."""
    control = Tree(ledger, row.store_id, row.migration)
    source, twin = parse(row.source), twin_in(ledger, row)
    if twin is not None:
        yield FarFiles(twin)
        return
    with serving(source) as server:
        origin = Ledger(server, source.schema)
        try:
            found = origin.ask(lambda c: pointer.find(c, origin.schema, row.migration))
            number = 0 if found is None else found.store_id
            yield FarDatabase(Tree(origin, number, row.migration), control, row.target)
        finally:
            origin.close()
