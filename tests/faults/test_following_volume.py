"""A volume that goes away while it is followed stops the migration; it never empties the target."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from crossfade.migrate.follow.hints import Watch
from crossfade.testing import prodigy
from support.person import Person, refused
from support.servers import Database


@pytest.fixture
def person(tmp_path: Path) -> Person:
    return Person(tmp_path / "state")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "volume" / "prodigy"
    prodigy.build(str(root), events=20)
    return root


def emptied(root: Path) -> None:
    """As an unmount leaves it: the mount point, and nothing in it."""
    root.rename(root.with_name("away"))
    root.mkdir()


def gone(root: Path) -> None:
    root.rename(root.with_name("away"))


def a_file(root: Path) -> None:
    gone(root)
    root.write_bytes(b"")


@pytest.mark.parametrize(("loses", "why"), [(emptied, "root is empty"), (gone, "does not exist"), (a_file, "is a file")])
def test_a_volume_that_goes_away_stops_the_migration(
    person: Person, root: Path, database: Database, monkeypatch: pytest.MonkeyPatch, loses: Callable, why: str
):
    """At the worst moment: everything was copied, and nobody watches yet."""
    entries = f"""SELECT count(*) FILTER (WHERE type <> 'gone'), count(*) FROM "{database.location.schema}".entries"""
    monkeypatch.setattr(Watch, "__enter__", lambda watch: loses(root) or watch)
    monkeypatch.setattr(Watch, "__exit__", lambda *_: None)

    sentence, hint = refused(person.types("start", root, database.url), "CF707", 7)

    assert why in sentence
    assert "nothing was removed" in sentence
    assert "mount" in hint
    ((there, all_of_them),) = database.all(entries)
    assert there == all_of_them > 150
