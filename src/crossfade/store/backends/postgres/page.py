"""Writing one page, inside one transaction."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any, cast

from psycopg import sql

from crossfade.model.changes import Move, Page, Put, Remove
from crossfade.model.digests import Segment
from crossfade.model.entries import SEGMENT, Entry, altered, content_of
from crossfade.model.layouts import Layout
from crossfade.model.paths import key_of, text_of
from crossfade.store.backends.postgres.arrays import numbers, octets
from crossfade.store.backends.postgres.feed import announce
from crossfade.store.backends.postgres.guarding import guarded
from crossfade.store.backends.postgres.leases import fence
from crossfade.store.backends.postgres.moving import move
from crossfade.store.backends.postgres.names import within
from crossfade.store.backends.postgres.newcomers import insert
from crossfade.store.backends.postgres.sending import Draft, Sender
from crossfade.store.backends.postgres.server import Connection
from crossfade.store.backends.postgres.statements import statement
from crossfade.store.backends.postgres.watching import Watch
from crossfade.store.port import Applied, Refusal

if TYPE_CHECKING:
    from crossfade.store.backends.postgres.store import Claim


class PageWriter:
    """Writes pages of one tree. Remembers the rows of entries that go on in the next page."""

    def __init__(self, schema: str, store_id: int, layout: Layout, claim: Claim | None) -> None:
        self._schema = schema
        self._store_id = store_id
        self._layout = layout
        self._claim = claim
        self._open: dict[bytes, int] = {}
        self._open_then: dict[bytes, int] = {}
        self._sender = Sender(schema, store_id, layout)
        self._watch = Watch(layout)

    def keep(self) -> None:
        """The page that was written last is committed, so what was learnt from it is true; before that, nothing is."""
        self._open = self._open_then
        self._watch.keep()

    def write(self, connection: Connection, page: Page, *, careful: bool) -> Applied:
        """Write *page*. *careful* takes refused rows apart, until each stands, is raw, or is in quarantine."""
        self.lock(connection)
        self._fence(connection)
        page, left = guarded(connection, self._schema, self._store_id, page)
        moves = [change for change in page.changes if isinstance(change, Move)]
        moved = move(connection, self._schema, self._store_id, self._name(), moves, partial(self._delete, connection))
        drafts = self._drafts(connection, page)
        self._clear(connection, drafts, [c.entry for c in page.changes if isinstance(c, Remove)])
        self._watch.begin()
        refusals = self._sender.send(connection, drafts, careful=careful, watch=self._watch)
        insert(connection, self._schema, self._store_id, self._name(), [d for d in drafts if d.new])
        self._upsert(connection, [d for d in drafts if not d.new])
        self._open_then = self._open | {d.entry.path: d.entry.row for d in drafts if not d.entry.complete}
        for entry in (d.entry for d in drafts if d.entry.complete):
            self._open_then.pop(entry.path, None)
        self._segments(connection, page, drafts)
        self._mark(connection, page, [*moved, *(draft.entry for draft in drafts if not draft.new)])
        self._quarantine(connection, refusals)
        return Applied(
            entries=(*moved, *(draft.entry for draft in drafts)),
            records=sum(draft.records for draft in drafts),
            raws=tuple((d.entry.path, reason, count) for d in drafts for reason, count in d.raws.items() if count > 0),
            refusals=tuple(refusals),
            passed=self._watch.seen(),
            left=left,
        )

    def lock(self, connection: Connection) -> None:
        """One transaction of a worker at a time: one whose client went away may not be over yet."""
        if self._claim is None:
            return
        key = f"crossfade worker {self._claim.migration} {self._claim.worker}"
        connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [key])

    def _fence(self, connection: Connection) -> None:
        """Refuse a runner that was replaced. The shared lock holds off a take-over until this page is decided."""
        announce(connection, self._name() or "crossfade")
        if self._claim is not None:
            fence(connection, self._schema, self._claim.migration, self._claim.epoch)

    def _drafts(self, connection: Connection, page: Page) -> list[Draft]:
        """The page's entries as they will stand, each with its row number and its puts."""
        drafts: dict[bytes, Draft] = {}
        for change in page.changes:
            if isinstance(change, Remove | Move):
                continue
            draft = drafts.setdefault(change.entry.path, Draft(change.entry))
            if isinstance(change, Put):
                draft.puts.append(change)
        self._number(connection, list(drafts.values()))
        for draft in drafts.values():
            if draft.puts:
                draft.entry = _standing(draft.entry, draft.puts[-1])
        return list(drafts.values())

    def _number(self, connection: Connection, drafts: list[Draft]) -> None:
        """Give each new entry a row number."""
        new = [d for d in drafts if not d.entry.row and d.entry.path not in self._open]
        numbers: list[Any] = []
        if new:
            query = "SELECT nextval(pg_get_serial_sequence(%s, 'entry_id')) FROM generate_series(1, %s)"
            numbers = connection.execute(query, [f'"{self._schema}".entries', len(new)]).fetchall()
        for draft, (number,) in zip(new, numbers, strict=True):
            draft.entry, draft.new = altered(draft.entry, row=number), True
        for draft in drafts:
            if not draft.entry.row:
                draft.entry = altered(draft.entry, row=self._open[draft.entry.path])

    def _clear(self, connection: Connection, drafts: list[Draft], removed: list[Entry]) -> None:
        """Take away what the page replaces: whole generations, the tail that is written again, removed entries."""
        replaced = [d.entry for d in drafts if d.entry.generation > 1 and d.puts and d.puts[0].block.offset == 0]
        self._delete(connection, [*replaced, *removed])
        going_on = [d for d in drafts if d.puts and d.puts[0].block.offset > 0 and d.entry.path not in self._open]
        for draft in self._with_tails(connection, going_on):
            self._cut(connection, draft)
        if removed:
            rows = [entry.row for entry in removed]
            connection.execute(statement("entries_remove", self._schema), {"store_id": self._store_id, "entries": rows})
            self._forget(connection, rows)

    def _forget(self, connection: Connection, rows: list[int]) -> None:
        """What the source removed has no mark any more: a mark on a tombstone says that somebody removed it here by hand."""
        query = "DELETE FROM {}.marks WHERE migration_id = %s AND entry_id = ANY(%s)"
        connection.execute(self._sql(query), [self._name(), rows])

    def _delete(self, connection: Connection, entries: Iterable[Entry]) -> None:
        files = sorted((e for e in entries if e.type == "file" and e.kind), key=lambda e: e.kind)
        for kind, group in groupby(files, key=lambda e: e.kind):
            rows = [entry.row for entry in group]
            for table in (kind, "chunks", "segments"):
                query = sql.SQL("DELETE FROM {}.{} WHERE store_id = %s AND entry_id = ANY(%s)")
                name = query.format(sql.Identifier(self._schema), sql.Identifier(table))
                connection.execute(name, [self._store_id, rows])
            connection.execute(
                self._sql("DELETE FROM {}.quarantine WHERE migration_id = %s AND entry_id = ANY(%s)"), [self._name(), rows]
            )

    def _with_tails(self, connection: Connection, drafts: list[Draft]) -> list[Draft]:
        """Those of *drafts* that hold something behind where they go on. A log that is followed grows, and hardly ever does."""
        held: set[object] = set()
        for kind, group in groupby(sorted(drafts, key=lambda d: d.entry.kind), key=lambda d: d.entry.kind):
            members = list(group)
            values: dict[str, object] = {"store_id": self._store_id, "segment": SEGMENT}
            values["entries"] = numbers(d.entry.row for d in members)
            values["positions"] = numbers(d.puts[0].block.offset for d in members)
            rows = connection.execute(statement("tails_look", self._schema, kind), values).fetchall()
            held.update(row for (row,) in rows)
        return [draft for draft in drafts if draft.entry.row in held]

    def _cut(self, connection: Connection, draft: Draft) -> None:
        """Take back an entry's tail, which this page writes again."""
        values = {"store_id": self._store_id, "entry": draft.entry.row, "pos": draft.puts[0].block.offset}
        rows = connection.execute(statement("records_cut", self._schema, draft.entry.kind), values).fetchall()
        for reason, count in cast("list[tuple[str | None, int]]", rows):
            draft.records -= count
            if reason is not None:
                draft.raws[reason] -= count
        for table in ("chunks", "segments"):
            query = sql.SQL("DELETE FROM {}.{} WHERE store_id = %(store_id)s AND entry_id = %(entry)s AND pos >= %(pos)s")
            connection.execute(query.format(sql.Identifier(self._schema), sql.Identifier(table)), values)
        held = self._sql(
            "DELETE FROM {}.quarantine WHERE migration_id = %(migration)s AND entry_id = %(entry)s AND pos >= %(pos)s"
        )
        connection.execute(held, {**values, "migration": self._name()})

    def _upsert(self, connection: Connection, drafts: list[Draft]) -> None:
        if not drafts:
            return
        entries = [draft.entry for draft in drafts]
        values: dict[str, Any] = {
            "store_id": self._store_id,
            "entry_id": [e.row for e in entries],
            "path": [text_of(e.path) for e in entries],
            "key": [key_of(e.path) for e in entries],
            "records": [d.records for d in drafts],
            "raws": [sum(d.raws.values()) for d in drafts],
        }
        for name in (
            "type",
            "kind",
            "form",
            "generation",
            "size",
            "mode",
            "mtime_ns",
            "link",
            "digest",
            "within",
            "complete",
            "unstable",
        ):
            values[name] = [getattr(e, name) for e in entries]
        connection.execute(statement("entries_upsert", self._schema), values)

    def _segments(self, connection: Connection, page: Page, drafts: list[Draft]) -> None:
        """Keep the segments of entries that span more than one."""
        rows = {draft.entry.path: draft.entry for draft in drafts}
        found: list[tuple[int, Segment]] = []
        for change in page.changes:
            if isinstance(change, Put) and (rows[change.entry.path].size > SEGMENT or not rows[change.entry.path].complete):
                found += [(rows[change.entry.path].row, segment) for segment in change.segments]
        if found:
            values = {
                "store_id": self._store_id,
                "entry_id": [row for row, _ in found],
                "number": [s.number for _, s in found],
                "pos": [s.offset for _, s in found],
                "size": [s.size for _, s in found],
                "digest": [s.digest for _, s in found],
            }
            connection.execute(statement("segments_insert", self._schema), values)

    def _mark(self, connection: Connection, page: Page, entries: list[Entry]) -> None:
        """The marks of entries that come from a file system, and the worker's position."""
        if self._claim is None:
            return
        marked = [entry for entry in entries if entry.signature is not None]
        if marked:
            connection.execute(statement("marks_upsert", self._schema), mark_values(self._name(), marked))
        values = {"migration": self._claim.migration, "worker": self._claim.worker, "page": page.name}
        connection.execute(statement("positions_upsert", self._schema), values)

    def _quarantine(self, connection: Connection, refusals: list[Refusal]) -> None:
        for refusal in refusals:
            insert_refusal(connection, self._schema, self._name(), refusal)

    def _name(self) -> str:
        return self._claim.migration if self._claim else ""

    def _sql(self, text: str) -> sql.Composed:
        return within(text, self._schema)


