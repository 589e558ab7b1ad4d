"""Marks of files say what stands there: what was refused keeps its mark, and what came in another's place has one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from crossfade.model.changes import Change, Page, Remove
from crossfade.model.entries import Entry
from crossfade.store.backends.file.store import FileStore
from crossfade.store.layers.marking import Marking
from crossfade.store.location import parse
from crossfade.store.port import Refusal
from crossfade.testing.contract import LAYOUT, Bench
from crossfade.testing.contract.bench import directory, link, puts


@dataclass
class Marks:
    """A tree of files, and what is said about it."""

    root: Path
    said: dict[bytes, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        store = FileStore(parse(str(self.root)), LAYOUT)
        self.bench = Bench(lambda: Marking(store, lambda intents: None, self.mark, lambda: None))

    def mark(self, entries: list[Entry], removed: list[Entry], refusals: list[Refusal]) -> None:
        self.said |= {entry.path: entry.type for entry in entries}
        for entry in removed:
            del self.said[entry.path]

    def apply(self, *changes: Change, seen: dict[bytes, Entry | None] | None = None) -> None:
        self.bench.store.apply(Page(changes, seen=seen or {}))


@pytest.fixture
def marks(tmp_path: Path) -> Iterator[Marks]:
    made = Marks(tmp_path)
    yield made
    made.bench.store.close()


@pytest.mark.parametrize("is_seen", [False, True])
def test_a_directory_that_did_not_go_keeps_its_mark(marks: Marks, is_seen: bool):
    """Or it would be taken for a stranger's from then on, and never go."""
    marks.apply(directory(b"d"), *puts(marks.bench.entry(b"d/1.json"), b"{}"))
    there = marks.bench.there(b"d")
    marks.apply(Remove(there), seen={b"d": there} if is_seen else None)
    assert marks.said == {b"d": "dir", b"d/1.json": "file"}

    marks.apply(Remove(marks.bench.there(b"d/1.json")), Remove(there))
    assert marks.said == {}


def test_what_comes_in_the_place_of_another_has_a_mark(marks: Marks):
    marks.apply(directory(b"a.json"))
    marks.apply(Remove(marks.bench.there(b"a.json")), *puts(marks.bench.entry(b"a.json"), b"{}"))
    assert marks.said == {b"a.json": "file"}
    marks.apply(Remove(marks.bench.there(b"a.json")), link(b"a.json", b"nowhere"))
    assert marks.said == {b"a.json": "link"}
    marks.apply(Remove(marks.bench.there(b"a.json")), directory(b"a.json"))
    assert marks.said == {b"a.json": "dir"}
