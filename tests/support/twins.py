"""Two trees of one database: one that crossfade's own pages fill, one that the functions in SQL fill. They have to be equal."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from typing import Any

import psycopg

from crossfade.model.cut import form_of
from crossfade.model.entries import altered
from crossfade.model.layouts import Layout
from crossfade.store.backends.postgres import schema
from crossfade.store.backends.postgres.ledger import Ledger
from crossfade.testing.contract import LAYOUT, Bench, puts
from support.servers import Database
from support.stores import claimed

_NUMBER = itertools.count(1)


@dataclass
class Twins:
    """``copied`` is written by pages, ``sql`` is a connection to write ``name`` with; *layout* is that of both."""

    database: Database
    layout: Layout
    copied: Bench
    copied_id: int
    sql: psycopg.Connection
    name: str
    written_id: int

    def call(self, function: str, *arguments: object) -> Any:
        """What a function answers, for the tree that SQL writes."""
        marks = ", ".join(["%s"] * (len(arguments) + 1))
        row = self.sql.execute(f"SELECT {function}({marks})", [self.name, *arguments]).fetchone()
        return row[0] if row else None

    def copy(self, path: bytes, data: bytes) -> None:
        """Have crossfade's own page bring *data*, as it is when it comes from a file."""
        entry = self.copied.entry(path)
        self.copied.apply(*puts(altered(entry, form=form_of(entry.form, data[:16])), data))

    def standing(self, store_id: int, path: bytes) -> dict[str, Any]:
        """All that the database holds of a file, but its time, mode, numbers and generation."""
        columns = "entry_id, path, type, kind, form, size, records, raws, digest, within, complete, unstable, link"
        row = self.one(
            f"SELECT {columns} FROM entries WHERE store_id = %s AND key = %s", store_id, path.replace(b"/", b"\0")
        )
        entry, kind = row[0], row[3]
        promoted = "".join(f"{schema.quoted(column.name)}, " for column in self.layout.kind(kind).columns) if kind else ""
        return {
            "entry": row[1:],
            "rows": self.all(
                f"SELECT pos, {promoted} reason, body::text, raw FROM {schema.quoted(kind)}"
                " WHERE store_id = %s AND entry_id = %s ORDER BY pos",
                *(store_id, entry),
            ),
            "segments": self.all(
                "SELECT number, pos, size, digest FROM segments WHERE store_id = %s AND entry_id = %s ORDER BY number",
                *(store_id, entry),
            ),
            "chunks": self.all(
                "SELECT pos, data FROM chunks WHERE store_id = %s AND entry_id = %s ORDER BY pos", store_id, entry
            ),
        }

    def all(self, query: str, *values: object) -> list[Any]:
        """The rows of a query."""
        return self.sql.execute(query, values).fetchall()

    def one(self, query: str, *values: object) -> Any:
        """The only row of a query."""
        (row,) = self.all(query, *values)
        return row

    def agree(self, path: bytes) -> None:
        """The file at *path* stands in both trees as in the other."""
        ours, theirs = self.standing(self.written_id, path), self.standing(self.copied_id, path)
        for part in ("entry", "rows", "segments", "chunks"):
            assert ours[part] == theirs[part], (path, part)


def twins(database: Database, layout: Layout = LAYOUT) -> Twins:
    """Two new, empty trees of *layout* in *database*."""
    number = next(_NUMBER)
    recipe = claimed(database, layout, tree=f"copied_{number}", migration=f"{number:012x}")
    sql = database.connect(origin="")
    name = f"written_{number}"
    sql.execute("SELECT set_config('search_path', current_setting('search_path') || ', pg_catalog', false)")
    row = sql.execute("SELECT make_store(%s, %s)", [name, layout.name]).fetchone()
    assert row is not None
    return Twins(database, layout, Bench(recipe.open), recipe.store_id, sql, name, row[0])


def make_known(database: Database, layout: Layout) -> None:
    """A schema with the tables and functions of *layout*, and no tree."""
    ledger = Ledger(database.server, database.location.schema)
    ledger.ensure(layout.kinds)
    ledger.change(lambda connection: schema.ensure_layout(connection, database.location.schema, layout))
    ledger.close()


def lines_of(values: list[Any]) -> bytes:
    """*values* as a log."""
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)