def _standing(entry: Entry, last: Put) -> Entry:
    """How *entry* stands once its puts up to *last* are written."""
    block = last.block
    return altered(
        entry, size=block.end, within=block.record, complete=block.last, digest=last.digest, unstable=block.entry.unstable
    )


def mark_values(migration: str, entries: list[Entry]) -> dict[str, Any]:
    """The parameters of ``marks_upsert`` for *entries*, which have signatures."""
    signatures = [entry.signature for entry in entries if entry.signature is not None]
    return {
        "migration": migration,
        "entry_id": numbers(entry.row for entry in entries),
        "size": numbers(s.size for s in signatures),
        "mtime_ns": numbers(s.mtime_ns for s in signatures),
        "ctime_ns": numbers(s.ctime_ns for s in signatures),
        "inode": numbers(s.inode for s in signatures),
        "digest": octets(content_of(entry) for entry in entries),
    }


def insert_refusal(connection: Connection, schema: str, migration: str, refusal: Refusal) -> None:
    """One quarantined item; a repeat of the same changes nothing but its code."""
    query = sql.SQL(
        "INSERT INTO {}.quarantine AS q (migration_id, path, key, kind, entry_id, pos, size, code) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)"
        " ON CONFLICT (migration_id, sha256(key), coalesce(pos, -1)) DO UPDATE SET code = excluded.code, state = CASE q.state WHEN 'ignored' THEN 'ignored' ELSE 'held' END"
    )
    entry = refusal.entry
    connection.execute(
        query.format(sql.Identifier(schema)),
        [
            migration,
            text_of(entry.path),
            key_of(entry.path),
            entry.kind,
            entry.row or None,
            refusal.pos,
            refusal.size,
            refusal.code,
        ],
    )
