"""From paths that may be out of step to what there is to do about them."""

from __future__ import annotations

import os
from pathlib import Path

from crossfade.migrate.follow.dirty import Dirt
from crossfade.migrate.follow.look import Look
from crossfade.store.backends.file.store import FileStore
from crossfade.store.backends.memory import MemoryStore
from crossfade.store.location import parse
from crossfade.testing.contract import LAYOUT, Bench, puts


def test_what_is_to_be_brought_in_any_case_is_brought_though_its_directory_is_looked_through(tmp_path: Path):
    """It is met there, and looks as it did: an edit further up in a log shows nowhere."""
    (tmp_path / "d").mkdir()
    (tmp_path / "d/log.jsonl").write_bytes(b"1\n")
    (tmp_path / "d/other.jsonl").write_bytes(b"1\n")
    source = FileStore(parse(str(tmp_path)), LAYOUT)
    target = Bench(lambda: MemoryStore(parse("memory:"), LAYOUT))
    for entry in source.look([b"d/log.jsonl", b"d/other.jsonl"]):
        target.apply(*puts(entry, b"1\n"))
    look = Look(source, target.store, lambda _one, _other: None, None, tombstones=False)
    batch = [Dirt(b"d", 0.0, 0.0, deep=True), Dirt(b"d/log.jsonl", 0.0, 0.0)]

    found = look.tasks(batch, frozenset({b"d/log.jsonl"}))
    assert [(task.verb, os.fsdecode(task.entry.path)) for task in found if task.entry.type == "file"] == [
        ("put", "d/log.jsonl")
    ]
