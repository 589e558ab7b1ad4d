"""Drift: what somebody wrote on the side that does not decide. It never wins by itself, and is never undone by itself.

An item stays open until a person says what is to become of it, or until both sides are the same again. One ``chmod -R`` may be
a million items: they are asked for by the page, or by their keys, and never all at once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any, Literal, cast

from crossfade.model.entries import Entry
from crossfade.model.paths import key_of, path_of, text_of
from crossfade.store.backends.postgres import journal
from crossfade.store.backends.postgres.journal import Line
from crossfade.store.backends.postgres.names import within
from crossfade.store.backends.postgres.server import Connection
from crossfade.store.backends.postgres.statements import statement

Class = Literal["changed", "added", "removed"]
Side = Literal["source", "target"]
State = Literal["open", "ignored", "taken", "undone"]
Wish = Literal["ignore", "take"]

PAGE = 1_000
"""So many items are in hand at a time, at most."""

_STRAYED = 5_000
_NAMED = 100
"""How many paths a line of the journal names, at most; it counts them all."""


@dataclass(frozen=True)
class Seen:
    """What was seen at *key*: what stands there, by type, size, times and inode, or by digest; *authority* is the other side's digest."""

    side: Side
    key: bytes
    kind: str
    klass: Class
    type: str = "gone"
    size: int = 0
    mtime_ns: int = 0
    ctime_ns: int = 0
    inode: int = 0
    digest: bytes | None = None
    authority: bytes | None = None

    @property
    def path(self) -> bytes:
        """The path."""
        return path_of(self.key)


@dataclass(frozen=True)
class Item:
    """One item as it stands: what was *seen*, how often it was another thing, and what is wished for it, or has become of it."""

    item: int
    seen: Seen
    first_seen: datetime
    last_seen: datetime
    count: int
    state: State
    wish: Wish | None
    outcome: str


@dataclass(frozen=True)
class Which:
    """Open items of this *migration*: on that *side*, of these *kinds* ("" is what has none), *wished* for; else all of them."""

    migration: str
    side: Side | None = None
    kinds: frozenset[str] | None = None
    wished: bool = False

    def values(self) -> dict[str, Any]:
        """As the statements want them."""
        return {**asdict(self), "kinds": None if self.kinds is None else sorted(self.kinds)}


_OPEN = """migration_id = %(migration)s AND state = 'open' AND (%(side)s::text IS NULL OR side = %(side)s)
    AND (%(kinds)s::text[] IS NULL OR kind = ANY(%(kinds)s)) AND (NOT %(wished)s OR wish IS NOT NULL)"""


def seen_of(side: Side, authority: Entry | None, there: Entry | None) -> Seen:
    """The drift of *there*, on the side that does not decide, from what the authority has; None or a tombstone for nothing."""
    one, other = (None if entry is None or entry.type == "gone" else entry for entry in (authority, there))
    entry = one or other or authority or there
    assert entry is not None
    klass: Class = "removed" if other is None else "added" if one is None else "changed"
    found = Seen(side, key_of(entry.path), entry.kind, klass, authority=one.digest if one else None)
    if other is None:
        return found
    found = replace(found, type=other.type, size=other.size, mtime_ns=other.mtime_ns, digest=other.digest)
    signature = other.signature if other.digest is None else None
    return found if signature is None else replace(found, ctime_ns=signature.ctime_ns, inode=signature.inode)


def see(connection: Connection, schema: str, migration: str, found: Sequence[Seen]) -> None:
    """Write down what was seen, with a line in the journal about what was not known yet."""
    news = [seen for seen in found if _is_news(connection, schema, migration, seen)]
    if news:
        detail = {"count": len(news), "paths": [text_of(seen.path) for seen in news][:_NAMED]}
        journal.append(connection, schema, migration, Line("drift", detail, f"on the {news[0].side}"))


def _is_news(connection: Connection, schema: str, migration: str, seen: Seen) -> bool:
    values = {**asdict(seen), "class": seen.klass, "migration": migration, "path": text_of(seen.path)}
    return connection.execute(statement("drift_see", schema), values).rowcount > 0


Ask = Callable[[Callable[[Connection], list[Item]]], list[Item]]
"""Who asks the database, and again where a fault passes: ``Ledger.ask``."""


def pages(ask: Ask, schema: str, which: Which, *, after: int = 0) -> Iterator[list[Item]]:
    """*which*, by their numbers, behind the number *after*, a page after the other; each is asked for when it is wanted."""
    while found := ask(partial(_page, schema=schema, which=which, after=after)):
        yield found
        after = found[-1].item


