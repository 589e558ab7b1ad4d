"""Programs whose transactions are prepared before they commit: with those of other servers, by somebody else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from crossfade.store.backends.postgres import feed
from support.cluster import Cluster
from support.servers import Database
from support.sql_programs import new_tree


@pytest.fixture
def tree() -> Iterator[Database]:
    """Nobody's copy, on a server that takes prepared transactions; what is written is noted."""
    with Cluster(max_prepared_transactions="5") as cluster:
        database = cluster.database("prepared")
        new_tree(database)
        with database.connect() as connection, connection.transaction():
            feed.turn_on(connection, database.location.schema, 1)
        yield database


WRITES = ["put('a', 'a'::text)", "append('b', E'b\\n')", "move('a', 'c')", "remove('b')"]


def test_a_write_may_be_prepared(tree: Database):
    """Also where somebody is to hear of it."""
    with closing(tree.connect(origin="")) as program:
        for number, write in enumerate(WRITES):
            program.execute("BEGIN")
            program.execute(f"SELECT {write}")
            program.execute(f"PREPARE TRANSACTION 'write {number}'")
            program.execute(f"COMMIT PREPARED 'write {number}'")

    assert tree.all("SELECT path FROM entries WHERE type = 'file'") == [("c",)]
    assert tree.one("SELECT count(*) FROM changes")
