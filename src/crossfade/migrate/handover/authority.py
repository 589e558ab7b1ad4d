"""Whose the authority is, where the side that is to hand it over has not got it: several migrations may share a tree."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from crossfade.store.backends.file.gate import Gate
from crossfade.store.backends.postgres import route
from crossfade.store.backends.postgres.ledger import Ledger, MigrationRow
from crossfade.store.location import parse


def held_by(ledger: Ledger, migration: str, kinds: Iterable[str], *, from_files: bool) -> str:
    """In words, who has the authority over *kinds*; empty where the side that hands it over has it."""
    rows = ledger.migrations()
    mine = next(row for row in rows if row.migration == migration)
    ends = parse(mine.source), parse(mine.target)
    if all(end.is_database for end in ends):
        return ""
    routes = ledger.ask(lambda c: route.read(c, ledger.schema, mine.store_id))
    wanted = "elsewhere" if from_files else "here"
    if any(route.side_of(routes, kind) != wanted for kind in kinds):
        return "the database has it already" if from_files else _holder(rows, mine)
    root = next(end.path for end in ends if not end.is_database)
    return _another_tree(root, mine) if from_files else ""


def _holder(rows: Sequence[MigrationRow], mine: MigrationRow) -> str:
    """The migration whose files decide about the tree."""
    others = [row for row in rows if row.store_id == mine.store_id and row.migration != mine.migration]
    found = next((row for row in others if parse(row.source).is_database == row.reversed), None)
    if found is None:
        return "the other side has it already"
    return f"migration {found.migration} has it, with {found.target if found.reversed else found.source}"


def _another_tree(root: bytes, mine: MigrationRow) -> str:
    """Who has it by the marker beside the files, where that is of another tree than ours."""
    there, database = Gate(root).read(), mine.target if parse(mine.target).is_database else mine.source
    is_ours = there is None or (there.database, there.store) == (parse(database).url, mine.plan["store"])
    return "" if there is None or is_ours else there.handed_over
