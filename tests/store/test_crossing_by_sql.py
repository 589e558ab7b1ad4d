"""Two transactions that write by SQL at once, each READ COMMITTED: one waits for the other, and then does what it was asked to."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
import pytest

from support.running import wait_for
from support.servers import Database
from support.sql_programs import new_tree

LIVE = "SELECT path FROM entries WHERE type <> 'gone' AND path <> '' ORDER BY key"
ORPHANS = """
SELECT e.path FROM entries AS e WHERE e.type <> 'gone' AND e.path <> '' AND NOT EXISTS (
    SELECT FROM entries AS d WHERE d.type = 'dir' AND d.key = (SELECT key_of(parent_of(path_of(e.key)))))
"""
TEXT = "SELECT convert_from(content(e), 'UTF8') FROM entries AS e WHERE e.path = %s AND e.type = 'file'"


class Crossing:
    """``first`` is a transaction that is open; others wait for it."""

    def __init__(self, tree: Database, first: psycopg.Connection, pool: ThreadPoolExecutor) -> None:
        self.first = first
        self._tree = tree
        self._pool = pool

    def waiting(self, call: str) -> Future[object]:
        """*call* by somebody else, who waits by now."""
        before, found = self._blocked(), self._pool.submit(self._done, call)
        wait_for("a second one that waits", lambda: self._blocked() > before or found.done())
        assert not found.done(), found.result()
        return found

    def _done(self, call: str) -> object:
        with self._tree.connect(origin="") as second:
            return second.execute(f"SELECT {call}").fetchone()

    def _blocked(self) -> int:
        query = "SELECT count(DISTINCT pid)::int FROM pg_locks WHERE NOT granted"
        return int(str(self._tree.one(query)))


@pytest.fixture
def tree(database: Database) -> Database:
    """Nobody's copy, with a directory in a directory."""
    new_tree(database)
    with database.connect(origin="") as connection:
        connection.execute("SELECT put('d/sub/old', 'old'::text)")
    return database


@contextmanager
def crossing(tree: Database) -> Iterator[Crossing]:
    with tree.connect(origin="") as first, ThreadPoolExecutor() as pool:
        first.autocommit = False
        try:
            yield Crossing(tree, first, pool)
        finally:
            first.rollback()


def put(tree: Database, *paths: str) -> None:
    with tree.connect(origin="") as connection:
        for path in paths:
            connection.execute("SELECT put(%s, %s::text)", [path, path])


def live(tree: Database) -> list[str]:
    """The paths that are there; each has a directory above it."""
    assert tree.all(ORPHANS) == []
    return [path for (path,) in tree.all(LIVE)]


@pytest.mark.parametrize("path", ["d/sub/new", "d/sub/further/down/new", "d/other/new"])
def test_a_directory_takes_along_what_is_put_into_it_while_it_is_moved(tree: Database, path: str):
    """However far down, and whether or not a directory had to be made for it."""
    with crossing(tree) as pair:
        pair.first.execute("SELECT put(%s, 'new'::text)", [path])
        moving = pair.waiting("move('d', 'e')")
        pair.first.commit()
        moving.result(20)

    assert not [found for found in live(tree) if found.startswith("d")]
    assert {"e/sub/old", path.replace("d/", "e/", 1)} <= set(live(tree))
    assert tree.one(TEXT, path.replace("d/", "e/", 1)) == "new"


def test_a_directory_is_not_removed_while_a_directory_is_made_in_it(tree: Database):
    """The nearest one that was there is held, not only the one that was made."""
    with tree.connect(origin="") as connection:
        connection.execute("SELECT remove('d/sub/old'), remove('d/sub')")
    with crossing(tree) as pair:
        pair.first.execute("SELECT put('d/further/down/new', 'new'::text)")
        removing = pair.waiting("remove('d')")
        pair.first.commit()
        with pytest.raises(psycopg.Error) as caught:
            removing.result(20)

    assert caught.value.sqlstate == "XF005"
    assert live(tree) == ["d", "d/further", "d/further/down", "d/further/down/new"]


