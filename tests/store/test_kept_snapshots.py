"""A transaction that keeps its snapshot does not see what is in a directory by now, nor that its tree is followed since."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from support.servers import Database
from support.sql_programs import new_tree

LIVE = "SELECT path, type FROM entries WHERE type <> 'gone' AND path <> '' ORDER BY key"


@pytest.fixture
def tree(database: Database) -> Database:
    """A directory that was made, and is empty by now."""
    new_tree(database)
    with database.connect(origin="") as connection:
        connection.execute("SELECT put('sessions/a.json', '{}'::text)")
        connection.execute("SELECT remove('sessions/a.json')")
    return database


@contextmanager
def keeping_a_snapshot(tree: Database, level: psycopg.IsolationLevel) -> Iterator[Any]:
    """A transaction that has looked already."""
    with tree.connect(origin="") as connection:
        connection.isolation_level = level
        with connection.transaction():
            connection.execute("SELECT count(*) FROM entries")
            yield connection


@pytest.mark.parametrize("level", [psycopg.IsolationLevel.REPEATABLE_READ, psycopg.IsolationLevel.SERIALIZABLE])
@pytest.mark.parametrize("act", ["remove('sessions')", "move('sessions', 'elsewhere')"])
def test_a_directory_is_not_taken_away_from_what_was_put_into_it_meanwhile(
    tree: Database, act: str, level: psycopg.IsolationLevel
):
    """Whoever put it has ended, and left no lock; the directory's row is what it was."""
    with pytest.raises(psycopg.Error) as caught, keeping_a_snapshot(tree, level) as first:
        with tree.connect(origin="") as second:
            second.execute("SELECT put('sessions/b.json', '{}'::text)")
        first.execute(f"SELECT {act}")

    assert tree.all(LIVE) == [("sessions", "dir"), ("sessions/b.json", "file")]
    assert caught.value.sqlstate == "XF005"
    assert "'sessions' cannot be told in a transaction that is " in str(caught.value)
    assert "READ COMMITTED" in (caught.value.diag.message_hint or "")


def test_a_file_may_be_removed_and_moved_by_one_that_keeps_its_snapshot(tree: Database):
    with tree.connect(origin="") as connection:
        connection.execute("SELECT put('sessions/b.json', '{}'::text), put('sessions/c.json', '{}'::text)")
    with keeping_a_snapshot(tree, psycopg.IsolationLevel.REPEATABLE_READ) as first:
        first.execute("SELECT remove('sessions/b.json'), move('sessions/c.json', 'sessions/d.json')")

    assert tree.all(LIVE) == [("sessions", "dir"), ("sessions/d.json", "file")]


@pytest.mark.parametrize("level", [psycopg.IsolationLevel.REPEATABLE_READ, psycopg.IsolationLevel.SERIALIZABLE])
def test_what_nobody_follows_leaves_no_note(tree: Database, level: psycopg.IsolationLevel):
    """It would grow with every write, and nobody would ever take it away."""
    with keeping_a_snapshot(tree, level) as first:
        first.execute("SELECT put('sessions/b.json', '{}'::text)")

    assert tree.one("SELECT count(*) FROM changes") == 0


@pytest.mark.parametrize("level", [psycopg.IsolationLevel.REPEATABLE_READ, psycopg.IsolationLevel.SERIALIZABLE])
def test_a_tree_that_is_followed_since_is_not_written_unnoted(tree: Database, level: psycopg.IsolationLevel):
    """It is told to try again, as by any other conflict."""
    with pytest.raises(psycopg.errors.SerializationFailure), keeping_a_snapshot(tree, level) as first:
        tree.run("UPDATE stores SET fed = true")
        first.execute("SELECT put('sessions/b.json', '{}'::text)")
    with keeping_a_snapshot(tree, level) as again:
        again.execute("SELECT put('sessions/b.json', '{}'::text)")

    assert (
        tree.one("SELECT count(*) FROM changes AS c JOIN entries AS e USING (entry_id) WHERE e.path = 'sessions/b.json'") > 0
    )
