"""``crossfade quarantine``: what could not be placed. Bytes are kept; contents are never shown unless asked for.

Between two databases an item may be held in either one: in that to which its record was brought.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from psycopg import sql

from crossfade.console import settings
from crossfade.console.finding import Sought, sought
from crossfade.console.found_again import found_again
from crossfade.console.streams import while_read
from crossfade.console.talk import counted, say, say_head, show, show_json, sized, table
from crossfade.errors import OptionInvalid
from crossfade.migrate.handover.books import FAR, Books, books_of
from crossfade.migrate.to_type import start_again
from crossfade.migrate.values import SCHEMA_VERSION
from crossfade.model.paths import path_of
from crossfade.store.backends.postgres.ledger import Item
from crossfade.store.backends.postgres.replay import replay_item
from crossfade.store.location import parse
from crossfade.store.port import Reading
from crossfade.store.registry import DatabaseRecipe


@dataclass(frozen=True)
class Held:
    """One item, and the books that it stands in."""

    books: Books
    item: Item

    @property
    def name(self) -> str:
        """What people call it."""
        return self.books.name(self.item)


def names_of(words: list[str]) -> list[str]:
    """What items are called: a number, with ``source:`` before it where they are held in the other database."""
    settings.items_of([word.removeprefix(FAR) for word in words])
    return words


@contextmanager
def _opened(words: tuple[str, ...], store: str, *, changes: bool = False) -> Iterator[tuple[Sought, list[Books]]]:
    """The migration that is meant, and wherever something of it may be held."""
    with sought(words, store, changes=changes) as found, books_of(found.ledger, found.row) as every:
        yield found, every


def list_items(words: tuple[str, ...], store: str, *, as_json: bool) -> int:
    """The items that are held."""
    with _opened(words, store) as (found, every):
        held, head = _held(every), _head(found)
    if as_json:
        value = {"schema_version": SCHEMA_VERSION, "migration": found.row.migration}
        show_json({**value, "items": [_value(one) for one in held], "head": head.hex()})
    elif held:
        show(table(("item", "kind", "path", "offset", "size", "code"), [_row(one) for one in held], left=6))
    else:
        say("nothing is in quarantine")
    say_head(head)
    return 4 if held else 0


def show_item(words: tuple[str, ...], store: str, name: str) -> int:
    """The bytes of one item, verbatim, on stdout."""
    with _opened(words, store) as (found, every):
        for part in while_read(_content(_one(found, every, name))):
            sys.stdout.buffer.write(part)
        sys.stdout.buffer.flush()
        say_head(_head(found))
    return 0


def ignore(words: tuple[str, ...], store: str, names: list[str], *, as_json: bool) -> int:
    """Take items off the list; their bytes stay where they are, and come back on the way to files."""
    with _opened(words, store, changes=True) as (found, every):
        found.begin()
        count = _settle(every, _held(every, names), "ignored")
        head, migration = _head(found), found.row.migration
        if as_json:
            show_json({"schema_version": SCHEMA_VERSION, "migration": migration, "ignored": count, "head": head.hex()})
        else:
            say(f"{counted(count, 'item')} ignored")
        say_head(head)
    return 0


def replay(words: tuple[str, ...], store: str, names: list[str], *, as_json: bool) -> int:
    """Try to place items again, as their kind's records."""
    with _opened(words, store, changes=True) as (found, every):
        found.begin()
        chosen = _held(every, names)
        whole = [one for one in chosen if one.item.pos is None]
        done = [one for one in chosen if one.item.pos is not None and _replay(one)]
        _settle(every, done, "replayed")
        head, held = _head(found), len(chosen) - len(done)
        if as_json:
            value = {"schema_version": SCHEMA_VERSION, "migration": found.row.migration, "placed": len(done), "held": held}
            show_json({**value, "head": head.hex()})
        else:
            say(f"{counted(len(done), 'item')} placed, {counted(held, 'item')} still held")
        if whole:
            say(f"whole entries are tried again by {_who_tries_again(found)}")
        say_head(head)
    return 4 if held else 0


def _settle(every: Sequence[Books], chosen: Sequence[Held], state: str) -> int:
    """Move the *chosen* to another state; how many there were. What was asked for is told, though it came to nothing."""
    parts = [(books, [one.item for one in chosen if one.books is books]) for books in every]
    return sum(books.settle(items, state) for books, items in [part for part in parts if part[1]] or parts[:1])


def _who_tries_again(found: Sought) -> str:
    """Who comes upon entries that were not placed: whoever follows, as upon anything that differs; else a command."""
    row = found.row
    if found.ledger.runner(row.migration) is not None:
        return "its runner, at its next look at everything"
    words = f"crossfade resume {row.migration}" if row.reversed or row.phase == "following" else start_again(row)
    return found_again(words, found.store.url)


def _head(found: Sought) -> bytes:
    return found.ledger.journal_head(found.row.migration)


def _held(every: Sequence[Books], names: Sequence[str] = ()) -> list[Held]:
    """All that is held; with *names*, of that what has one of them."""
    held = [Held(books, item) for books in every for item in books.held()]
    return [one for one in held if not names or one.name in names]


def _one(found: Sought, every: Sequence[Books], name: str) -> Held:
    for one in _held(every, [name]):
        return one
    raise OptionInvalid(f"there is no item {name} in quarantine", hint=f"crossfade quarantine {found.row.migration} list")


def _value(one: Held) -> dict[str, Any]:
    return {**asdict(one.item), "key": one.item.key.hex(), "name": one.name}


def _row(one: Held) -> tuple[str, ...]:
    item = one.item
    return one.name, item.kind, item.path, "whole" if item.pos is None else str(item.pos), sized(item.size), item.code


def _replay(one: Held) -> bool:
    books = one.books
    return replay_item(books.ledger, books.layout(), books.store_id, one.item)


def _content(one: Held) -> Iterator[bytes]:
    """The bytes of a record, from where those are that no table takes; or of a whole entry, from where its records are."""
    books, item = one.books, one.item
    if item.pos is None:
        yield from _whole(books, path_of(item.key))
        return
    query = sql.SQL("SELECT data FROM {}.chunks WHERE store_id = %s AND entry_id = %s AND pos = %s")
    with books.ledger.snapshot() as connection:
        values = [books.store_id, item.entry, item.pos]
        rows = connection.execute(query.format(sql.Identifier(books.ledger.schema)), values).fetchall()
    yield from (bytes(row[0]) for row in rows)  # type: ignore[call-overload]


def _whole(books: Books, path: bytes) -> Iterator[bytes]:
    ledger = books.ledger
    store = DatabaseRecipe(parse(ledger.server.name), ledger.server, books.store_id, books.layout()).open()
    try:
        for entry in store.entries():
            if entry.path == path and entry.type == "file":
                yield from (block.data for block in store.read([Reading(entry)]))
    finally:
        store.close()
