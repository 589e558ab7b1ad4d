"""Compare and set: which paths of a page are not what they were when they were looked at, and are to be left as they are."""

from __future__ import annotations

from typing import Any, cast

import msgspec

from crossfade.model.changes import Page, Put
from crossfade.model.entries import Entry, state_of
from crossfade.model.paths import key_of, path_of
from crossfade.store.backends.postgres.server import Connection
from crossfade.store.backends.postgres.statements import statement


def guarded(connection: Connection, schema: str, store_id: int, page: Page) -> tuple[Page, tuple[bytes, ...]]:
    """*page* without what would be written over something else than was seen, and the paths of that; the rest is held."""
    asked = [path for path in page.seen if path in _begun(page)]
    if not asked:
        return page, ()
    found = _standing(connection, schema, store_id, asked)
    left = tuple(path for path in asked if state_of(found.get(path)) != state_of(page.seen[path]))
    kept = tuple(change for change in page.changes if change.entry.path not in left)
    return msgspec.structs.replace(page, changes=kept), left


def _begun(page: Page) -> set[bytes]:
    """The paths that the page is the first to write. What goes on from the page before was looked at then."""
    return {change.entry.path for change in page.changes if not (isinstance(change, Put) and change.block.offset)}


def _standing(connection: Connection, schema: str, store_id: int, paths: list[bytes]) -> dict[bytes, Entry]:
    values = {"store_id": store_id, "keys": [key_of(path) for path in paths]}
    rows = cast("list[Any]", connection.execute(statement("entries_seen", schema), values).fetchall())
    entries = [
        Entry(path_of(key), type_, generation=generation, size=size, mode=mode, mtime_ns=mtime, link=link, digest=digest)
        for key, type_, generation, size, mode, mtime, link, digest in rows
    ]
    return {entry.path: entry for entry in entries}
