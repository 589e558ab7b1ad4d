"""What a validation has found so far, kept in the database: one that was interrupted goes on where it stopped.

What was found is of use for a day, for the same pair, the same options and what was held back then, and up to the first path that
changed since: on either side's list, or in the rows themselves. For that several states are kept, each a stretch behind the one
before. It was found when the first of them was begun, whoever goes on with it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec

from crossfade.migrate.validate.sides import Sides
from crossfade.migrate.validate.validator import Findings, listed
from crossfade.model.entries import Entry
from crossfade.model.paths import key_of
from crossfade.store.backends.postgres.ledger import Ledger
from crossfade.store.backends.postgres.schema import quoted
from crossfade.store.backends.postgres.server import Connection
from crossfade.store.registry import DatabaseRecipe

_SECONDS = 2.0
_PINS = 8
_USEFUL_HOURS = 24


class Footing(msgspec.Struct, frozen=True):
    """How rows stood in one tree when a validation began: the oldest transaction that was not over, and how many rows there were."""

    transaction: str
    rows: dict[str, int]


class State(msgspec.Struct):
    """What is kept: how the rows stood, what was held back, as a hash, and findings, the newest last."""

    footings: list[Footing]
    held: str
    pins: list[msgspec.Raw]


class Memory:
    """Remembers findings every few seconds. *held* is a hash over what is held back.

    ``basis`` is the time before the first of them, by the clock of the database where they are kept; None until ``begin``.
    """

    def __init__(self, sides: Sides, options: str, held: str) -> None:
        self._ledger = sides.ledger
        self._trees = list(_trees(sides))
        self._pair = f"{sides.source.url} {sides.target.url} {sides.store_id}"
        self._options = options
        self._held = held
        self.basis: datetime | None = None
        self._state: State | None = None
        self._last = time.monotonic()
        self._pause = _SECONDS
        self._stride = 1

    def recall(self, both: Iterator[tuple[Entry | None, Entry | None]]) -> Findings:
        """Where an interrupted validation stood, up to the first change; new findings where there is none. *both* are the inventories."""
        kept = self._read()
        if kept is None or kept[0].held != self._held:
            return Findings()
        state, basis = kept
        pins = [msgspec.json.decode(pin, type=Findings) for pin in state.pins]
        found = _still_true(pins, self._first_change(state), both)
        if found is None:
            return Findings()
        self._state, self.basis = State(state.footings, self._held, state.pins[: pins.index(found) + 1]), basis
        found.waypoints = [point for point in pins[-1].waypoints if point[0] <= found.rooted]
        return found

    def keep(self, findings: Findings, *, at_once: bool = False) -> None:
        """Write *findings* down, if it was a while ago."""
        self.begin()
        assert self._state is not None
        if at_once or time.monotonic() - self._last >= self._pause:
            began = time.monotonic()
            self._write(self._state, findings)
            self._last = time.monotonic()
            self._pause = max(_SECONDS, 20 * (self._last - began))

    def begin(self) -> None:
        """Note how the rows stand, before anything is compared."""
        if self._state is None:
            self.basis = self._ledger.now()
            self._state = State([footing(*tree) for tree in self._trees], self._held, [])

    def forget(self) -> None:
        """It is done: the next one begins anew."""
        self._state = None
        query = f"DELETE FROM {self._table()} WHERE pair = %s AND options = %s"
        self._ledger.change(lambda connection: connection.execute(query.encode(), [self._pair, self._options]))

    def close(self) -> None:
        """Let go of what was opened for it."""
        for ledger, _, _ in self._trees:
            if ledger is not self._ledger:
                ledger.close()

    def _read(self) -> tuple[State, datetime] | None:
        query = (
            f"SELECT state, basis FROM {self._table()} WHERE pair = %s AND options = %s"
            " AND updated_at > clock_timestamp() - make_interval(hours => %s)"
        )
        values = [self._pair, self._options, _USEFUL_HOURS]
        row: Any = self._ledger.change(lambda connection: connection.execute(query.encode(), values).fetchone())
        try:
            return (msgspec.json.decode(str(row[0]), type=State), row[1]) if row else None
        except msgspec.ValidationError:  # of another release
            return None

    def _write(self, state: State, findings: Findings) -> None:
        bare = msgspec.json.encode(findings)
        query = (
            f"INSERT INTO {self._table()} (pair, options, state, basis) VALUES (%s, %s, %s, %s)"
            " ON CONFLICT (pair, options) DO UPDATE"
            " SET state = excluded.state, basis = excluded.basis, updated_at = clock_timestamp()"
        )
        text = msgspec.json.encode(State(state.footings, state.held, [*state.pins, msgspec.Raw(bare)])).decode()
        values = [self._pair, self._options, text, self.basis]
        self._ledger.change(lambda connection: connection.execute(query.encode(), values))
        self._pin(state, findings)

    def _pin(self, state: State, findings: Findings) -> None:
        """Keep this state beside the newest: fewer of them, and farther apart, the longer it takes."""
        if findings.entries // self._stride > len(state.pins):
            points, findings.waypoints = findings.waypoints, []
            state.pins.append(msgspec.Raw(msgspec.json.encode(findings)))
            findings.waypoints = points
        if len(state.pins) > _PINS:
            state.pins[:] = state.pins[1::2]
            self._stride = max(findings.entries // len(state.pins), 1)

    def _first_change(self, state: State) -> bytes | None:
        """The key of the first entry whose rows changed since; b"" where nobody knows which."""
        changes = [first_change(*tree, footing) for tree, footing in zip(self._trees, state.footings, strict=False)]
        return min((key for key in changes if key is not None), default=None)

    def _table(self) -> str:
        return f"{quoted(self._ledger.schema)}.validations"


def _still_true(
    pins: list[Findings], changed: bytes | None, both: Iterator[tuple[Entry | None, Entry | None]]
) -> Findings | None:
    """The last of *pins* before the first change: of the rows of the entry with the key *changed*, or of what the lists say."""
    useful = [p for p in pins if p.after is not None and (changed is None or key_of(p.after) < changed)]
    inventory, found = Findings().inventory, None
    for one, other in both:
        while useful and key_of(useful[0].after or b"") < _key(one, other):
            if useful[0].inventory != inventory:
                return found
            found = useful.pop(0)
        if not useful:
            return found
        inventory = listed(inventory, one, other)
    return useful[0] if useful and useful[0].inventory == inventory else found


def _key(one: Entry | None, other: Entry | None) -> bytes:
    return min(key_of(entry.path) for entry in (one, other) if entry is not None)


Tree = tuple[Ledger, int, list[str]]
"""A ledger, a tree's number, and its kinds."""


