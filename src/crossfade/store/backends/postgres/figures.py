"""The figures of validation, computed in the server; and single rows, where a difference has to be located."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, cast

from psycopg import sql

from crossfade.model.digests import Segment
from crossfade.model.entries import SEGMENT, Entry
from crossfade.model.figures import Figure
from crossfade.model.kinds import Kind
from crossfade.store.backends.postgres.schema import quoted
from crossfade.store.backends.postgres.server import Connection
from crossfade.store.backends.postgres.statements import statement

_SPAN = 64 * SEGMENT


class ServerFigures:
    """Asks a database for the figures of one tree's entries."""

    def __init__(self, connection: Connection, schema: str, store_id: int) -> None:
        self._connection = connection
        self._schema = schema
        self._store_id = store_id

    def of(self, kind: Kind, entries: Sequence[Entry]) -> dict[int, tuple[Figure, ...]]:
        """The figures of entries of one kind, by row number; none for those without bytes."""
        found: dict[int, list[Figure]] = {}
        for low in range(0, max((max(entry.size, 1) for entry in entries), default=0), _SPAN):
            rows = [entry.row for entry in entries if max(entry.size, 1) > low]
            values = {"entries": rows, "segment": SEGMENT, "low": low, "high": low + _SPAN}
            columns = {(row, number): (count, digest) for row, number, count, digest in self._columns(kind, values)}
            for row, number, offset, size, digest in self._content(kind, values):
                count, of_columns = columns.get((row, number), (0, b""))
                figure = Figure(Segment(number, offset, size, digest), count, of_columns)
                found.setdefault(row, []).append(figure)
        return {row: tuple(figures) for row, figures in found.items()}

    def _content(self, kind: Kind, values: dict[str, Any]) -> list[tuple[int, int, int, int, bytes]]:
        return cast(
            "list[tuple[int, int, int, int, bytes]]",
            self._fetch(statement("figure_content", self._schema, kind.name), values),
        )

    def _columns(self, kind: Kind, values: dict[str, Any]) -> list[tuple[int, int, int, bytes]]:
        text = statement("figure_columns", self._schema, kind.name).decode()
        text = text.replace("{columns}", _names(kind)).replace("{reason}", _reason(kind))
        return cast("list[tuple[int, int, int, bytes]]", self._fetch(text.encode(), values))

    def rows(self, kind: Kind, entry: Entry, low: int, high: int) -> Iterator[tuple[int, str | None, bytes]]:
        """(pos, reason, row as sent) of the records that start in a stretch."""
        table = f"{quoted(self._schema)}.{quoted(kind.name)}"
        query = (
            f"SELECT pos, reason, record_send(ROW(pos, {_names(kind)} {_reason(kind)})) FROM {table}"
            " WHERE store_id = %(store_id)s AND entry_id = %(entry)s AND pos >= %(low)s AND pos < %(high)s ORDER BY pos"
        )
        yield from cast("Any", self._fetch(query.encode(), {"entry": entry.row, "low": low, "high": high}))

    def _fetch(self, query: bytes | sql.Composed, values: dict[str, Any]) -> list[tuple[object, ...]]:
        with self._connection.cursor(binary=True) as cursor:
            return cursor.execute(query, {**values, "store_id": self._store_id}).fetchall()


def _names(kind: Kind) -> str:
    return "".join(quoted(column.name) + ", " for column in kind.columns)


def _reason(kind: Kind) -> str:
    """Why a record is raw; and where it says so without being so, or is so without saying so, a word that no reader says."""
    wrong = "body IS NOT NULL" if kind.form == "blob" else "(body IS NULL) = (reason IS NULL)"
    return f"CASE WHEN {wrong} THEN 'misplaced' ELSE reason END"


def by_kind(entries: Sequence[Entry]) -> Iterator[tuple[str, list[Entry]]]:
    """*entries* in groups of one kind each."""
    for kind, group in groupby(sorted(entries, key=lambda entry: entry.kind), key=lambda entry: entry.kind):
        yield kind, list(group)
