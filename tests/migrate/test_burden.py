"""How many bytes are still to be brought: what a task moves, and some tasks for all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from crossfade.migrate.decide import Task, Verb
from crossfade.migrate.follow import burden
from crossfade.migrate.follow.burden import Burden, burden_of
from crossfade.migrate.follow.dirty import Dirt, Dirty
from crossfade.model.entries import Entry

DOCUMENT, SHORTER = Entry(b"a.json", form="document", size=100), Entry(b"a.json", form="document", size=40)
LOG, BEGUN = Entry(b"a.jsonl", form="log", size=1000), Entry(b"a.jsonl", form="log", size=300)


@pytest.mark.parametrize(
    ("verb", "source", "target", "size"),
    [
        ("put", DOCUMENT, None, 100),
        ("refresh", DOCUMENT, SHORTER, 100),
        ("put", LOG, None, 1000),
        ("refresh", LOG, BEGUN, 700),
        ("append", LOG, BEGUN, 700),
        ("resume", LOG, BEGUN, 700),
        ("put", LOG, BEGUN, 1000),
        ("refresh", BEGUN, LOG, 300),
        ("touch", DOCUMENT, DOCUMENT, 0),
        ("touch", Entry(b"a", type="dir"), None, 0),
        ("remove", None, DOCUMENT, 0),
        ("stranger", None, DOCUMENT, 0),
        ("conflict", LOG, BEGUN, 0),
    ],
)
def test_a_log_that_has_grown_moves_its_end_and_any_other_file_all_of_it(
    verb: Verb, source: Entry | None, target: Entry | None, size: int
):
    """What was rewritten shorter is brought as a whole; what is for people moves nothing."""
    assert burden_of(Task(verb, source, target)) == size


class Seen:
    """Each path that is looked at has *size* bytes to move; ``looks`` counts the looks."""

    def __init__(self, size: int) -> None:
        self._size = size
        self.looks = 0

    def tasks(self, batch: Sequence[Dirt]) -> Iterator[Task]:
        self.looks += 1
        return (Task("put", Entry(dirt.path, form="document", size=self._size), None) for dirt in batch)


def test_some_of_many_stand_for_all(monkeypatch: pytest.MonkeyPatch):
    """And not at each turn."""
    dirty, look = Dirty(), Seen(7)
    measured = Burden(dirty, look)  # type: ignore[arg-type]
    measured.measure()
    assert (measured.bytes, look.looks) == (0, 0)

    dirty.add({b"%d" % number: False for number in range(10 * burden._SOME)}, 1.0)
    measured.measure()
    measured.measure()
    assert (measured.bytes, look.looks) == (70 * burden._SOME, 1)

    monkeypatch.setattr(burden, "_SECONDS", 0.0)
    dirty.take(2.0, 20 * burden._SOME)
    dirty.settled()
    measured.measure()
    assert (measured.bytes, look.looks) == (0, 1)
