"""Stores to test with, opened as a migration opens them."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from crossfade.model.layouts import Layout
from crossfade.store.backends.postgres.ledger import Ledger
from crossfade.store.backends.postgres.store import PostgresStore
from crossfade.store.registry import DatabaseRecipe
from crossfade.testing.contract import LAYOUT
from support.servers import Database

MIGRATION = "abcdef012345"
_TREE = itertools.count(1)


def claimed(
    database: Database, layout: Layout = LAYOUT, *, tree: str = "tree", migration: str = MIGRATION
) -> DatabaseRecipe:
    """The tree *tree* in *database*, made where it is missing, claimed by a new runner."""
    ledger = Ledger(database.server, database.location.schema)
    ledger.ensure(layout.kinds)
    known = {row.name: row.store_id for row in ledger.stores()}
    number = known.get(tree) or ledger.add_store(tree, "file:///nowhere", layout.name, layout.text(), layout.fingerprint)
    row = {"migration": migration, "store_id": number, "source": "", "target": "", "plan": {}}
    epoch = ledger.claim(row, None)
    ledger.close()
    return DatabaseRecipe(database.location, database.server, number, layout, migration, epoch)


def new_tree(database: Database) -> Callable[[], PostgresStore]:
    """Opens stores on one new tree, beside all others that are in *database*."""
    number = next(_TREE)
    return claimed(database, tree=f"tree_{number}", migration=f"{number:012x}").open


def postgres_opener(database: Database, layout: Layout = LAYOUT) -> Callable[[], PostgresStore]:
    """Opens stores on one tree, all for the same runner."""
    return claimed(database, layout).open