def pages_by_key(ask: Ask, schema: str, which: Which) -> Iterator[list[Item]]:
    """The same by their paths: a directory comes before what is in it."""
    after = b""
    while found := ask(partial(page_by_key, schema=schema, which=which, after=after)):
        yield found
        after = found[-1].seen.key


def _page(connection: Connection, schema: str, which: Which, after: int) -> list[Item]:
    query = f"{_OPEN} AND item_id > %(after)s ORDER BY item_id LIMIT %(page)s"
    return _items(connection, schema, query, {**which.values(), "after": after, "page": PAGE})


def page_by_key(connection: Connection, schema: str, which: Which, after: bytes = b"") -> list[Item]:
    """A page of *which* by their paths, behind the key *after*."""
    query = f"{_OPEN} AND key > %(after)s ORDER BY key LIMIT %(page)s"
    return _items(connection, schema, query, {**which.values(), "after": after, "page": PAGE})


def at(connection: Connection, schema: str, which: Which, keys: Collection[bytes]) -> list[Item]:
    """Those of *which* that stand at *keys*, of which there are not many."""
    query = f"{_OPEN} AND sha256(key) = ANY(SELECT sha256(k) FROM unnest(%(keys)s::bytea[]) AS k) ORDER BY item_id"
    return _items(connection, schema, query, {**which.values(), "keys": list(keys)})


def named(connection: Connection, schema: str, migration: str, numbers: Sequence[int]) -> list[Item]:
    """The items with these numbers, whatever became of them."""
    query = "migration_id = %(migration)s AND item_id = ANY(%(numbers)s::bigint[]) ORDER BY item_id"
    return _items(connection, schema, query, {"migration": migration, "numbers": list(numbers)})


def _items(connection: Connection, schema: str, which: str, values: dict[str, Any]) -> list[Item]:
    query = (
        "SELECT item_id, side, key, kind, class, type, size, mtime_ns, ctime_ns, inode, digest, authority,"
        f" first_seen, last_seen, count, state, wish, outcome FROM {{}}.drift WHERE {which}"
    )
    rows = connection.execute(within(query, schema), values).fetchall()
    return [Item(row[0], Seen(*row[1:12]), *row[12:]) for row in cast("list[Any]", rows)]


def count(connection: Connection, schema: str, which: Which) -> int:
    """How many they are."""
    row = connection.execute(within(f"SELECT count(*) FROM {{}}.drift WHERE {_OPEN}", schema), which.values()).fetchone()
    return cast("int", row[0]) if row else 0


def strayed(connection: Connection, schema: str, migration: str, store_id: int) -> list[bytes]:
    """The paths at which a copy that is followed into holds what *migration* did not bring; some thousands at most.

    For a database, which nobody watches: whether that is drift, a look at both sides says.
    """
    values = {"migration": migration, "store_id": store_id, "limit": _STRAYED}
    rows = connection.execute(statement("drift_strayed", schema), values).fetchall()
    return [path_of(key) for (key,) in cast("list[tuple[bytes]]", rows)]


def wish(connection: Connection, schema: str, migration: str, wanted: Wish, chosen: Sequence[int]) -> None:
    """Have open items dealt with, those that are *chosen*. Whoever runs the migration does it."""
    query = (
        "UPDATE {}.drift SET wish = %s, outcome = '' WHERE migration_id = %s AND state = 'open'"
        " AND item_id = ANY(%s::bigint[]) RETURNING item_id"
    )
    rows = connection.execute(within(query, schema), [wanted, migration, list(chosen)]).fetchall()
    found = sorted(cast("int", number) for (number,) in rows)
    detail = {"count": len(found), "items": found[:_NAMED]}
    journal.append(connection, schema, migration, Line(f"drift {wanted} wished", detail))


def end(connection: Connection, schema: str, migration: str, ended: Sequence[tuple[Item, State, str]]) -> None:
    """What has become of open items: their state, and in words what was done. One that stays open is wished nothing for any more."""
    query = "UPDATE {}.drift SET state = %s, wish = NULL, outcome = %s WHERE item_id = %s AND state = 'open'"
    for item, state, outcome in ended:
        connection.execute(within(query, schema), [state, outcome, item.item])
        detail = {"item": item.item, "path": text_of(item.seen.path)}
        event = "drift left open" if state == "open" else f"drift {state}"
        journal.append(connection, schema, migration, Line(event, detail, outcome))
