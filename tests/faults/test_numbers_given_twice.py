"""A server that crashes forgets transactions of which nothing was on disk, and gives their numbers out again.

A reader of the change feed that has come past such a number has not read what bears it now.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from crossfade.migrate.follow.dirty import Dirty
from crossfade.migrate.follow.feed import FeedWatch, Place, begin
from crossfade.store.location import conninfo, parse
from support.cluster import Cluster
from support.proxy import Proxy
from support.running import wait_for
from support.servers import Database
from support.sql_programs import SqlProgram, connection_of, new_tree

SCHEMA, PATH = "twice", "sessions/twice.json"


@pytest.fixture
def forgetful() -> Iterator[Cluster]:
    """A server that is slow to put on disk what nobody waits for."""
    with Cluster(wal_writer_delay="10s") as running:
        yield running
        running.stop(immediately=True)  # in good order it would take its ten seconds


def test_what_bears_a_number_that_was_read_before_the_crash_is_named(forgetful: Cluster):
    """The reader cannot call while the server comes back and the program writes; then it asks anew from where it had settled."""
    database, named = forgetful.database(SCHEMA), set[bytes]()
    new_tree(database)
    forgetful.stop(immediately=True)
    forgetful.start()  # its ten seconds begin now
    program = SqlProgram(database, seed=0)
    program.put("sessions/first.json", b"{}")
    with Proxy(forgetful.port) as proxy:
        server = replace(database.server, conninfo=conninfo(parse(forgetful.url(SCHEMA, proxy.port))))
        place, dirty = Place(server, SCHEMA, 1, "0123456789ab"), Dirty()
        assert begin(place, threading.Event(), lambda _: None)
        with FeedWatch(place, dirty, lambda *_: None) as watch:
            lost = _rolled_back(database)
            wait_for("the reader", lambda: watch._at is not None and watch._at.xid > lost)
            proxy.stop()
            forgetful.stop(immediately=True)
            forgetful.start()
            program.sql = database.connect(origin="")
            program.put(PATH, b"{}")
            assert _number(database) <= lost, "no number was given out twice, so nothing was tried"
            proxy.go_on()
            wait_for("its name", lambda: named.update(d.path for d in dirty.take(1e12, 100)) or PATH.encode() in named)


def _rolled_back(database: Database) -> int:
    """The last number of some transactions that came to nothing."""
    with closing(connection_of(database)) as connection:
        for _ in range(20):
            row = connection.execute("SELECT pg_current_xact_id()::text::bigint").fetchone()
            connection.rollback()
    assert row is not None
    return int(row[0])


def _number(database: Database) -> int:
    """That of the transaction that changed something last."""
    return int(str(database.one("SELECT xid::text::bigint FROM changes ORDER BY seq DESC LIMIT 1")))
