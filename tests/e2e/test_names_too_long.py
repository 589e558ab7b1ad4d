"""A name that the target's file system cannot hold comes into being while a pair is kept in step: it goes to quarantine."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.person import Person
from support.servers import Database
from support.sql_programs import new_tree

LONG = "n" * 300


@pytest.mark.parametrize(("path", "afterwards"), [(f"notes/{LONG}.txt", 0), (f"{LONG}/note.txt", 4)])  # its directory stays
def test_a_name_that_is_too_long_stops_nothing(
    person: Person, database: Database, tmp_path: Path, path: str, afterwards: int
):
    """As in a first copy; validate says so, repair does not trip over it, and once it is gone it is forgotten."""
    files = tmp_path / "files"
    new_tree(database)
    database.run(f"SELECT {database.location.schema}.put('notes/first.txt', 'x')")
    person.moves(database.url, files)
    schema = database.location.schema
    database.run(f"SELECT {schema}.put('{path}', 'x'); SELECT {schema}.put('notes/short.txt', 'y')")
    assert person.types("validate", database.url, files, "--repair").status == 4
    person.moves(database.url, files, "--incremental", status=4)

    assert (files / "notes" / "short.txt").read_text() == "y"
    assert "name-too-long" in person.types("quarantine", database.url, files, "list").out
    database.run(f"SELECT {schema}.remove('{path}')")
    person.types("start", database.url, files, "--once", "--incremental")
    assert person.types("validate", database.url, files).status == afterwards
