"""The indexes that a first load leaves out, and builds at its end: those of large tables side by side."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from crossfade.migrate.engine import Engine
from crossfade.migrate.plan import Manner
from crossfade.migrate.prepare import Request, prepared
from crossfade.model import layouts
from crossfade.store.backends.postgres import indexes, schema
from crossfade.store.backends.postgres.ledger import Ledger
from crossfade.store.location import parse
from support.servers import Database

KIND = layouts.load("prodigy").kind("events")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """One log."""
    root = tmp_path / "tree"
    log = root / "events" / "repo" / "job-1" / "events-20251116_101500.jsonl"
    log.parent.mkdir(parents=True)
    log.write_text('{"id": "one"}\n{"id": "two"}\n')
    return root


def copy(tree: Path, database: Database) -> None:
    """``start --once``, in this process."""
    with prepared(Request(parse(str(tree)), parse(database.url), manner=Manner(workers=1))) as run:
        Engine(run, watch=lambda progress: None, stop=threading.Event()).once()


def found(database: Database) -> set[str]:
    """The indexes of the events' table that are valid."""
    query = "SELECT relname FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid WHERE indrelid = %s::regclass AND indisvalid"
    return {str(name) for (name,) in database.all(query, "events")}


@pytest.mark.parametrize("large", [0, 1 << 60])
def test_every_index_is_there_after_a_first_load(
    tree: Path, database: Database, monkeypatch: pytest.MonkeyPatch, large: int
):
    """Whether each was worth a transaction of its own or not; and the planner knows the table."""
    monkeypatch.setattr(indexes, "_LARGE", large)
    copy(tree, database)

    assert found(database) == {text.split('"')[1] for text in schema.index_statements(database.location.schema, KIND)}
    assert database.one("SELECT indexed FROM kinds WHERE name = 'events'") is True
    assert database.one("SELECT reltuples FROM pg_class WHERE oid = 'events'::regclass") == 2
    assert database.one("SELECT reltuples FROM pg_class WHERE oid = 'entries'::regclass") == 5


def test_only_a_large_table_that_lacks_its_indexes_is_long_to_build(
    tree: Path, database: Database, monkeypatch: pytest.MonkeyPatch
):
    """And one that is not there is not."""
    copy(tree, database)
    ledger, name = Ledger(database.server, database.location.schema), database.location.schema
    monkeypatch.setattr(indexes, "_LARGE", 8192)

    assert ledger.long_builds(KIND) == []
    database.run("UPDATE kinds SET indexed = false")
    assert ledger.long_builds(KIND) == schema.index_statements(name, KIND)
    assert ledger.long_builds(replace(KIND, name="nothing")) == []
    monkeypatch.setattr(indexes, "_LARGE", 8193)
    assert ledger.long_builds(KIND) == []
    ledger.close()


def test_a_build_that_fails_leaves_the_kind_for_the_next_run(
    tree: Path, database: Database, monkeypatch: pytest.MonkeyPatch
):
    """One of two lanes fails, and the run with it."""
    monkeypatch.setattr(indexes, "_LARGE", 0)
    with monkeypatch.context() as broken:
        broken.setattr(schema, "index_statements", lambda *_: ["CREATE INDEX no_such_column ON events (nothing)"])
        with pytest.raises(psycopg.Error):
            copy(tree, database)
    assert database.one("SELECT indexed FROM kinds WHERE name = 'events'") is False

    copy(tree, database)
    assert len(found(database)) == 1 + len(KIND.indexes)
