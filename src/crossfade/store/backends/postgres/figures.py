"""The figures of validation, computed in the server; and single rows, where a difference has to be located."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby, islice
from typing import Any, cast

from psycopg import sql

from crossfade.model.digests import Segment
from crossfade.model.entries import SEGMENT, Entry
from crossfade.model.figures import Figure, Row
from crossfade.model.kinds import Kind
from crossfade.store.backends.postgres.schema import quoted
from crossfade.store.backends.postgres.server import Connection
from crossfade.store.backends.postgres.statements import statement

_SPAN = 64 * SEGMENT
_STRETCHES = 500
_LEAST, _GREATEST = -(2**63), 2**63 - 1

Stretch = tuple[int, int, int, int]
"""Entry, number of the segment, and the positions of records from and to, both included."""


class ServerFigures:
    """Asks a database for the figures of one tree's entries."""

    def __init__(self, connection: Connection, schema: str, store_id: int) -> None:
        self._connection = connection
        self._schema = schema
        self._store_id = store_id

    def of(self, kind: Kind, entries: Sequence[Entry]) -> dict[int, Row]:
        """The figures of entries of one kind, by row number; none for those without records.

        Rows that stand behind the end of an entry, or before its beginning, are part of its last figure, or of its first.
        """
        pieced = self._pieced(entries)
        found = self._with_pieces(kind, [entry for entry in entries if entry.row in pieced]) if pieced else {}
        stretches = (stretch for entry in entries if entry.row not in pieced for stretch in _stretches(entry))
        while some := list(islice(stretches, _STRETCHES)):
            for row, figure in self._stretched(kind, some):
                found.setdefault(row, Row()).append(figure)
        return found

    def _stretched(self, kind: Kind, stretches: Sequence[Stretch]) -> Iterator[tuple[int, Figure]]:
        """The records of a kind's table alone."""
        values = dict(zip(("entries", "numbers", "lows", "highs"), map(list, zip(*stretches, strict=True)), strict=True))
        for row, number, offset, size, digest, records, columns, raws in cast(
            "list[tuple[int, int, int, int | None, bytes | None, int, bytes, int]]",
            self._fetch(self._of_columns("figures", kind), values),
        ):
            yield row, Figure(Segment(number, offset, size or 0, digest or b""), records, columns, raws)

    def _pieced(self, entries: Sequence[Entry]) -> set[int]:
        """Those of *entries* that have bytes in ``chunks``: long records, and records that the server refused."""
        query = (
            f"SELECT DISTINCT entry_id FROM {quoted(self._schema)}.chunks"
            " WHERE store_id = %(store_id)s AND entry_id = ANY(%(entries)s)"
        )
        return {cast("int", row) for (row,) in self._fetch(query.encode(), {"entries": [entry.row for entry in entries]})}

    def _with_pieces(self, kind: Kind, entries: Sequence[Entry]) -> dict[int, Row]:
        """Records and pieces together, in the order of their places; those of one length in spans at a time."""
        found: dict[int, Row] = {}
        for count, group in groupby(sorted(entries, key=_spans), key=_spans):
            rows = [entry.row for entry in group]
            for number in range(count):
                low, high = number * _SPAN or _LEAST, (number + 1) * _SPAN - 1 if number + 1 < count else _GREATEST
                for row, figure in self._in_span(kind, {"entries": rows, "segment": SEGMENT, "low": low, "high": high}):
                    found.setdefault(row, Row()).append(figure)
        return found

    def _in_span(self, kind: Kind, values: dict[str, Any]) -> Iterator[tuple[int, Figure]]:
        columns = {(row, number): (count, digest, raws) for row, number, count, digest, raws in self._columns(kind, values)}
        for row, number, offset, size, digest in self._content(kind, values):
            count, of_columns, raws = columns.get((row, number), (0, b"", 0))
            yield row, Figure(Segment(number, offset, size, digest), count, of_columns, raws)

    def _content(self, kind: Kind, values: dict[str, Any]) -> list[tuple[int, int, int, int, bytes]]:
        return cast(
            "list[tuple[int, int, int, int, bytes]]",
            self._fetch(statement("figure_content", self._schema, kind.name), values),
        )

    def _columns(self, kind: Kind, values: dict[str, Any]) -> list[tuple[int, int, int, bytes, int]]:
        return cast("list[tuple[int, int, int, bytes, int]]", self._fetch(self._of_columns("figure_columns", kind), values))

    def _of_columns(self, name: str, kind: Kind) -> bytes:
        text = statement(name, self._schema, kind.name).decode()
        return text.replace("{columns}", _names(kind)).replace("{wrong}", _wrong(kind)).encode()

    def rows(self, kind: Kind, entry: Entry, low: int, high: int) -> Iterator[tuple[int, str | None, bytes]]:
        """(pos, reason, row as sent) of the records that start in a stretch."""
        values = {"entry": entry.row, "low": low, "high": high}
        yield from cast("Any", self._fetch(self._of_columns("figure_rows", kind), values))

    def _fetch(self, query: bytes | sql.Composed, values: dict[str, Any]) -> list[tuple[object, ...]]:
        with self._connection.cursor(binary=True) as cursor:
            return cursor.execute(query, {**values, "store_id": self._store_id}).fetchall()


def _spans(entry: Entry) -> int:
    """In how many spans an entry is looked at; what stands behind its end is looked at with the last."""
    return -(-max(entry.size, 1) // _SPAN)


def _stretches(entry: Entry) -> Iterator[Stretch]:
    """The segments of an entry: the first begins, and the last ends, wherever there are rows."""
    last = max(entry.size - 1, 0) // SEGMENT
    for number in range(last + 1):
        low = number * SEGMENT if number else _LEAST
        yield entry.row, number, low, (number + 1) * SEGMENT - 1 if number < last else _GREATEST


def _names(kind: Kind) -> str:
    return "".join(quoted(column.name) + ", " for column in kind.columns)


def _wrong(kind: Kind) -> str:
    """True of a row that says why it is raw without being so, or is so without saying why: ``misplaced``, as no reader says."""
    return "body IS NOT NULL" if kind.form == "blob" else "(body IS NULL) = (reason IS NULL)"


def by_kind(entries: Sequence[Entry]) -> Iterator[tuple[str, list[Entry]]]:
    """*entries* in groups of one kind each."""
    for kind, group in groupby(sorted(entries, key=lambda entry: entry.kind), key=lambda entry: entry.kind):
        yield kind, list(group)