def test_what_is_put_into_a_directory_that_was_moved_meanwhile_stands_where_it_was_put(tree: Database):
    with crossing(tree) as pair:
        pair.first.execute("SELECT move('d', 'e')")
        putting = pair.waiting("put('d/sub/new', 'new'::text)")
        pair.first.commit()
        putting.result(20)

    assert live(tree) == ["d", "d/sub", "d/sub/new", "e", "e/sub", "e/sub/old"]


def test_a_directory_is_moved_without_what_is_removed_from_it_meanwhile(tree: Database):
    """A file, and a directory with all that was in it, which is not made anew where it would have gone."""
    put(tree, "d/a", "d/gone/a", "d/gone/b")
    with crossing(tree) as pair:
        pair.first.execute("SELECT remove('d/a'), remove('d/gone/a'), remove('d/gone/b'), remove('d/gone')")
        moving = pair.waiting("move('d', 'e')")
        pair.first.commit()
        moving.result(20)

    assert live(tree) == ["e", "e/sub", "e/sub/old"]


def test_what_became_a_directory_within_a_directory_that_is_moved_goes_along(tree: Database):
    put(tree, "d/a")
    with crossing(tree) as pair:
        pair.first.execute("SELECT remove('d/a'), put('d/a/b', 'b'::text)")
        moving = pair.waiting("move('d', 'e')")
        pair.first.commit()
        moving.result(20)

    assert live(tree) == ["e", "e/a", "e/a/b", "e/sub", "e/sub/old"]


def test_what_became_a_directory_is_not_moved_without_what_is_in_it(tree: Database):
    """Whoever moved a file is told, and moves the directory by asking again."""
    put(tree, "d/a")
    with crossing(tree) as pair:
        pair.first.execute("SELECT remove('d/a'), put('d/a/b', 'b'::text)")
        moving = pair.waiting("move('d/a', 'e')")
        pair.first.commit()
        with pytest.raises(psycopg.Error) as caught:
            moving.result(20)
    assert caught.value.sqlstate == "XF005"
    assert live(tree) == ["d", "d/a", "d/a/b", "d/sub", "d/sub/old"]

    with tree.connect(origin="") as connection:
        connection.execute("SELECT move('d/a', 'e')")
    assert live(tree) == ["d", "d/sub", "d/sub/old", "e", "e/b"]


def test_what_is_put_where_something_arrives_meanwhile_is_written(tree: Database):
    """Where nothing stood by then but a tombstone, whose row stands elsewhere by now."""
    put(tree, "a", "b")
    with tree.connect(origin="") as connection:
        connection.execute("SELECT remove('b')")
    with crossing(tree) as pair:
        pair.first.execute("SELECT move('a', 'b')")
        putting = pair.waiting("put('b', 'new'::text)")
        pair.first.commit()
        assert putting.result(20) is not None

    assert tree.one(TEXT, "b") == "new"
    assert live(tree) == ["b", "d", "d/sub", "d/sub/old"]


def test_what_is_put_where_something_was_moved_away_meanwhile_is_written(tree: Database):
    put(tree, "a")
    with crossing(tree) as pair:
        pair.first.execute("SELECT move('a', 'b')")
        putting = pair.waiting("put('a', 'new'::text)")
        pair.first.commit()
        assert putting.result(20) is not None

    assert [tree.one(TEXT, path) for path in "ab"] == ["new", "a"]


def test_two_that_move_one_file(tree: Database):
    """The second is told that it is gone."""
    put(tree, "a")
    with crossing(tree) as pair:
        pair.first.execute("SELECT move('a', 'b')")
        moving = pair.waiting("move('a', 'c')")
        pair.first.commit()
        with pytest.raises(psycopg.Error) as caught:
            moving.result(20)

    assert caught.value.sqlstate == "XF006"
    assert "'a'" in str(caught.value)
    assert live(tree) == ["b", "d", "d/sub", "d/sub/old"]


def test_one_that_removes_what_was_replaced_meanwhile(tree: Database):
    """There has always been something: that is removed."""
    put(tree, "a")
    with crossing(tree) as pair:
        pair.first.execute("SELECT move('a', 'b')")
        pair.first.execute("SELECT put('a', 'new'::text)")
        removing = pair.waiting("remove('a')")
        pair.first.commit()
        assert removing.result(20) == (True,)

    assert live(tree) == ["b", "d", "d/sub", "d/sub/old"]
