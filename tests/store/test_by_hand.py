"""What somebody tries by hand on the tables of a schema is refused, and they are told what to call instead."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from support.servers import NAMES, Database, Servers
from support.sql_programs import new_tree

TABLES = ("events", "sessions", "entries", "segments", "chunks")
STATEMENTS = ("INSERT INTO {0} SELECT * FROM {0}", "UPDATE {0} SET entry_id = 0", "DELETE FROM {0}")
LOG, LINE = "events/r/j/events-1.jsonl", '{"id":"1"}\n'


@pytest.fixture(scope="module", params=NAMES)
def tree(request: pytest.FixtureRequest, servers: Servers) -> Iterator[Database]:
    """A log and a document, on every server."""
    with servers.database(request.param) as database:
        new_tree(database)
        with database.connect(origin="") as connection:
            connection.execute("SELECT append(%s, %s::text), put('sessions/s.json', '{}'::text)", [LOG, LINE])
        yield database


def refused(tree: Database, statement: str, origin: str = "") -> tuple[str, str]:
    """The sentence and the hint that the server answers *statement* with."""
    with tree.connect(origin=origin) as connection, pytest.raises(psycopg.Error) as caught:
        connection.execute(statement)
    assert caught.value.sqlstate == "XF001", caught.value
    return caught.value.diag.message_primary or "", caught.value.diag.message_hint or ""


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("statement", STATEMENTS)
def test_a_statement_by_hand_is_refused_with_the_function_to_call(tree: Database, table: str, statement: str):
    """Whether a row is met or not: columns, content and digests would part."""
    sentence, hint = refused(tree, statement.format(table))

    assert f"{statement.split(maxsplit=1)[0]} on {tree.location.schema}.{table} is refused" in sentence
    assert f"{tree.location.schema}.put(path, body), append(path, line), remove(path) or move(path, path)" in hint


@pytest.mark.parametrize("origin", ["", "by-hand"])
@pytest.mark.parametrize("table", TABLES)
def test_a_table_is_never_emptied_at_once(tree: Database, table: str, origin: str):
    """Not even by somebody who says who they are: no row is named to whoever follows."""
    sentence, hint = refused(tree, f"TRUNCATE {table} CASCADE", origin)

    assert f"TRUNCATE of {tree.location.schema}.{table} is refused" in sentence
    assert f"SELECT {tree.location.schema}.remove(path)" in hint
    assert tree.one("SELECT body::text FROM events") == LINE
