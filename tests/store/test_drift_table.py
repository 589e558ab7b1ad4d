"""The table of what has drifted: what is new in it is told once, and it is read by the page."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from crossfade.model.paths import key_of
from crossfade.store.backends.postgres import drift, journal
from crossfade.store.backends.postgres.drift import Seen, Which
from crossfade.store.backends.postgres.ledger import Ledger
from support.servers import Database

MINE, OTHERS = "mine", "others"
MANY = 2 * drift.PAGE + 3


@pytest.fixture
def ledger(database: Database) -> Iterator[Ledger]:
    """A ledger of a new schema, in which much has drifted: of one migration twice a page and three, of another one item."""
    opened = Ledger(database.server, database.location.schema)
    opened.ensure()
    found = [_seen(number) for number in range(MANY)]
    opened.change(lambda c: drift.see(c, opened.schema, MINE, found))
    opened.change(lambda c: drift.see(c, opened.schema, OTHERS, found[:1]))
    yield opened
    opened.close()


def _seen(number: int, size: int = 1) -> Seen:
    kind = "sessions" if number % 2 else ""
    return Seen("source", key_of(b"sessions/%05d.json" % (MANY - number)), kind, "changed", "file", size)


def test_much_of_it_is_read_a_page_at_a_time_by_number_or_by_path(ledger: Ledger):
    """All of it comes, once, and never more than a page of it."""
    which = Which(MINE)
    by_number = list(drift.pages(ledger.ask, ledger.schema, which))
    by_key = list(drift.pages_by_key(ledger.ask, ledger.schema, which))
    numbers = [item.item for page in by_number for item in page]
    keys = [item.seen.key for page in by_key for item in page]

    assert [len(page) for page in by_number] == [len(page) for page in by_key] == [drift.PAGE, drift.PAGE, 3]
    assert numbers == sorted(set(numbers))
    assert keys == sorted(set(keys))
    assert ledger.ask(lambda c: drift.count(c, ledger.schema, which)) == MANY


def test_a_part_of_it_is_asked_for_by_side_kind_wish_or_place(ledger: Ledger):
    """What is wished is found among much that is not; what stands at some places, by its index."""
    keys = [_seen(number).key for number in (3, 4)]
    three, four = sorted(ledger.ask(lambda c: drift.at(c, ledger.schema, Which(MINE), keys)), key=lambda item: item.item)
    ledger.change(lambda c: drift.wish(c, ledger.schema, MINE, "ignore", [three.item, four.item]))

    def numbers(which: Which) -> list[int]:
        return [item.item for page in drift.pages(ledger.ask, ledger.schema, which) for item in page]

    assert numbers(Which(MINE, wished=True)) == [three.item, four.item]
    assert numbers(Which(MINE, kinds=frozenset({"sessions"}), wished=True)) == [three.item]
    assert numbers(Which(MINE, "target")) == []
    assert numbers(Which(OTHERS, wished=True)) == []
    assert ledger.ask(lambda c: drift.named(c, ledger.schema, OTHERS, [three.item])) == []
    with ledger.server.connect("plan") as connection:
        connection.execute(f"SET search_path = {ledger.schema}".encode())
        query = b"EXPLAIN SELECT 1 FROM drift WHERE migration_id = 'mine' AND state = 'open' AND sha256(key) = ANY("
        plan = connection.execute(query + b"SELECT sha256(k) FROM unnest(ARRAY['a'::bytea]) AS k)").fetchall()
    assert any("drift_once" in str(line) for (line,) in plan), plan


def test_what_is_met_again_as_it_was_is_no_line_in_the_journal(ledger: Ledger):
    """Whoever looks at everything meets all of it each time."""

    def told() -> int:
        return ledger.ask(lambda c: journal.count(c, ledger.schema, MINE))

    before = told()
    ledger.change(lambda c: drift.see(c, ledger.schema, MINE, [_seen(number) for number in range(10)]))
    assert told() == before
    ledger.change(lambda c: drift.see(c, ledger.schema, MINE, [_seen(0), _seen(1, size=2)]))
    assert told() == before + 1
    (again,) = ledger.ask(lambda c: drift.at(c, ledger.schema, Which(MINE), [_seen(1).key]))
    assert (again.count, again.seen.size) == (2, 2)
