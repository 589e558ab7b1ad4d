"""``crossfade quarantine``: what could not be placed. Bytes are kept; contents are never shown unless asked for."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict

from psycopg import sql

from crossfade.console.finding import Sought, sought
from crossfade.console.state import start_again
from crossfade.console.talk import counted, say, say_head, show, show_json, sized, table
from crossfade.errors import OptionInvalid
from crossfade.migrate.report import SCHEMA_VERSION
from crossfade.model import layouts
from crossfade.model.paths import path_of
from crossfade.store.backends.postgres.ledger import Item
from crossfade.store.backends.postgres.replay import replay_item
from crossfade.store.port import Reading
from crossfade.store.registry import DatabaseRecipe


def list_items(words: tuple[str, ...], store: str, *, as_json: bool) -> int:
    """The items that are held."""
    with sought(words, store) as found:
        items, head = found.ledger.quarantine(found.row.migration), _head(found)
    if as_json:
        values = [{**asdict(item), "key": item.key.hex()} for item in items]
        show_json({"schema_version": SCHEMA_VERSION, "migration": found.row.migration, "items": values, "head": head.hex()})
    elif items:
        rows = [
            (str(i.item), i.kind, i.path, "whole" if i.pos is None else str(i.pos), sized(i.size), i.code) for i in items
        ]
        show(table(("item", "kind", "path", "offset", "size", "code"), rows, left=6))
    else:
        say("nothing is in quarantine")
    say_head(head)
    return 4 if items else 0


def show_item(words: tuple[str, ...], store: str, number: int) -> int:
    """The bytes of one item, verbatim, on stdout."""
    with sought(words, store) as found:
        item = _item(found, number)
        for part in _content(found, item):
            sys.stdout.buffer.write(part)
        sys.stdout.buffer.flush()
        say_head(_head(found))
    return 0


def ignore(words: tuple[str, ...], store: str, numbers: list[int], *, as_json: bool) -> int:
    """Take items off the list; their bytes stay where they are, and come back on the way to files."""
    with sought(words, store) as found:
        chosen = numbers or [item.item for item in found.ledger.quarantine(found.row.migration)]
        count = found.ledger.settle(found.row.migration, chosen, "ignored")
        head = _head(found)
    if as_json:
        migration = found.row.migration
        show_json({"schema_version": SCHEMA_VERSION, "migration": migration, "ignored": count, "head": head.hex()})
    else:
        say(f"{counted(count, 'item')} ignored")
    say_head(head)
    return 0


def replay(words: tuple[str, ...], store: str, numbers: list[int], *, as_json: bool) -> int:
    """Try to place items again, as their kind's records."""
    with sought(words, store) as found:
        items = [i for i in found.ledger.quarantine(found.row.migration) if not numbers or i.item in numbers]
        whole = [item for item in items if item.pos is None]
        records = [item for item in items if item.pos is not None]
        done = [item.item for item in records if _replay(found, item)]
        found.ledger.settle(found.row.migration, done, "replayed")
        head, who = _head(found), _who_tries_again(found)
    held, migration = len(items) - len(done), found.row.migration
    if as_json:
        value = {"schema_version": SCHEMA_VERSION, "migration": migration, "placed": len(done), "held": held}
        show_json({**value, "head": head.hex()})
    else:
        say(f"{counted(len(done), 'item')} placed, {counted(held, 'item')} still held")
    if whole:
        say(f"whole entries are tried again by {who}")
    say_head(head)
    return 4 if len(done) < len(items) else 0


def _who_tries_again(found: Sought) -> str:
    """Who comes upon entries that were not placed: whoever follows, as upon anything that differs; else a command."""
    row = found.row
    if found.ledger.runner(row.migration) is not None:
        return "its runner, at its next look at everything"
    return f"crossfade resume {row.migration}" if row.reversed or row.phase == "following" else start_again(row)


def _head(found: Sought) -> bytes:
    return found.ledger.journal_head(found.row.migration)


def _replay(found: Sought, item: Item) -> bool:
    row = next(store for store in found.ledger.stores() if store.store_id == found.row.store_id)
    layout = layouts.parse(row.layout, source=row.layout_name)
    return replay_item(found.ledger, layout, found.row.store_id, item)


def _item(found: Sought, number: int) -> Item:
    for item in found.ledger.quarantine(found.row.migration):
        if item.item == number:
            return item
    raise OptionInvalid(f"there is no item {number} in quarantine", hint=f"crossfade quarantine {found.row.migration} list")


def _content(found: Sought, item: Item) -> Iterator[bytes]:
    """The bytes of a record, from where those are that no table takes; or of a whole entry, from where its records are."""
    if item.pos is None:
        yield from _whole(found, path_of(item.key))
        return
    query = sql.SQL("SELECT data FROM {}.chunks WHERE store_id = %s AND entry_id = %s AND pos = %s")
    with found.ledger.snapshot() as connection:
        values = [found.row.store_id, item.entry, item.pos]
        rows = connection.execute(query.format(sql.Identifier(found.ledger.schema)), values).fetchall()
    yield from (bytes(row[0]) for row in rows)  # type: ignore[call-overload]


def _whole(found: Sought, path: bytes) -> Iterator[bytes]:
    row = next(store for store in found.ledger.stores() if store.store_id == found.row.store_id)
    layout = layouts.parse(row.layout, source=row.layout_name)
    store = DatabaseRecipe(found.store, found.ledger.server, row.store_id, layout).open()
    try:
        for entry in store.entries():
            if entry.path == path and entry.type == "file":
                yield from (block.data for block in store.read([Reading(entry)]))
    finally:
        store.close()
