"""The source of two databases is fenced as the target is, by the epoch of a runner whose lease is in the other one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace

import psycopg
import pytest

from crossfade.errors import Fenced
from crossfade.model.layouts import Layout
from crossfade.store.backends.postgres import pointer, route
from crossfade.store.backends.postgres.ledger import Ledger
from crossfade.store.backends.postgres.pointer import Pointer
from crossfade.store.backends.postgres.route import Authority, Route
from crossfade.store.registry import DatabaseRecipe
from crossfade.testing.contract import LAYOUT, Bench
from support.servers import Database
from support.sql_programs import connection_of
from support.twins import make_known

MIGRATION = "0123456789ab"
CONTROL = "postgresql://db.example.org/state"


@pytest.fixture
def ledger(database: Database) -> Iterator[Ledger]:
    make_known(database, LAYOUT)
    database.run(f"SET search_path = {database.location.schema}; SELECT make_store('tree', '{LAYOUT.name}')")
    opened = Ledger(database.server, database.location.schema)
    yield opened
    opened.close()


def becomes(ledger: Ledger, epoch: int) -> bool:
    """The runner with *epoch* by the other database's lease becomes it here; whether it may."""
    found = Pointer(MIGRATION, 1, CONTROL)
    return ledger.change(lambda c: pointer.make(c, ledger.schema, found, epoch))


@contextmanager
def writing_as(database: Database, epoch: int, layout: Layout = LAYOUT) -> Iterator[Bench]:
    """A store that applies pages as the runner with *epoch*."""
    recipe = DatabaseRecipe(database.location, database.server, 1, layout, MIGRATION, epoch)
    bench = Bench(recipe.open)
    yield bench
    bench.store.close()


def test_pages_pass_for_the_epoch_that_stands_there_and_for_no_other(database: Database, ledger: Ledger):
    """Without a pointer none do: nobody has become the runner there."""
    with writing_as(database, 1) as first, writing_as(database, 2) as second:
        with pytest.raises(Fenced):
            first.put(b"one.json", b"{}")
        assert becomes(ledger, 1)
        first.put(b"one.json", b"{}")
        assert becomes(ledger, 2)
        with pytest.raises(Fenced):
            first.put(b"two.json", b"{}")
        second.put(b"three.json", b"{}")
    assert database.all("SELECT path FROM entries WHERE type = 'file' ORDER BY key") == [("one.json",), ("three.json",)]


def test_whoever_was_replaced_does_not_become_the_runner_again(ledger: Ledger):
    """It was asleep between the two databases: the epoch in the one is old, and the other has heard of the next."""
    assert becomes(ledger, 2)
    assert not becomes(ledger, 1)
    assert not ledger.change(lambda c: pointer.retake(c, ledger.schema, MIGRATION, 1))
    assert becomes(ledger, 2)


def test_a_page_in_flight_ends_before_the_next_runner_begins(database: Database, ledger: Ledger):
    """A runner that stopped in the middle of a transaction: it never commits, and nobody waits for it."""
    assert becomes(ledger, 1)
    with closing(connection_of(database)) as connection:
        connection.execute("SELECT pg_advisory_xact_lock_shared(hashtext('crossfade lease'), hashtext(%s))", [MIGRATION])
        connection.execute("UPDATE routes SET authority = 'elsewhere'")
        done = threading.Event()
        thread = threading.Thread(target=lambda: becomes(ledger, 2) and done.set(), daemon=True)
        thread.start()
        assert done.wait(10)
        with pytest.raises(psycopg.OperationalError):
            connection.commit()
    assert database.one("SELECT authority FROM routes") == "here"


def test_a_migration_that_has_ended_leaves_no_right_behind(database: Database, ledger: Ledger):
    assert becomes(ledger, 1)
    ledger.change(lambda c: pointer.remove(c, ledger.schema, MIGRATION))
    with writing_as(database, 1) as bench, pytest.raises(Fenced):
        bench.put(b"one.json", b"{}")
    assert database.one("SELECT count(*) FROM pointers") == 0


def routes(everything: Authority, **kinds: Authority) -> dict[str, Route]:
    found = {"": Route("", 3, everything)}
    return found | {kind: Route(kind, 3, side) for kind, side in kinds.items()}


@pytest.mark.parametrize(
    ("mine", "truth", "ours", "others"),
    [
        (routes("here"), routes("elsewhere"), {}, {}),
        (routes("elsewhere"), routes("here"), {}, {}),
        (routes("here"), routes("here"), {"": "elsewhere"}, {"": "elsewhere"}),
        (routes("elsewhere"), routes("elsewhere"), {"": "here"}, {}),
        (routes("here"), routes("elsewhere", events="here"), {"events": "elsewhere"}, {"events": "elsewhere"}),
        (routes("elsewhere", events="here"), routes("here"), {"events": "elsewhere"}, {"events": "elsewhere"}),
        (routes("here", events="elsewhere"), routes("elsewhere"), {"events": "here"}, {}),
    ],
)
def test_what_is_astray_is_closed_at_once_and_opened_only_by_whoever_closed_it(
    mine: dict, truth: dict, ours: dict, others: dict
):
    assert route.astray(mine, truth, is_ours=True) == ours
    assert route.astray(mine, truth, is_ours=False) == others


def test_nothing_is_handed_to_the_side_that_has_it(database: Database, ledger: Ledger):
    """Two migrations of one tree: the second finds that the first was there."""

    def handed(authority: Authority, epoch: int) -> bool:
        return ledger.change(lambda c: route.switch(c, ledger.schema, 1, [""], authority, epoch))

    assert not handed("here", 1)
    assert handed("elsewhere", 1)
    assert not handed("elsewhere", 2)
    assert handed("here", 2)
    assert database.all("SELECT epoch, authority FROM routes") == [(3, "here")]


def test_a_decision_that_is_on_its_way_is_waited_for(database: Database, ledger: Ledger):
    """Whoever did not hear it must not take it for one that never was."""
    with closing(connection_of(database)) as connection:
        route.close_gate(connection, ledger.schema, 1, 1.0)
        route.switch(connection, ledger.schema, 1, [""], "elsewhere", 1)
        with pytest.raises(psycopg.errors.LockNotAvailable):
            ledger.ask(lambda c: route.settled(c, ledger.schema, 1, 0.1))
        threading.Timer(0.3, connection.commit).start()
        found = ledger.ask(lambda c: route.settled(c, ledger.schema, 1, 10.0))
    assert found[""] == replace(found[""], epoch=2, authority="elsewhere")
