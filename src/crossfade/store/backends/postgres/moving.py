"""Moving entries within one page: their rows stay as they are, and what is known of them goes along.

All moves of a page happen at once. Where somebody moves away a tombstone stays, as after a removal; what stood where
somebody arrives is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, cast

from psycopg import sql

from crossfade.model.changes import Move
from crossfade.model.entries import Entry, altered
from crossfade.model.paths import key_of, path_of, text_of
from crossfade.store.backends.postgres.arrays import numbers, octets
from crossfade.store.backends.postgres.names import quoted
from crossfade.store.backends.postgres.server import Connection
from crossfade.store.backends.postgres.statements import statement

Clear = Callable[[list[Entry]], None]
"""Takes away the records of entries."""


def move(
    connection: Connection, schema: str, store_id: int, migration: str, moves: Sequence[Move], clear: Clear
) -> list[Entry]:
    """Carry out *moves*, in the caller's transaction; the entries as they stand then, but for their marks."""
    if not moves:
        return []
    there = _standing(connection, schema, store_id, moves)
    away, to = {move.before.path for move in moves}, {move.entry.path for move in moves}
    room = [entry for path, entry in there.items() if path not in away]
    assert all(entry.type != "dir" for entry in room), "nothing takes the place of a directory"
    clear([entry for entry in room if entry.type != "gone"])
    moved = [_moved(move, there.get(move.entry.path)) for move in moves]
    left = _left_behind(connection, schema, [there[path] for path in sorted(away - to)], [entry.row for entry in room])
    values: dict[str, Any] = {"store_id": store_id}
    rows = [entry.row for entry in there.values()]
    connection.execute(statement("move_park", schema), {**values, "entries": numbers(rows)})
    connection.execute(statement("move_place", schema), {**values, **_columns(moved)})
    if left:
        connection.execute(statement("move_leave", schema), {**values, **_columns(left)})
    _tell_others(connection, schema, migration, there, [*moved, *left], left)
    return moved


def _standing(connection: Connection, schema: str, store_id: int, moves: Sequence[Move]) -> dict[bytes, Entry]:
    """What stands where entries move away from, and where they arrive, by path."""
    keys = octets(key_of(path) for path in dict.fromkeys(p for move in moves for p in (move.before.path, move.entry.path)))
    rows = connection.execute(statement("move_look", schema), {"store_id": store_id, "keys": keys}).fetchall()
    found = {
        path_of(row[1]): Entry(path_of(row[1]), type=row[2], kind=row[3], form=row[4], generation=row[5], row=row[0])
        for row in cast("list[Any]", rows)
    }
    for move in moves:
        assert found[move.before.path].row == move.before.row, "what is moved must stand where it is said to"
    return found


def _moved(move: Move, there: Entry | None) -> Entry:
    generation = max(move.before.generation, there.generation if there else 0) + 1
    return altered(move.entry, row=move.before.row, generation=generation)


def _left_behind(connection: Connection, schema: str, gone: list[Entry], free: list[int]) -> list[Entry]:
    """Tombstones for *gone*, in the rows that are *free*, and in new ones."""
    missing = max(len(gone) - len(free), 0)
    query = "SELECT nextval(pg_get_serial_sequence(%s, 'entry_id')) FROM generate_series(1, %s)"
    new = connection.execute(query, [f"{quoted(schema)}.entries", missing]).fetchall() if missing else []
    rows = [*islice(free, len(gone)), *(cast("int", number) for (number,) in new)]
    return [
        altered(entry, type="gone", generation=entry.generation + 1, row=row) for entry, row in zip(gone, rows, strict=True)
    ]


def _columns(entries: list[Entry]) -> dict[str, Any]:
    return {
        "entry_id": numbers(entry.row for entry in entries),
        "key": octets(key_of(entry.path) for entry in entries),
        "path": [text_of(entry.path) for entry in entries],
        "kind": [entry.kind for entry in entries],
        "form": [entry.form for entry in entries],
        "generation": [entry.generation for entry in entries],
        "mode": [entry.mode for entry in entries],
        "mtime_ns": numbers(entry.mtime_ns for entry in entries),
    }


def _tell_others(
    connection: Connection, schema: str, migration: str, there: dict[bytes, Entry], now: list[Entry], left: list[Entry]
) -> None:
    """Marks of other migrations stay with the paths; items in quarantine go with the entries."""
    pairs = [(there[entry.path].row, entry.row) for entry in now if entry.path in there]
    marks = {"before": numbers(old for old, _ in pairs), "now": numbers(new for _, new in pairs)}
    marks |= {"left": numbers(entry.row for entry in left), "migration": migration}
    connection.execute(statement("move_marks", schema), marks)
    back = sql.SQL("UPDATE {}.marks SET entry_id = -entry_id WHERE entry_id = ANY(%s::bigint[])")
    connection.execute(back.format(sql.Identifier(schema)), [numbers(-entry.row for entry in now)])
    for key, path in (("'\\x00'::bytea || convert_to(q.item_id::text, 'UTF8')", "q.path"), ("e.key", "e.path")):
        items = (
            f"UPDATE {quoted(schema)}.quarantine q SET key = {key}, path = {path} FROM {quoted(schema)}.entries e"
            " WHERE q.entry_id = ANY(%s::bigint[]) AND e.entry_id = q.entry_id"
        )
        connection.execute(items.encode(), [numbers(entry.row for entry in now)])
