"""Validating what does not belong together, or is not what it seems: a clear answer, the right exit status, no traceback."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from support.person import Person, refused, said
from support.running import Run
from support.servers import Database

OWN = """
[[kind]]
name  = "notes"
form  = "blob"
match = ["events/**/*.jsonl"]
[[kind]]
name    = "sessions"
form    = "document"
match   = ["sessions/*.json"]
promote = [{ column = "state", from = ["/status"] }]
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A log that is longer than a segment, and a document."""
    root = tmp_path / "tree"
    (root / "events" / "repo" / "job-1").mkdir(parents=True)
    (root / "sessions").mkdir()
    line = '{"id":"x","pad":"' + "x" * 400 + '"}\n'
    (root / "events" / "repo" / "job-1" / "events-1.jsonl").write_text(line * 4000)
    (root / "sessions" / "one.json").write_text('{"session_id":"one","status":"Running"}')
    return root


def _compare(person: Person, source: object, target: object, status: int) -> tuple[dict[str, Any], str]:
    run = person.types("validate", source, target, "--jobs", "1", "--json")
    assert run.status == status, run
    assert "Traceback" not in run.err
    return said(run), run.err


def test_stores_of_different_layouts_are_compared_by_the_targets(
    person: Person, database: Database, tree: Path, tmp_path: Path
):
    """Where one has a log the other has a blob: the bytes are the same. Which layout counts is said."""
    (tmp_path / "own.toml").write_text(OWN)
    one, other = f"{database.url}&store=one", f"{database.url.replace('schema=', 'schema=o')}&store=other"
    person.moves(tree, one)
    person.moves(tree, other, "--layout", tmp_path / "own.toml")

    for source, target in ((one, other), (other, one)):
        found, talk = _compare(person, source, target, 0)
        assert (found["state"], found["differences"]) == ("equal", [])
        assert found["source_root"] == found["target_root"]
        assert "kinds and columns are compared by the target's" in talk
        assert "'own'" in talk
    database.run("UPDATE sessions SET status = 'x'")
    assert _compare(person, other, one, 3)[0]["classes"] == {"column": 1, "query": 1}
    assert _compare(person, one, other, 0)[0]["classes"] == {}  # what the source's columns say does not count
    database.run("DROP SCHEMA o" + database.location.schema + " CASCADE")


def test_a_tree_is_placed_by_the_layout_of_the_database(person: Person, database: Database, tree: Path, tmp_path: Path):
    """Nobody has to name it again."""
    (tmp_path / "own.toml").write_text(OWN)
    person.moves(tree, database.url, "--layout", tmp_path / "own.toml")
    found, _ = _compare(person, tree, database.url, 0)
    assert {kind["kind"] for kind in found["kinds"]} == {"notes", "sessions"}


def test_what_cannot_be_compared_is_refused(person: Person, database: Database, tree: Path, tmp_path: Path):
    """Before anything is read: no store there, no such store, no database at all, the same thing twice."""
    refused(person.types("validate", tree, database.url), "CF201", 2)
    person.moves(tree, database.url)
    refused(person.types("validate", tmp_path / "nowhere", database.url), "CF201", 2)
    refused(person.types("validate", tree, f"{database.url}&store=nobody"), "CF201", 2)
    refused(person.types("validate", tree, tmp_path), "CF704", 7)
    refused(person.types("validate", "no-such-id", "--store", database.url), "CF104", 1)
    refused(person.types("validate", tree, f"{database.url}&store=bad name"), "CF101", 1)
    for option in ("--jobs", "--sample-percentage", "--max-report"):
        refused(person.types("validate", tree, database.url, option, "0"), "CF103", 1)
    refused(person.types("validate", tree, database.url, "--sample-percentage", "nan"), "CF103", 1)
    for option in ("--dry-run", "--delete-extra"):
        refused(person.types("validate", tree, database.url, option), "CF103", 1)


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("DROP TABLE sessions", "CF210"),
        ("ALTER TABLE events RENAME COLUMN body TO corpse", "CF210"),
        ("UPDATE stores SET layout = 'no layout'", "CF102"),
    ],
)
def test_a_database_that_was_taken_apart_is_an_error_not_a_verdict(
    statement: str, code: str, person: Person, database: Database, tree: Path
):
    """Nothing is equal, and nothing differs: it cannot be compared."""
    person.moves(tree, database.url)
    database.run(statement)
    run = person.types("validate", tree, database.url, "--jobs", "1")
    refused(_without_talk(run), code, 1 if code == "CF102" else 2)


def _without_talk(run: Run) -> Run:
    lines = run.err.splitlines(keepends=True)
    return replace(run, err="".join(lines[next(n for n, line in enumerate(lines) if line.startswith("error")) :]))


def test_an_empty_tree_and_an_empty_store_are_equal(person: Person, database: Database, tmp_path: Path):
    """Nothing is missing where there is nothing; and the one against something is all missing, or all extra."""
    (tmp_path / "void").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x.json").write_text("{}")
    person.moves(tmp_path / "void", database.url, "--allow-empty")
    found, _ = _compare(person, tmp_path / "void", database.url, 0)
    assert (found["entries"], found["compared"]) == (1, 0)
    found, _ = _compare(person, tmp_path / "full", database.url, 3)
    assert found["classes"]["missing"] == 1


def test_rows_with_impossible_places_are_found(person: Person, database: Database, tree: Path):
    """Before the beginning, and far behind the end: no query of ours passes them over."""
    person.moves(tree, database.url)
    for place in (-(2**63), -1, 2**40, 2**63 - 1):
        database.run(
            "INSERT INTO sessions (store_id, entry_id, pos, body)"
            f" SELECT store_id, entry_id, {place}, '{{}}' FROM sessions WHERE pos = 0"
        )
        found, _ = _compare(person, tree, database.url, 3)
        assert ("content", "sessions/one.json") in {(d["class"], d["path"]) for d in found["differences"]}
        database.run(f"DELETE FROM sessions WHERE pos = {place}")
    assert _compare(person, tree, database.url, 0)[0]["differences"] == []


def test_pieces_with_impossible_places_are_found_whatever_is_compared_beside(
    person: Person, database: Database, tmp_path: Path
):
    """Far behind the end of a small file, in a batch with one that is longer than is looked at at a time."""
    notes = tmp_path / "tree" / "notes"
    notes.mkdir(parents=True)
    (notes / "a.txt").write_text("0123456789")
    (notes / "b.bin").write_bytes(b"\0" * (70 << 20))
    person.moves(tmp_path / "tree", database.url)
    for place in (-(2**63), -1, 2**40, 2**63 - 1):
        database.run(
            f"INSERT INTO chunks (store_id, entry_id, pos, data) SELECT 1, entry_id, {place}, 'x' FROM entries"
            " WHERE path = 'notes/a.txt'"
        )
        found, _ = _compare(person, tmp_path / "tree", database.url, 3)
        assert [(d["class"], d["path"]) for d in found["differences"]] == [("content", "notes/a.txt")]
        database.run("DELETE FROM chunks USING entries e WHERE e.entry_id = chunks.entry_id AND e.path = 'notes/a.txt'")
    assert _compare(person, tmp_path / "tree", database.url, 0)[0]["differences"] == []
