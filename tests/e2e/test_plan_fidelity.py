"""``plan`` names what will not come back: owner, holes, extended attributes, hard links, special files."""

from __future__ import annotations

import json
import os
from pathlib import Path

from support.person import Person
from support.servers import Database


def test_what_is_not_kept_is_said_with_its_path(person, tmp_path: Path) -> None:
    """An operator who learns it from a plan can still do something about it."""
    source = tmp_path / "source"
    source.mkdir()
    for name in ("sparse", "linked", "plain"):
        (source / name).write_bytes(b"x")
    os.truncate(source / "sparse", 1 << 20)
    os.link(source / "linked", source / "again")
    os.mkfifo(source / "pipe")

    done = person.types("plan", source, f"embedded://{tmp_path}/pg", "--json")
    hazards = {hazard["reason"]: hazard["paths"] for hazard in json.loads(done.out)["hazards"]}

    assert hazards["holes, not kept"] == ["sparse"]
    assert hazards["hard link, kept as a file of its own"] == ["again", "linked"]
    assert hazards["special file, not moved"] == ["pipe"]
    assert not [reason for reason in hazards if reason.startswith("owner")]


def test_a_fresh_volume_is_as_empty_as_a_copy_finds_it(person: Person, database: Database, tmp_path: Path) -> None:
    """``lost+found``, with which a new file system begins, is no entry; a plan would say 0 where the copy ends with 8."""
    volume = tmp_path / "volume"
    (volume / "lost+found").mkdir(parents=True)

    for words in (("plan",), ("start", "--once")):
        assert "error[CF801]" in (run := person.types(words[0], volume, database.url, *words[1:])).err
        assert run.status == 8
    assert person.types("plan", volume, database.url, "--allow-empty").status == 0


def test_the_kinds_of_a_plan_are_those_that_a_copy_moves(person: Person, database: Database, tmp_path: Path) -> None:
    """A migration that was begun keeps to its kinds, and to those that are added."""
    root = tmp_path / "live"
    for name in ("sessions/one.json", "logs/claude-streaming/two.jsonl"):
        (root / name).parent.mkdir(parents=True)
        (root / name).write_text("{}\n")

    def planned(*options: str) -> set[str]:
        return {kind["kind"] for kind in person.asks("plan", root, database.url, *options)["kinds"]}

    assert planned() == {"sessions", "logs"}
    assert planned("--only", "sessions") == {"sessions"}
    person.moves(root, database.url, "--only", "sessions")
    assert planned() == {"sessions"}
    assert planned("--add", "logs") == {"sessions", "logs"}
    for words in (("plan",), ("start", "--once")):
        run = person.types(words[0], root, database.url, "--except", "sessions", *words[1:])
        assert (run.status, "error[CF701]" in run.err) == (7, True), run
