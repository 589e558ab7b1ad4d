"""Records back into bytes: however short they are and however many, with long ones in between."""

from __future__ import annotations

import pytest

from crossfade.model.entries import RECORD_LIMIT, SEGMENT
from crossfade.store.backends.postgres import reading
from crossfade.store.port import Reading
from crossfade.testing.contract import Bench
from crossfade.testing.contract.bench import digest_by_hand, lines
from support.servers import Database
from support.stores import new_tree


def _blocks(bench: Bench, path: bytes) -> list[bytes]:
    return [block.data for block in bench.store.read([Reading(bench.there(path))])]


class _Bench(Bench):
    database: Database


@pytest.fixture
def bench(shared_database: Database) -> _Bench:
    """One tree on one server."""
    made = _Bench(new_tree(shared_database))
    made.database = shared_database
    return made


def test_more_records_than_one_fetch_takes_come_in_order(bench: Bench):
    """Two bytes each: a stretch of 4 MiB would be two million rows."""
    many = b"".join(b"%d\n" % (number % 10) for number in range(3 * reading._BATCH_RECORDS + 7))
    bench.put(b"short.jsonl", many)
    bench.put(b"exact.jsonl", many[: 2 * reading._BATCH_RECORDS])
    bench.put(b"one.json", b"{}")
    bench.put(b"torn.jsonl", b'{"a":1}\n{"b')

    assert bench.files() == {
        b"exact.jsonl": many[: 2 * reading._BATCH_RECORDS],
        b"one.json": b"{}",
        b"short.jsonl": many,
        b"torn.jsonl": b'{"a":1}\n{"b',
    }
    assert _blocks(bench, b"torn.jsonl") == [b'{"a":1}\n', b'{"b']


def test_pieces_of_a_long_record_come_where_they_belong(bench: Bench):
    """They are kept apart from records, and arrive behind them; the count that ends a fetch must not pass them over."""
    short = b"".join(b"%d\n" % (number % 10) for number in range(reading._BATCH_RECORDS + 5))
    data = short + b'"' + b"x" * (RECORD_LIMIT + SEGMENT // 2) + b'"\n' + short + b"{}\n" * 3
    bench.put(b"mixed.jsonl", data)

    assert bench.content(b"mixed.jsonl") == data
    assert bench.there(b"mixed.jsonl").digest == digest_by_hand(data, "log")


def test_a_record_may_be_longer_than_what_is_fetched_at_once(bench: Bench):
    """Where it goes on, no record starts: that is not the end."""
    data = b'"a"\n"' + b"x" * (13 * SEGMENT) + b'"\n"b"\n'
    bench.put(b"long.jsonl", data)

    assert bench.content(b"long.jsonl") == data


def test_some_entries_of_a_page_may_have_something_kept_apart(bench: _Bench):
    """Short ones, long ones, and among them those with a piece or a record of their own elsewhere."""
    long = b'"' + b"y" * (RECORD_LIMIT + 5) + b'"\n'
    contents = {b"a.jsonl": b"1\n", b"b.jsonl": b"{}\n" + long + b"[]\n", b"c.jsonl": lines(3 * SEGMENT), b"d.json": b"{}"}
    for path, data in contents.items():
        bench.put(path, data)
    bench.put(b"e.jsonl", b"1\n2\n3\n")
    refused = bench.there(b"e.jsonl")
    with bench.database.connect() as connection:
        connection.execute("UPDATE lines SET body = NULL WHERE entry_id = %s AND pos = 2", [refused.row])
        connection.execute(
            "INSERT INTO chunks (store_id, entry_id, pos, data) SELECT store_id, entry_id, 2, %s FROM entries WHERE entry_id = %s",
            [b"2\n", refused.row],
        )

    assert bench.files() == contents | {b"e.jsonl": b"1\n2\n3\n"}
    blocks = bench.store.read([Reading(bench.there(path)) for path in [*contents, b"e.jsonl"]])
    assert b"".join(block.data for block in blocks) == b"".join(contents.values()) + b"1\n2\n3\n"


def test_several_short_entries_are_read_as_they_were_asked_for(bench: Bench):
    """Fetched together, in whatever order the server has them; an empty one among them."""
    contents = {b"%02d.json" % number: b'{"n":%d}' % number if number % 5 else b"" for number in range(40)}
    for path, data in sorted(contents.items(), reverse=True):
        bench.put(path, data)
    readings = [Reading(bench.there(path)) for path in sorted(contents, key=lambda path: path[::-1])]
    blocks = list(bench.store.read(readings))

    assert [block.entry.path for block in blocks] == [r.entry.path for r in readings]
    assert {block.entry.path: block.data for block in blocks} == contents
    assert all(block.last for block in blocks)
