"""How often a run looks at its two sides: with a million files, each look is most of a run that has little to do."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from crossfade.store.backends.file import walk
from crossfade.store.backends.file.store import FileStore
from crossfade.store.backends.postgres.store import PostgresStore
from support.person import Person
from support.running import compare
from support.servers import Database


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is listed from now on, and each file or directory that is looked at on the way."""
    found: list[str] = []
    entries, listing, look = PostgresStore.entries, FileStore.entries, walk._look

    def of_rows(store: PostgresStore, **which: Any) -> Any:
        found.append("rows, directories" if which.get("directories") else "rows")
        return entries(store, **which)

    def of_files(store: FileStore, **which: Any) -> Any:
        found.append("files, directories" if which.get("directories") else "files")
        return listing(store, **which)

    def at_one(tree: Any, directory: bytes, name: bytes, path: bytes, *rest: Any) -> Any:
        found.append(path.decode())
        return look(tree, directory, name, path, *rest)

    monkeypatch.setattr(PostgresStore, "entries", of_rows)
    monkeypatch.setattr(FileStore, "entries", of_files)
    monkeypatch.setattr(walk, "_look", at_one)
    return found


def test_a_run_that_finds_nothing_to_do_lists_each_side_once(
    person: Person, database: Database, tiny: Path, tmp_path: Path, looks: list[str]
):
    """In both directions; an empty source is asked for its first entry besides."""
    back = tmp_path / "back"
    person.moves(tiny, database.url)
    person.moves(database.url, back)
    looks.clear()

    assert "already there" in person.moves(tiny, database.url).out
    assert sorted(looks) == sorted(["files", "files", "rows", *_paths(tiny), "events"])
    looks.clear()
    assert "already there" in person.moves(database.url, back).out
    intended = "sessions/one.json"  # the last page's: what a crash may have left of it is looked at
    assert sorted(looks) == sorted(["rows", "rows", "files", "files", "events", intended, *_paths(back)])


def test_directories_are_settled_without_a_look_at_files(
    person: Person, database: Database, tiny: Path, tmp_path: Path, looks: list[str]
):
    """They come last, after the copy has looked at everything; an empty directory as target needs no look before it."""
    person.moves(tiny, database.url)
    looks.clear()
    person.moves(database.url, tmp_path / "back")

    directories = [path for path in _paths(tiny) if (tiny / path).is_dir()]
    settled = looks[looks.index("files, directories") + 1 :][: len(directories)]
    assert settled == directories
    assert looks[: looks.index("files, directories")] == ["files", "rows", "rows", "files", "rows, directories"]
    compare(tiny, tmp_path / "back")


def test_directories_of_files_that_came_and_went_are_settled_too(
    person: Person, database: Database, tiny: Path, tmp_path: Path
):
    """A second restore changes the times of directories that had nothing to do themselves, and removes those that are gone."""
    person.moves(tiny, database.url)
    person.moves(database.url, tmp_path / "back")
    (tiny / "sessions" / "two.json").write_text("{}")
    (tiny / "new" / "deep").mkdir(parents=True)
    (tiny / "new" / "deep" / "file").write_text("x")
    shutil.rmtree(tiny / "events")
    (tiny / "new").chmod(0o555)
    person.moves(tiny, database.url)
    person.moves(database.url, tmp_path / "back")

    compare(tiny, tmp_path / "back")


def _paths(root: Path) -> list[str]:
    """As a walk meets them."""
    return [str(path.relative_to(root)) for path in sorted(root.rglob("*"), key=lambda path: path.parts)]
