"""What a status says to type next can be typed as it stands, wherever that is."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from support.person import Person
from support.servers import Database


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "live").mkdir()
    (tmp_path / "live/one.json").write_text("{}")
    return tmp_path / "live"


def test_a_command_names_the_database_where_the_migration_would_not_be_found(root: Path, database: Database, tmp_path: Path):
    """For somebody else, or on another host; not where the user's own list has it, or the environment names it."""
    owner, other = Person(tmp_path / "owner"), Person(tmp_path / "other")
    owner.moves(root, database.url)
    assert owner.types("cutover", root, database.url, "--writers-stopped").status == 0

    def step(person: Person, **environment: str) -> str:
        return str(person.asks("status", "--store", database.url, **environment)["next_steps"][0]["command"])

    assert "--store" not in step(owner)
    assert "--store" not in step(other, CROSSFADE_STORE=database.url)
    assert "--store" in step(owner, CROSSFADE_STORE=database.url + "x")
    command = shlex.split(step(other))
    assert command[:2] == ["crossfade", "resume"]
    assert other.types("status", *command[2:]).status == 0
