"""Placing a record that was in quarantine: from ``chunks`` into its kind's table, in one transaction."""

from __future__ import annotations

from typing import cast

import psycopg
from psycopg import sql

from crossfade.model.changes import Block, Put
from crossfade.model.entries import Entry
from crossfade.model.layouts import Layout
from crossfade.model.paths import path_of
from crossfade.store.backends.postgres.feed import announce
from crossfade.store.backends.postgres.ledger import Item, Ledger
from crossfade.store.backends.postgres.sending import Draft, Sender
from crossfade.store.faults import is_data_error


def replay_item(ledger: Ledger, layout: Layout, store_id: int, item: Item) -> bool:
    """Try to place *item*; False when the server refuses it still."""
    try:
        ledger.change(lambda connection: _place(connection, ledger.schema, layout, store_id, item))
    except psycopg.Error as error:
        if not is_data_error(error):
            raise
        return False
    return True


def _place(
    connection: psycopg.Connection[tuple[object, ...]], schema: str, layout: Layout, store_id: int, item: Item
) -> None:
    announce(connection, "crossfade quarantine")
    delete = sql.SQL("DELETE FROM {}.chunks WHERE store_id = %s AND entry_id = %s AND pos = %s RETURNING data")
    row = connection.execute(delete.format(sql.Identifier(schema)), [store_id, item.entry, item.pos]).fetchone()
    if row is None or item.pos is None or item.entry is None:
        return
    kind = layout.kind(item.kind)
    entry = Entry(path_of(item.key), kind=item.kind, form=kind.form, row=item.entry)
    draft = Draft(entry, [Put(Block(entry, item.pos, bytes(cast("bytes", row[0]))))])
    Sender(schema, store_id, layout).send(connection, [draft], careful=False)
    count = sql.SQL("UPDATE {}.entries SET records = records + %s, raws = raws + %s WHERE store_id = %s AND entry_id = %s")
    connection.execute(count.format(sql.Identifier(schema)), [draft.records, sum(draft.raws.values()), store_id, item.entry])
