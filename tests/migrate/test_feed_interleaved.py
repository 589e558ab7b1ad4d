"""Any interleaving of transactions: a reader that applies what the feed names, as it stands when it looks, ends with what stands."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg import errors as pg

from crossfade.migrate.follow.feed import Place, begin
from crossfade.model import layouts
from crossfade.model.paths import path_of
from crossfade.store.backends.postgres import feed
from crossfade.store.backends.postgres.store import PostgresStore
from crossfade.store.port import Reading
from crossfade.store.registry import DatabaseRecipe
from support.running import wait_for
from support.servers import NAMES, Database, Servers
from support.sql_programs import connection_of
from support.twins import make_known

MINE = "0123456789ab"
PATHS = ("sessions/a.json", "sessions/b.json", "events/r/j/events-1.jsonl", "events/r/j/events-2.jsonl")
CONTENT = "SELECT path, content(e) FROM entries AS e WHERE store_id = %s AND type = 'file'"

_TREE = itertools.count(1)

WHO = st.integers(0, 2)
WRITE = st.tuples(st.just("write"), WHO, st.sampled_from(["put", "append", "append", "remove"]), st.sampled_from(PATHS))
MOVE = st.tuples(st.just("move"), WHO, st.sampled_from(PATHS), st.sampled_from(PATHS))
END = st.tuples(st.just("end"), WHO, st.sampled_from(["commit", "commit", "commit", "rollback"]))
READ = st.tuples(st.just("read"), st.integers(1, 5))
STEPS = st.lists(st.one_of(WRITE, WRITE, WRITE, MOVE, END, END, READ, READ), min_size=5, max_size=40)


class Interleaved:
    """A tree of its own in *database*, three programs in transactions of theirs, and ``held``, what the reader has."""

    def __init__(self, database: Database, writers: list[psycopg.Connection]) -> None:
        self._database, self._writers = database, writers
        self._name = f"tree{next(_TREE)}"
        self._number = itertools.count(1)
        self.store_id = int(str(database.one(f"SELECT make_store('{self._name}', 'prodigy')")))
        for path in ("sessions/first.json", "events/r/j/first.jsonl"):  # else whoever makes the directory is waited for
            self.do("write", 0, "put", path)
        writers[0].commit()
        place = Place(database.server, database.location.schema, self.store_id, MINE)
        assert begin(place, threading.Event(), lambda _: None)
        self._reader = place.connect()
        self._cursor = feed.load(self._reader, place.schema, MINE, self.store_id)
        recipe = DatabaseRecipe(database.location, database.server, self.store_id, layouts.load("prodigy"), MINE, 0)
        self._store: PostgresStore = recipe.open(0)
        self.held: dict[str, bytes] = {}
        self._apply([path.encode() for path in self.standing()])

    def close(self) -> None:
        self._reader.close()
        self._store.close()

    def do(self, what: str, *how: Any) -> None:
        """One step; a write that would have to wait for somebody else's is left out."""
        if what == "read":
            self.read(*how)
        elif what == "end":
            getattr(self._writers[how[0]], how[1])()
        elif what == "move":
            self._call(how[0], "move", how[1], how[2])
        else:
            line = () if how[1] == "remove" else (b'{"id":"%d"}\n' % next(self._number),)
            self._call(how[0], how[1], how[2], *line)

    def _call(self, who: int, function: str, *values: object) -> None:
        writer, marks = self._writers[who], ", ".join(["%s"] * (len(values) + 1))
        writer.execute("SELECT 1")  # so that what follows is a savepoint, and stays open
        try:
            with writer.transaction():
                writer.execute(f"SELECT {self._database.location.schema}.{function}({marks})", [self._name, *values])
        except pg.LockNotAvailable:
            return
        except psycopg.DatabaseError as error:  # there is nothing to move, or something is in the way
            if function != "move" or not (error.sqlstate or "").startswith("XF"):
                raise

    def read(self, limit: int) -> bool:
        """Apply what the next *limit* rows name; False where there was nothing."""
        schema, before = self._database.location.schema, self._cursor
        assert before is not None
        found, self._cursor = feed.dirty(self._reader, schema, self.store_id, before, MINE, limit)
        self._apply([path_of(dirty.key) for dirty in found])
        return bool(found)

    def read_all(self) -> None:
        """Whatever is committed by now; others on the server may have to end first."""
        schema = self._database.location.schema
        assert self._cursor is not None

        def is_over() -> bool:
            while self.read(1000):
                pass
            return not feed.backlog(self._reader, schema, self.store_id, self._cursor, MINE).count  # type: ignore[arg-type]

        wait_for("the end of the feed", is_over, 30)

    def _apply(self, paths: list[bytes]) -> None:
        standing = {entry.path: entry for entry in self._store.look(paths)}
        for path in paths:
            entry = standing.get(path)
            if entry is None or entry.type != "file":
                self.held.pop(path.decode(), None)
            else:
                self.held[path.decode()] = b"".join(block.data for block in self._store.read([Reading(entry)]))

    def standing(self) -> dict[str, bytes]:
        """What the tree holds, by SQL."""
        return dict(self._database.all(CONTENT, self.store_id))


@pytest.fixture(scope="module")
def database(servers: Servers) -> Iterator[Database]:
    """One schema for many trees."""
    with servers.database(NAMES[0]) as made:
        make_known(made, layouts.load("prodigy"))
        yield made


@pytest.fixture(scope="module")
def writers(database: Database) -> Iterator[list[psycopg.Connection]]:
    """Three that write, and never wait for one another."""
    found = [connection_of(database) for _ in range(3)]
    for writer in found:
        writer.execute("SET lock_timeout = '5ms'")
        writer.commit()
    yield found
    for writer in found:
        writer.close()


@given(steps=STEPS)
@settings(max_examples=50)
def test_a_reader_ends_with_what_stands(steps: list[tuple], database: Database, writers: list[psycopg.Connection]):
    """Whoever commits when: nothing that is committed goes unnamed, and nothing that lost is kept."""
    with closing(Interleaved(database, writers)) as tree:
        try:
            for step in steps:
                tree.do(*step)
        finally:
            for writer in writers:
                writer.commit()
        tree.read_all()

        assert tree.held == tree.standing()
