"""Control state, beside the data: which migrations there are, how far they are, what they hold in quarantine.

The ledger belongs to the process that runs or watches a migration. Pages do not pass through it: their positions commit
with their data. For a target that is files, it keeps the marks.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, TypeVar, cast

import psycopg
from psycopg import sql

from crossfade.model import layouts
from crossfade.model.entries import Entry
from crossfade.model.kinds import Kind
from crossfade.observe.failpoints import durable
from crossfade.store.backends.postgres import indexes, journal, leases, marks, route, schema, wishes
from crossfade.store.backends.postgres.journal import Line
from crossfade.store.backends.postgres.names import within
from crossfade.store.backends.postgres.server import Connection, Server, plain_errors
from crossfade.store.backends.postgres.session import Session
from crossfade.store.backends.postgres.statements import statement
from crossfade.store.patience import Patience, patiently
from crossfade.store.port import Refusal

T = TypeVar("T")


@dataclass(frozen=True)
class StoreRow:
    """One tree of the schema."""

    store_id: int
    name: str
    origin: str
    layout_name: str
    layout: str
    fingerprint: str


@dataclass(frozen=True)
class MigrationRow:
    """One migration as it is written down. ``kinds`` is None for all of them.

    ``proved_at`` says up to when the last proof holds; a validation that found a difference takes it away, not the ``report``.

    ``reversed`` is set while the target has the authority, and the source follows it; ``cut`` are the kinds for which it is
    the other way round.
    """

    migration: str
    store_id: int
    source: str
    target: str
    plan: dict[str, Any]
    kinds: list[str] | None
    phase: str
    reversed: bool
    cut: list[str] | None
    progress: dict[str, Any] | None
    report: dict[str, Any] | None
    proved_at: datetime | None
    verified_at: datetime | None
    created_at: datetime
    updated_at: datetime
    wanted: dict[str, Any]

    @property
    def was_proved(self) -> bool:
        """True where a first copy came to its end, whatever was found since."""
        return self.report is not None or self.proved_at is not None


@dataclass(frozen=True)
class KindTotals:
    """What a tree holds of one kind."""

    kind: str
    entries: int
    bytes: int
    records: int
    raws: int
    incomplete: int


@dataclass(frozen=True)
class Item:
    """One item in quarantine."""

    item: int
    path: str
    key: bytes
    kind: str
    entry: int | None
    pos: int | None
    size: int
    code: str
    state: str
    since: datetime


class Ledger:
    """The control state in one schema. One connection, reopened when it breaks; not for use by two threads.

    ``patience_seconds`` is how long a fault that passes is waited for; none until a run has begun. ``tell`` hears of each, and may
    raise to end the waiting. The server knows the session by its *purpose*. ``answer_seconds`` is how long one exchange may take,
    after which the line counts as broken; None is as long as it takes.
    """

    def __init__(self, server: Server, schema_name: str, purpose: str = "ledger") -> None:
        self.server = server
        self._purpose = purpose
        self.schema = schema_name
        self.patience_seconds = 0.0
        self.answer_seconds: float | None = None
        self.tell: Callable[[BaseException], None] = lambda _: None
        self._connection: Session | None = None

    # Schema

    def version(self) -> int | None:
        """The schema's version, None where there is none."""
        return self._run(lambda c: schema.present_version(c, self.schema))

    def ensure(self, kinds: tuple[Kind, ...] = ()) -> None:
        """Make the schema and the tables of *kinds*, where they are missing."""

        def work(connection: Connection) -> None:
            schema.ensure(connection, self.schema)
            schema.ensure_kinds(connection, self.schema, kinds)

        self._run(work, name="postgres.schema")

    def long_builds(self, kind: Kind) -> list[str]:
        """Those of a kind's indexes that are left to build and long to build, to be built side by side."""
        return self._run(lambda c: indexes.long_builds(c, self.schema, kind))

    def build_index(self, text: str) -> None:
        """Build one index, if it is not there."""
        self._run(lambda c: indexes.build_one(c, text), name="postgres.index")

    def build_indexes(self, kind: Kind) -> bool:
        """Build what a first load left out; False when there was nothing to do. ANALYZE follows."""
        return self._run(lambda c: indexes.build(c, self.schema, kind), name="postgres.index")

    def analyze_entries(self) -> None:
        """After a first load: the planner hears of the entries, too."""
        self._run(lambda c: indexes.analyze_entries(c, self.schema), name="postgres.index")

    # Stores and migrations

    def stores(self) -> list[StoreRow]:
        """Every tree in the schema, by name."""
        query = self._sql("SELECT store_id, name, origin, layout_name, layout, fingerprint FROM {}.stores ORDER BY name")
        return [StoreRow(*cast("Any", row)) for row in self._rows(query)]

    def add_store(self, name: str, origin: str, layout_name: str, layout: str, fingerprint: str) -> int:
        """Write down a tree that is the copy of *origin*, with its layout for the functions of the schema; its number."""
        query = self._sql(
            "INSERT INTO {}.stores (name, origin, layout_name, layout, fingerprint) VALUES (%s, %s, %s, %s, %s) RETURNING store_id"
        )

        def work(connection: Connection) -> int:
            schema.ensure_layout(connection, self.schema, layouts.parse(layout, source=layout_name))
            row = connection.execute(query, [name, origin, layout_name, layout, fingerprint]).fetchone()
            number = cast("int", row[0]) if row else 0
            route.open_route(connection, self.schema, number, "elsewhere")
            return number

        return self._run(work, name="postgres.claim")

    def migrations(self) -> list[MigrationRow]:
        """Every migration that this schema knows, oldest first."""
        query = self._sql(
            "SELECT migration_id, store_id, source, target, plan, kinds, phase, reversed, cut, progress, report, proved_at, verified_at, created_at, updated_at, wanted"
            " FROM {}.migrations ORDER BY created_at, migration_id"
        )
        return [MigrationRow(*cast("Any", row)) for row in self._rows(query)]

    def claim(self, row: dict[str, Any], kinds: list[str] | None) -> int:
        """Write the migration down, with *kinds* and what is wanted of it, or find it; become its runner. The epoch. Raises
        RunnerActive, and PhaseForbids while paused, but to repair.
        """
        insert = self._sql(
            "INSERT INTO {0}.migrations (migration_id, store_id, source, target, plan, kinds, phase, wanted)"
            " VALUES (%(migration)s, %(store_id)s, %(source)s, %(target)s, %(plan)s, %(kinds)s, 'planned', %(wanted)s)"
            " ON CONFLICT (migration_id) DO NOTHING"
        )
        texts = {"plan": json.dumps(row["plan"]), "wanted": json.dumps(row.get("wanted", {}))}
        values = {**row, **texts, "kinds": None if kinds is None else json.dumps(kinds)}

        def work(connection: Connection) -> int:
            connection.execute(insert, values)
            leases.refuse_another(connection, self.schema, row)
            epoch = leases.take(connection, self.schema, row["migration"])
            if row.get("verb") != "repair":  # which moves nothing: what a crash left does not wait for a pause to end
                wishes.refuse_paused(wishes.read(connection, self.schema, row["migration"]), row["migration"])
            reason = f"to {row.get('verb', 'start')}"
            line = Line("claimed", {"epoch": epoch, "plan": row["plan"]}, reason)  # each try is a claim of its own
            journal.append(connection, self.schema, row["migration"], line)
            return epoch

        return self._run(work, name="postgres.claim")

    def move_kinds(self, migration: str, epoch: int, kinds: frozenset[str] | None) -> None:
        """Have the migration move *kinds* from now on, None for all. Not by a runner that was replaced."""
        self._set("kinds = %s", None if kinds is None else json.dumps(sorted(kinds)), migration, epoch)

    def keep_to(self, migration: str, epoch: int, wanted: dict[str, Any]) -> None:
        """Have the migration keep to *wanted*, beside what was wished before. Not by a runner that was replaced."""
        self._set("wanted = m.wanted || %s::jsonb", json.dumps(wanted), migration, epoch)

    def _set(self, change: str, value: str | None, migration: str, epoch: int) -> None:
        query = self._sql(
            f"UPDATE {{0}}.migrations m SET {change} FROM {{0}}.leases l"
            " WHERE m.migration_id = %s AND l.migration_id = m.migration_id AND l.epoch = %s"
        )
        self._run(lambda c: c.execute(query, [value, migration, epoch]), name="postgres.ledger")

    def renew(self, migration: str, epoch: int) -> bool:
        """Hold the lease for another term."""
        return self._run(lambda c: leases.renew(c, self.schema, migration, epoch))

    def release(self, migration: str, epoch: int) -> None:
        """Give the lease back."""
        self._run(lambda c: leases.release(c, self.schema, migration, epoch))

    def runner(self, migration: str) -> leases.Runner | None:
        """Who runs it now."""
        return self._run(lambda c: leases.holder_of(c, self.schema, migration))

    def phase(self, migration: str, phase: str, event: str, detail: dict[str, Any], reason: str = "") -> str:
        """Enter *phase*, with its line in the journal, as one; the phase before. No proof outlives that the sides differ."""
        query = self._sql(
            "UPDATE {0}.migrations m SET phase = %s, proved_at = CASE WHEN %s THEN NULL ELSE m.proved_at END,"
            " updated_at = clock_timestamp()"
            " FROM (SELECT migration_id, phase FROM {0}.migrations WHERE migration_id = %s FOR UPDATE) before"
            " WHERE m.migration_id = before.migration_id RETURNING before.phase"
        )
        line = Line(event, detail, reason)

        def work(connection: Connection) -> str:
            row = connection.execute(query, [phase, phase == "different", migration]).fetchone()
            journal.append(connection, self.schema, migration, line)
            return str(row[0]) if row else ""

        return self._run(work, name="postgres.ledger")

    def note(self, migration: str, event: str, detail: dict[str, Any], reason: str = "") -> None:
        """One line in the journal."""
        line = Line(event, detail, reason)
        self._run(lambda c: journal.append(c, self.schema, migration, line), name="postgres.ledger")

    def progress(self, migration: str, progress: dict[str, Any]) -> dict[str, Any]:
        """Write down what ``status`` shows from another terminal; what was wished there."""
        query = self._sql(
            "UPDATE {}.migrations SET progress = %s, updated_at = clock_timestamp() WHERE migration_id = %s RETURNING wanted"
        )
        row = self._run(lambda c: c.execute(query, [json.dumps(progress), migration]).fetchone(), name="postgres.ledger")
        return cast("dict[str, Any]", row[0]) if row else {}

    def wish(self, migration: str, wanted: dict[str, Any], event: str = "wished") -> None:
        """What a run is to keep to from now on, beside what was wished before: it is woken, and hears of it."""
        line = Line(event, wanted)
        self._run(lambda c: wishes.wish(c, self.schema, migration, wanted, line), name="postgres.ledger")

    def wishes(self, migration: str) -> dict[str, Any]:
        """All that was wished."""
        return self._run(lambda c: wishes.read(c, self.schema, migration))

    def proved(self, migration: str, since: datetime, report: dict[str, Any]) -> None:
        """Both sides were found equal, as of *since*: what changed later is to be proved again."""
        line = Line("proved", {"since": since.isoformat()})
        query = self._sql(
            "UPDATE {}.migrations SET phase = 'copied', proved_at = %s, report = %s, updated_at = clock_timestamp()"
            " WHERE migration_id = %s"
        )

        def work(connection: Connection) -> None:
            connection.execute(query, [since, json.dumps(report), migration])
            journal.append(connection, self.schema, migration, line)

        self._run(work, name="postgres.ledger")

    def now(self) -> datetime:
        """The server's clock, the only one that positions and proofs are compared by."""
        return cast("datetime", self._rows(sql.SQL("SELECT clock_timestamp()"))[0][0])

    def journal_head(self, migration: str) -> bytes:
        """The hash of the last line."""
        return self._run(lambda c: journal.head(c, self.schema, migration))

    # What a tree holds

    def totals(self, store_id: int) -> list[KindTotals]:
        """Entries, bytes, records and raws of each kind, as they are now."""
        rows = self._rows(statement("totals", self.schema), {"store_id": store_id})
        return [KindTotals(str(row[0]), *(int(str(value)) for value in row[1:])) for row in rows]

    def mark(self, migration: str, epoch: int, entries: list[Entry], removed: list[Entry], refusals: list[Refusal]) -> None:
        """What a file target wrote, removed and refused, fenced by the epoch. Only after the page is on disk."""

        work = partial(marks.mark, schema=self.schema, migration=migration, epoch=epoch)
        self._run(lambda c: work(c, entries=entries, removed=removed, refusals=refusals), name="postgres.marks")

    def intend(self, migration: str, epoch: int, worker: int, intents: marks.Intents) -> None:
        """What the next page of a file target will be, fenced by the epoch; so that what a crash leaves of it is known."""
        work = partial(marks.intend, schema=self.schema, migration=migration, epoch=epoch)
        self._run(lambda c: work(c, worker=worker, intents=intents), name="postgres.intents")

    # Quarantine

    def quarantine(self, migration: str, state: str = "held") -> list[Item]:
        """The items of one state, oldest first."""
        query = self._sql(
            "SELECT item_id, path, key, kind, entry_id, pos, size, code, state, since FROM {}.quarantine"
            " WHERE migration_id = %s AND state = %s ORDER BY item_id"
        )
        return [Item(*cast("Any", row)) for row in self._rows(query, [migration, state])]

    def quarantined(self, migration: str) -> dict[str, int]:
        """How many items are held, by kind."""
        query = self._sql(
            "SELECT kind, count(*) FROM {}.quarantine WHERE migration_id = %s AND state = 'held' GROUP BY kind"
        )
        return {str(kind): cast("int", count) for kind, count in self._rows(query, [migration])}

    def forget_gone(self, migration: str) -> None:
        """Let go of whole entries that could not be placed, and that the source does not have any more."""
        query = self._sql(
            "DELETE FROM {0}.quarantine q USING {0}.entries e"
            " WHERE q.migration_id = %s AND q.pos IS NULL AND e.entry_id = q.entry_id AND e.type = 'gone'"
        )
        self._run(lambda c: c.execute(query, [migration]), name="postgres.ledger")

    # Plumbing

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """A connection whose work is rolled back at the end, for looking and for trying out."""
        with plain_errors(self.server.name):
            connection = self._open()
            try:
                yield connection
            finally:
                connection.rollback()

    def ask(self, work: Callable[[Connection], T]) -> T:
        """A look that is tried again where a fault passes; nothing of it stays."""
        return self._run(work)

    def change(self, work: Callable[[Connection], T]) -> T:
        """One durable transaction around *work*."""
        return self._run(work, name="postgres.ledger")

    def close(self) -> None:
        """Let go of the connection."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _open(self) -> Session:
        if self._connection is None or self._connection.closed:
            self._connection = self.server.connect(self._purpose)
        return self._connection

    def _run(self, work: Callable[[Connection], T], *, name: str | None = None) -> T:
        """One transaction around *work*, which may run again: a fault that passes is waited for, as long as there is patience."""
        if self.patience_seconds <= 0:
            return self._once(work, name)
        return patiently(lambda: self._once(work, name), Patience(self.patience_seconds), self.tell)

    def _once(self, work: Callable[[Connection], T], name: str | None) -> T:
        connection = self._open()
        try:
            if name is None:
                with connection.within(self.answer_seconds), connection.transaction():
                    return work(connection)
            with durable(name), connection.within(self.answer_seconds), connection.transaction():
                return work(connection)
        except psycopg.OperationalError:
            self.close()
            raise

    def _rows(self, query: sql.SQL | sql.Composed | bytes, values: Any = None) -> list[tuple[object, ...]]:
        return self._run(lambda c: c.execute(query, values).fetchall())

    def _sql(self, text: str) -> sql.Composed:
        return within(text, self.schema)
