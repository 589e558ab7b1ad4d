"""An order that is taken back, and its decision: whichever comes first in the database is what both go by."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from socket import gethostname

import pytest

from crossfade.errors import GateShut
from crossfade.migrate.handover.order import WISH, Order
from crossfade.store.backends.postgres import direction, journal, wishes
from crossfade.store.backends.postgres.journal import Line, actor
from crossfade.store.backends.postgres.ledger import Ledger
from crossfade.store.backends.postgres.server import Connection
from support.person import Person
from support.servers import Database


class Table:
    """A migration, and what both say of an order for it, each in a transaction of its own."""

    def __init__(self, database: Database) -> None:
        self.database, self.schema = database, database.location.schema
        self.migration = str(database.one("SELECT migration_id FROM migrations"))

    def asks(self) -> str:
        """Somebody asks for a cut-over; its number."""
        order = Order("cutover")
        line = Line("wished", order.values())
        with closing(Ledger(self.database.server, self.schema)) as ledger:
            ledger.change(lambda c: wishes.give(c, self.schema, self.migration, WISH, order.values(), line))
        return order.number

    def takes_back(self, number: str) -> bool:
        with closing(self.database.server.connect("test")) as connection:
            is_gone = self.take_back(connection, number)
            connection.commit()
        return is_gone

    def take_back(self, connection: Connection, number: str) -> bool:
        line = Line(wishes.TAKEN_BACK, {"order": number})
        return wishes.take_back(connection, self.schema, self.migration, WISH, number, line)

    def stands(self, connection: Connection, number: str) -> bool:
        return wishes.stands(connection, self.schema, self.migration, WISH, number)

    def decide(self, connection: Connection, number: str) -> None:
        """As the transaction of a decision does."""
        direction.forget_wish(connection, self.schema, self.migration, WISH, number)
        journal.append(connection, self.schema, self.migration, Line("handed over", {"order": number}))


@pytest.fixture
def table(person: Person, database: Database, tmp_path: Path) -> Iterator[Table]:
    root = tmp_path / "live"
    root.mkdir()
    (root / "a.json").write_bytes(b"{}")
    person.moves(root, database.url)
    return Table(database)


def test_what_was_taken_back_does_not_stand(table: Table):
    number = table.asks()
    with closing(table.database.server.connect("test")) as connection:
        assert table.stands(connection, number)
        connection.rollback()
        assert table.takes_back(number)
        assert not table.stands(connection, number)


def test_it_does_not_stand_either_where_another_order_was_given_since(table: Table):
    """The runner hears of the other one, and never that the first one was gone in between."""
    number = table.asks()
    assert table.takes_back(number)
    other = table.asks()
    with closing(table.database.server.connect("test")) as connection:
        assert not table.stands(connection, number)
        assert table.stands(connection, other)


def test_no_other_order_is_given_while_one_stands(table: Table):
    """It would take the first one's place, and whoever took it back would end both. Who gave the first is said."""
    number = table.asks()
    with pytest.raises(GateShut, match=f"a cutover was asked for by {actor()} on {gethostname()}, and is not done yet"):
        table.asks()
    with closing(table.database.server.connect("test")) as connection:
        assert table.stands(connection, number)
    assert table.database.one("SELECT count(*) FROM journal WHERE event = 'wished'") == 1


@pytest.mark.parametrize("is_decided", [True, False])
def test_who_takes_back_waits_for_a_decision_on_its_way(table: Table, is_decided: bool):
    """And does not say that nothing was handed over where it was."""
    number = table.asks()
    said: list[bool] = []
    with closing(table.database.server.connect("test")) as connection:
        assert table.stands(connection, number)
        table.decide(connection, number)
        other = threading.Thread(target=lambda: said.append(table.takes_back(number)))
        other.start()
        other.join(0.5)
        assert said == []
        (connection.commit if is_decided else connection.rollback)()
        other.join(30)

    assert said == [not is_decided]


def test_a_decision_waits_for_who_takes_back(table: Table):
    number = table.asks()
    said: list[bool] = []

    def decides() -> None:
        with closing(table.database.server.connect("test")) as connection:
            said.append(table.stands(connection, number))

    with closing(table.database.server.connect("test")) as connection:
        assert table.take_back(connection, number)
        other = threading.Thread(target=decides)
        other.start()
        other.join(0.5)
        assert said == []
        connection.commit()
        other.join(30)

    assert said == [False]