def _trees(sides: Sides) -> Iterator[Tree]:
    """The trees of a pair that are in a database."""
    yield sides.asked, sides.asks.store_id, [kind.name for kind in sides.layout.kinds]
    if isinstance(sides.reads, DatabaseRecipe):
        ledger = Ledger(sides.reads.server, sides.reads.location.schema)
        ledger.patience_seconds = sides.ledger.patience_seconds
        yield ledger, sides.reads.store_id, [kind.name for kind in sides.reads.layout.kinds]


def footing(ledger: Ledger, store_id: int, kinds: list[str]) -> Footing:
    """How the rows of a tree stand."""

    def work(connection: Connection) -> Footing:
        row = connection.execute("SELECT pg_snapshot_xmin(pg_current_snapshot())::text").fetchone()
        assert row is not None
        rows = {}
        for table in (*kinds, "chunks"):
            query = f"SELECT count(*) FROM {quoted(ledger.schema)}.{quoted(table)} WHERE store_id = %s"
            found = connection.execute(query.encode(), [store_id]).fetchone()
            rows[table] = int(str(found[0])) if found else 0
        return Footing(str(row[0]), rows)

    return ledger.change(work)


def first_change(ledger: Ledger, store_id: int, kinds: list[str], since: Footing) -> bytes | None:
    """The key of the first entry that got rows *since*; b"" where rows went. None where all stand as they stood."""

    def work(connection: Connection) -> list[bytes]:
        changes = []
        for table in (*kinds, "chunks"):
            query = (
                "SELECT count(*) FILTER (WHERE NOT is_new), decode(min(hex COLLATE \"C\") FILTER (WHERE is_new), 'hex') FROM"
                " (SELECT age(k.xmin) <= age(%s::xid8::xid) AS is_new, encode(e.key, 'hex') AS hex"
                f" FROM {quoted(ledger.schema)}.{quoted(table)} k"
                f" LEFT JOIN {quoted(ledger.schema)}.entries e USING (store_id, entry_id) WHERE k.store_id = %s) AS rows"
            )
            row: Any = connection.execute(query.encode(), [since.transaction, store_id]).fetchone()
            changes += [b""] if row[0] != since.rows.get(table, 0) else [bytes(row[1])] if row[1] is not None else []
        return changes

    return min(ledger.change(work), default=None)
