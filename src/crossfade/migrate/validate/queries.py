"""Real questions, asked in SQL, whose answers ``model.answers`` finds while records pass by."""

from __future__ import annotations

from typing import Any, cast

from crossfade.model.answers import LISTED, ColumnAnswer, Found, KindAnswer, filters_of
from crossfade.model.kinds import Column, Kind
from crossfade.store.backends.postgres.schema import quoted


def ask(connection: Any, schema: str, store_id: int, kind: Kind, like: KindAnswer) -> KindAnswer:
    """The database's answers about one kind, to the questions that *like* answers: it says which values are looked for."""
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
    for column in filters_of(kind):
        if column.name in like.found:
            answer.found[column.name] = _find(connection, schema, store_id, kind, column, like.found[column.name].value)
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


def _find(connection: Any, schema: str, store_id: int, kind: Kind, column: Column, value: bytes) -> Found:
    """How many records have *value*, and which are the first: by the index, where the server takes it."""
    where = f"WHERE k.store_id = %s AND k.{quoted(column.name)} = %s"
    values = [store_id, value.decode()]
    (count,) = connection.execute(f"SELECT count(*) FROM {_table(schema, kind)} k {where}".encode(), values).fetchone()
    rows = connection.execute(
        f"SELECT e.key, k.pos FROM {_table(schema, kind)} k JOIN {quoted(schema)}.entries e USING (store_id, entry_id)"
        f" {where} ORDER BY e.key, k.pos LIMIT {LISTED}".encode(),
        values,
    ).fetchall()
    return Found(value, count, [(bytes(cast("bytes", key)).replace(b"\0", b"/"), pos) for key, pos in rows])


def refused(connection: Any, schema: str, store_id: int, kind: Kind) -> bool:
    """True where some record of the kind is there only as raw bytes, because the server refused its columns."""
    query = f"SELECT 1 FROM {_table(schema, kind)} WHERE store_id = %s AND reason LIKE %s LIMIT 1"
    return connection.execute(query.encode(), [store_id, "server %"]).fetchone() is not None


def _table(schema: str, kind: Kind) -> str:
    return f"{quoted(schema)}.{quoted(kind.name)}"
