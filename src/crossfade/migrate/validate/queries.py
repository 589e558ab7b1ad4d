"""Real questions, asked of both sides: how many, how many with, the least, the greatest, which ones.

A database answers in SQL; files answer while they are read. Both answers have the same form, so that they can be compared.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from crossfade.model.figures import NULL, Record
from crossfade.model.kinds import Column, Kind
from crossfade.store.backends.postgres.schema import quoted

_INT = struct.Struct("!q")
LISTED = 10


@dataclass
class ColumnAnswer:
    """Aggregates of one column: values present, least, greatest (text bytewise; numbers; true counts as 1)."""

    present: int = 0
    least: bytes | int | None = None
    greatest: bytes | int | None = None

    def merge(self, other: ColumnAnswer) -> None:
        self.present += other.present
        known: list[Any] = [v for v in (self.least, self.greatest, other.least, other.greatest) if v is not None]
        self.least, self.greatest = min(known, default=None), max(known, default=None)


@dataclass
class KindAnswer:
    """What a kind's records say. ``found`` counts, for an indexed column, the records that have the chosen value;
    ``listed`` are the first of them, as (path, offset)."""

    records: int = 0
    raw: int = 0
    columns: dict[str, ColumnAnswer] = field(default_factory=dict)
    found: dict[str, int] = field(default_factory=dict)
    listed: dict[str, list[tuple[bytes, int]]] = field(default_factory=dict)

    def merge(self, other: KindAnswer) -> None:
        """Add what a later batch, in key order, says."""
        self.records += other.records
        self.raw += other.raw
        for name, answer in other.columns.items():
            self.columns.setdefault(name, ColumnAnswer()).merge(answer)
        for name, count in other.found.items():
            self.found[name] = self.found.get(name, 0) + count
            self.listed[name] = (self.listed.get(name, []) + other.listed.get(name, []))[:LISTED]

    def differs(self, other: KindAnswer) -> list[str]:
        """The questions that are answered differently."""
        wrong = [name for name in ("records", "raw") if getattr(self, name) != getattr(other, name)]
        for name in sorted(set(self.columns) | set(other.columns)):
            same = self.columns.get(name, ColumnAnswer()) == other.columns.get(name, ColumnAnswer())
            wrong += [] if same else [f"aggregates of {name}"]
        for name in sorted(set(self.found) | set(other.found)):
            if self.found.get(name, 0) != other.found.get(name, 0):
                wrong.append(f"count by {name}")
            elif self.listed.get(name, []) != other.listed.get(name, []):
                wrong.append(f"list by {name}")
        return wrong


def filters_of(kind: Kind) -> list[Column]:
    """The text columns that lead an index: what people filter by."""
    names = {index[0] for index in kind.indexes}
    return [column for column in kind.columns if column.name in names and column.type == "text"]


class Answering:
    """Answers for records that pass by. *chosen* is the value to filter each leading column by, as bytes."""

    def __init__(self, kind: Kind, chosen: dict[str, bytes]) -> None:
        self._kind = kind
        self._chosen = [(i, c.name, chosen[c.name]) for i, c in enumerate(kind.columns) if c.name in chosen]
        self.answer = KindAnswer(found={name: 0 for _, name, _ in self._chosen})

    def take(self, path: bytes, records: Sequence[Record]) -> None:
        """Count the records of one block."""
        self.answer.records += len(records)
        self.answer.raw += sum(1 for record in records if record.reason is not None)
        if records:
            for column, values in zip(self._kind.columns, zip(*[r.fields for r in records], strict=True), strict=True):
                part = _aggregate(column, [value[4:] for value in values if value != NULL])
                self.answer.columns.setdefault(column.name, ColumnAnswer()).merge(part)
        for index, name, value in self._chosen:
            places = [
                (path, record.pos)
                for record in records
                if record.fields[index][4:] == value and record.fields[index] != NULL
            ]
            self.answer.found[name] += len(places)
            if places and len(self.answer.listed.setdefault(name, [])) < LISTED:
                self.answer.listed[name] = (self.answer.listed[name] + places)[:LISTED]


def _aggregate(column: Column, values: list[bytes]) -> ColumnAnswer:
    if not values:
        return ColumnAnswer()
    if column.type == "text":
        return ColumnAnswer(len(values), min(values), max(values))
    numbers: list[Any] = [value[0] if column.type == "boolean" else _INT.unpack(value)[0] for value in values]
    return ColumnAnswer(len(numbers), min(numbers), max(numbers))


def ask_values(connection: Any, schema: str, store_id: int, kind: Kind) -> dict[str, bytes]:
    """For each leading column, a value that is there: the greatest."""
    columns = filters_of(kind)
    if not columns:
        return {}
    greatest = ", ".join(f'max({quoted(column.name)} COLLATE "C")' for column in columns)
    row = connection.execute(
        f"SELECT {greatest} FROM {_table(schema, kind)} WHERE store_id = %s".encode(), [store_id]
    ).fetchone()
    return {column.name: value.encode() for column, value in zip(columns, row, strict=True) if value is not None}


def ask(connection: Any, schema: str, store_id: int, kind: Kind, chosen: dict[str, bytes]) -> KindAnswer:
    """The database's answers about one kind."""
    answer = KindAnswer()
    parts = ["count(*)", "count(reason)"]
    for column in kind.columns:
        parts += [f"count({quoted(column.name)})", *_extremes(column)]
    query = f"SELECT {', '.join(parts)} FROM {_table(schema, kind)} WHERE store_id = %s"
    row = list(connection.execute(query.encode(), [store_id]).fetchone())
    answer.records, answer.raw = row[0], row[1]
    for number, column in enumerate(kind.columns):
        present, least, greatest = row[2 + 3 * number : 5 + 3 * number]
        if present:
            answer.columns[column.name] = ColumnAnswer(present, _comparable(least), _comparable(greatest))
    for name, value in chosen.items():
        _ask_filter(connection, schema, store_id, kind, (name, value), answer)
    return answer


def _extremes(column: Column) -> list[str]:
    name = quoted(column.name)
    if column.type == "text":
        return [f'min({name} COLLATE "C")', f'max({name} COLLATE "C")']
    if column.type == "boolean":
        return [f"min({name}::int)", f"max({name}::int)"]
    if column.type == "timestamp":
        micros = "(extract(epoch FROM {}({}) - '2000-01-01Z'::timestamptz) * 1000000)::bigint"
        return [micros.format("min", name), micros.format("max", name)]
    return [f"min({name})", f"max({name})"]


def _comparable(value: Any) -> Any:
    return value.encode() if isinstance(value, str) else value


def _ask_filter(
    connection: Any, schema: str, store_id: int, kind: Kind, wanted: tuple[str, bytes], answer: KindAnswer
) -> None:
    name, value = wanted
    where = f"WHERE k.store_id = %s AND k.{quoted(name)} = %s"
    values = [store_id, value.decode()]
    count = connection.execute(f"SELECT count(*) FROM {_table(schema, kind)} k {where}".encode(), values).fetchone()
    answer.found[name] = count[0]
    rows = connection.execute(
        f"SELECT e.key, k.pos FROM {_table(schema, kind)} k JOIN {quoted(schema)}.entries e USING (store_id, entry_id)"
        f" {where} ORDER BY e.key, k.pos LIMIT {LISTED}".encode(),
        values,
    ).fetchall()
    if rows:
        answer.listed[name] = [(bytes(cast("bytes", key)).replace(b"\0", b"/"), pos) for key, pos in rows]


def _table(schema: str, kind: Kind) -> str:
    return f"{quoted(schema)}.{quoted(kind.name)}"
