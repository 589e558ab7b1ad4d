"""Entries and marks that a page brings for the first time, as rows of COPY: no conflict to look for, no arrays to build."""

from __future__ import annotations

import struct
from functools import lru_cache

from psycopg import sql

from crossfade.model.entries import Entry, content_of
from crossfade.model.figures import NULL
from crossfade.model.paths import key_of, text_of
from crossfade.store.backends.postgres.encode import SIGNATURE, TRAILER
from crossfade.store.backends.postgres.sending import Draft
from crossfade.store.backends.postgres.server import Connection

_ENTRY = (
    *("store_id", "entry_id", "generation", "size", "records", "raws", "mode", "mtime_ns", "complete", "unstable"),
    *("path", "key", "type", "kind", "form", "link", "digest", "within"),
)
_FIXED = struct.Struct("!h ii iq ii iq iq iq ii iq i? i?")
_MARK = ("entry_id", "size", "mtime_ns", "ctime_ns", "inode", "migration_id", "digest")
_NUMBERS = struct.Struct("!h iq iq iq iq iq")
_LENGTH = struct.Struct("!i")
_BIGINT = struct.Struct("!iq")


def insert(connection: Connection, schema: str, store_id: int, migration: str, drafts: list[Draft]) -> None:
    """Insert the entries of *drafts*, which no table has yet; and the marks of those that come from a file system."""
    if not drafts:
        return
    _copy(connection, schema, "entries", _ENTRY, [_entry(store_id, draft) for draft in drafts])
    name = _field(migration.encode())
    marked = [draft.entry for draft in drafts if draft.entry.signature is not None]
    if migration and marked:
        _copy(connection, schema, "marks", _MARK, [_mark(name, entry) for entry in marked])


def _copy(connection: Connection, schema: str, table: str, columns: tuple[str, ...], rows: list[bytes]) -> None:
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    query = sql.SQL("COPY {}.{} ({}) FROM STDIN (FORMAT binary)").format(
        sql.Identifier(schema), sql.Identifier(table), names
    )
    with connection.cursor() as cursor, cursor.copy(query) as copy:
        copy.write(b"".join([SIGNATURE, *rows, TRAILER]))


def _entry(store_id: int, draft: Draft) -> bytes:
    e = draft.entry
    fixed = _FIXED.pack(
        *(len(_ENTRY), 4, store_id, 8, e.row, 4, e.generation, 8, e.size, 8, draft.records, 8, sum(draft.raws.values())),
        *(4, e.mode, 8, e.mtime_ns, 1, e.complete, 1, e.unstable),
    )
    within = NULL if e.within is None else _BIGINT.pack(8, e.within)
    path, words, link = _field(text_of(e.path).encode()), _words(e.type, e.kind, e.form), _field(e.link)
    return b"".join(
        (fixed, path, _field(key_of(e.path)), words, link, NULL if e.digest is None else _field(e.digest), within)
    )


@lru_cache(maxsize=256)
def _words(*words: str) -> bytes:
    """The same few for all entries."""
    return b"".join([_field(word.encode()) for word in words])


def _mark(migration: bytes, entry: Entry) -> bytes:
    s = entry.signature
    assert s is not None
    numbers = _NUMBERS.pack(len(_MARK), 8, entry.row, 8, s.size, 8, s.mtime_ns, 8, s.ctime_ns, 8, s.inode)
    digest = content_of(entry)
    return numbers + migration + (NULL if digest is None else _field(digest))


def _field(value: bytes) -> bytes:
    return _LENGTH.pack(len(value)) + value
