"""A volume that goes away while it is followed stops the migration; it never empties the target."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from crossfade.migrate.follow import live
from crossfade.migrate.follow.hints import Watch
from crossfade.store.backends.file import mounts
from crossfade.testing import prodigy
from support.person import Person, refused
from support.running import Terminal
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
    assert "nothing more was removed" in sentence
    assert "mount" in hint
    ((there, all_of_them),) = database.all(entries)
    assert there == all_of_them > 150


def rows_of(database: Database, kind: str) -> object:
    return database.one(f'SELECT count(*) FROM "{database.location.schema}"."{kind}"')


@pytest.mark.parametrize(
    "verbs",
    [
        [("cutover", "--only", "events")],
        [("cutover",), ("rollback", "--only", "sessions")],
    ],
    ids=["one kind was cut over", "all but one kind were cut over"],
)
def test_an_empty_volume_is_no_deletion_once_kinds_were_cut_over(
    person: Person, root: Path, database: Database, tmp_path: Path, verbs: list[tuple[str, ...]]
):
    """A pod that starts on an empty volume: what the files still decide about stays in the database, few as it may be."""
    person.moves(root, database.url)
    for verb in verbs:
        done = person.types(*verb, "--store", database.url, "--writers-stopped")
        assert done.status == 0, done
    before = rows_of(database, "sessions")
    emptied(root)

    done = Terminal(tmp_path / "state").run("start", root, database.url, seconds=60)

    assert done.status == 7, done
    assert "CF707" in done.err
    assert "nothing was removed" in done.err
    assert rows_of(database, "sessions") == before > 0


def test_a_volume_below_the_root_that_vanishes_while_it_is_counted_stays_known_once_kinds_were_cut_over(
    person: Person, root: Path, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The run that stops for it does not tell the next one that nothing was mounted there."""
    table, sessions = tmp_path / "mountinfo", root / "sessions"
    table.write_bytes(b"26 25 8:2 / %s rw - ext4 /dev/sda2 rw\n" % os.fsencode(sessions.resolve()))
    monkeypatch.setattr(mounts, "_TABLE", str(table))
    person.moves(root, database.url)
    done = person.types("cutover", "--only", "events", "--store", database.url, "--writers-stopped")
    assert done.status == 0, done
    before, census_of = rows_of(database, "sessions"), live.census_of

    def counted(*sides):
        census = census_of(*sides)
        table.write_bytes(b"")
        emptied(sessions)
        return census

    monkeypatch.setattr(live, "census_of", counted)
    sentence, _ = refused(person.types("start", root, database.url), "CF707", 7)

    assert sentence.startswith("what was mounted at sessions in the source is not there any more")
    assert rows_of(database, "sessions") == before > 0
    noted = f"""SELECT count(*) FROM "{database.location.schema}".journal WHERE event = 'mounted'"""
    assert database.one(noted) == 1
