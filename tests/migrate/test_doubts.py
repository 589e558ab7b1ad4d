"""The verified position: all that was applied is in doubt until it was found in its place, and nothing is ever forgotten."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossfade.errors import ContentDiffers
from crossfade.migrate.follow import verifier as verifying
from crossfade.migrate.follow.doubts import Doubts, Whole
from crossfade.migrate.follow.verifier import Verifier, Wrong
from crossfade.model.changes import Block, Change, Move, Page, Put, Remove, Touch
from crossfade.model.entries import altered
from crossfade.store.backends.memory import MemoryStore
from crossfade.store.location import parse
from crossfade.testing.contract import LAYOUT, Bench, directory, lines, puts

SEGMENT = 4096
LOOK, AGAIN = 1.5, 3.0
"""Seconds ahead: by then all that was applied is due, but no second look; and then that, too."""


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments of 4 KiB, wherever they are known by name; and no waiting."""
    for name, module in list(sys.modules.items()):
        if name.startswith("crossfade.") and hasattr(module, "SEGMENT"):
            monkeypatch.setattr(module, "SEGMENT", SEGMENT)
    monkeypatch.setattr(verifying, "_BYTES", 2 * SEGMENT)


class Weighed(MemoryStore):
    """Counts what it is asked to weigh."""

    def __init__(self) -> None:
        super().__init__(parse("memory:"), LAYOUT)
        self.bytes = 0

    def weigh(self, spans):
        for size, digest in super().weigh(spans):
            self.bytes += size
            yield size, digest

    def damage(self, path: bytes, offset: int) -> None:
        """One other byte, and nobody says so."""
        data = bytearray(self._bytes[path])
        data[offset] ^= 1
        self._bytes[path] = bytes(data)

    def lengthen(self, path: bytes, data: bytes) -> None:
        """Something stands behind the end, and nobody says so."""
        self._bytes[path] += data

    def lose(self, path: bytes) -> None:
        """It is gone, and nobody says so."""
        self._entries.pop(path)


@dataclass
class Applied:
    """A target, what is in doubt about it, and who verifies."""

    doubts: Doubts = field(default_factory=Doubts)
    store: Weighed = field(default_factory=Weighed)

    def __post_init__(self) -> None:
        self.bench = Bench(lambda: self.store)
        self.at: datetime | None = datetime(2026, 11, 23, tzinfo=UTC)
        self.verifier = Verifier(
            self.doubts, target=self.store, books=self.store, migration="m", lag=lambda: 0.0, pace=lambda _: 0.0
        )

    def apply(self, *changes: Change) -> None:
        """One page, as a follower applies it."""
        page = Page(changes)
        self.doubts.took(page, self.store.apply(page), time.monotonic(), self.at)

    def put(self, path: bytes, data: bytes) -> None:
        """All of it, anew."""
        self.apply(*puts(self.bench.entry(path), data))

    def append(self, path: bytes, data: bytes) -> None:
        """What is new of it, and the segment in which that begins."""
        there = self.bench.there(path)
        whole = self.store.segments(there)[:-1]
        self.apply(*puts(there, data, whole))

    def look(self, ahead: float = LOOK) -> list[Wrong]:
        """Look at everything that is due by then, without a rest."""
        for _ in range(200):
            self.verifier._due = 0.0
            if found := self.verifier.slice(time.monotonic() + ahead):
                return found
            if self.doubts.is_settled:
                break
        return []


@pytest.fixture
def applied() -> Applied:
    return Applied()


def test_what_was_applied_is_in_doubt_until_it_was_found(applied: Applied):
    """Files of every form, directories, what was removed, and an empty one."""
    applied.put(b"log.jsonl", lines(5 * SEGMENT))
    applied.put(b"note.json", b"{}")
    applied.put(b"empty", b"")
    applied.apply(directory(b"d"))
    applied.put(b"gone.json", b"[]")
    applied.apply(Remove(applied.bench.there(b"gone.json")))
    assert (applied.doubts.applied, applied.doubts.changes) == (6, 6)

    assert applied.look() == []
    assert (applied.doubts.changes, applied.doubts.size, len(applied.doubts)) == (0, 0, 0)
    assert applied.doubts.is_settled


def test_of_a_log_that_grows_only_what_changed_is_weighed(applied: Applied):
    data = lines(40 * SEGMENT)
    applied.put(b"log.jsonl", data)
    applied.look()
    applied.store.bytes = 0
    applied.append(b"log.jsonl", data + lines(600, 7))

    assert applied.look() == []
    assert applied.doubts.is_settled
    assert 0 < applied.store.bytes < 3 * SEGMENT


def test_of_several_appends_only_they_are_weighed_once(applied: Applied):
    """However often a log grows between two looks; whether a look came in between, or not."""
    applied.put(b"log.jsonl", lines(SEGMENT // 2))
    applied.look()
    applied.store.bytes = 0
    for number in range(8):
        end = applied.bench.there(b"log.jsonl").size
        data = b'{"n":%d}\n' % number
        block = Block(altered(applied.bench.there(b"log.jsonl")), end, data, None, last=True)
        applied.apply(Put(block, (), None))
        if number == 5:
            assert applied.look() == []
    (doubt,) = applied.doubts
    assert (doubt.parts and len(doubt.parts), doubt.changes, doubt.size) == (1, 2, 16)

    assert applied.look() == []
    assert applied.store.bytes == 8 * 8


def test_what_moved_is_looked_for_where_it_stands_now(applied: Applied):
    """With all that was in doubt about it; and it must not be where it was."""
    applied.put(b"log.jsonl", lines(4 * SEGMENT))
    applied.put(b"note.json", b"{}")
    applied.look()
    applied.put(b"log.jsonl", lines(5 * SEGMENT))
    before, other = (applied.bench.there(path) for path in (b"log.jsonl", b"note.json"))
    applied.apply(Move(before, altered(before, path=b"old.jsonl")), Move(other, altered(other, path=b"log.jsonl")))
    assert {doubt.entry.path for doubt in applied.doubts} == {b"log.jsonl", b"old.jsonl", b"note.json"}
    applied.store.damage(b"old.jsonl", 3 * SEGMENT)

    assert applied.look() == []
    (wrong,) = applied.look(AGAIN)
    assert wrong.doubt.entry.path == b"old.jsonl"


@pytest.mark.parametrize("hurt", ["damage", "lengthen", "lose"])
def test_a_difference_is_told_when_a_second_look_confirms_it(applied: Applied, hurt: str):
    """It is ordered anew then; and it is the end if that does not help."""
    applied.put(b"log.jsonl", lines(4 * SEGMENT))
    applied.put(b"note.json", b"{}")
    acts = {
        "damage": lambda: applied.store.damage(b"log.jsonl", 3 * SEGMENT),
        "lengthen": lambda: applied.store.lengthen(b"log.jsonl", b"{}\n"),
        "lose": lambda: applied.store.lose(b"log.jsonl"),
    }
    acts[hurt]()

    assert applied.look() == []
    (wrong,) = applied.look(AGAIN)
    assert (wrong.doubt.entry.path, wrong.foreign) == (b"log.jsonl", False)
    assert not applied.doubts.is_settled
    applied.put(b"log.jsonl", lines(4 * SEGMENT))
    acts[hurt]()
    assert applied.look() == []
    with pytest.raises(ContentDiffers, match=r"log\.jsonl: .*brought anew"):
        applied.look(AGAIN)


def test_a_difference_that_is_gone_by_the_second_look_was_none(applied: Applied):
    applied.put(b"note.json", b"{}")
    applied.store.damage(b"note.json", 0)
    assert applied.look() == []
    applied.store.damage(b"note.json", 0)

    assert applied.look(AGAIN) == []
    assert applied.doubts.is_settled


def test_what_was_brought_anew_is_right_again(applied: Applied):
    applied.put(b"note.json", b"{}")
    applied.store.damage(b"note.json", 0)
    applied.look()
    assert applied.look(AGAIN)
    applied.put(b"note.json", b"{}")

    assert applied.look() == []
    assert applied.doubts.is_settled
    applied.put(b"note.json", b"[1]")
    applied.store.damage(b"note.json", 0)
    assert applied.look() == []
    assert len(applied.look(AGAIN)) == 1  # the first of its kind again, not the second of one


def test_what_was_removed_and_is_there_is_a_difference(applied: Applied):
    applied.put(b"note.json", b"{}")
    entry = applied.bench.there(b"note.json")
    applied.apply(Remove(entry))
    applied.store._entries[b"note.json"] = entry

    applied.look()
    (wrong,) = applied.look(AGAIN)
    assert wrong.detail == "it was removed, and is there"


def test_an_entry_whose_copy_goes_on_waits_for_its_end(applied: Applied):
    """What is not whole yet can be neither right nor wrong."""
    changes = puts(applied.bench.entry(b"log.jsonl"), lines(4 * SEGMENT))
    applied.apply(*changes[:2])
    assert applied.look() == []
    assert not applied.doubts.is_settled
    applied.apply(*changes[2:])

    assert applied.look() == []
    assert applied.doubts.is_settled


def test_a_kind_that_overflows_is_remembered_as_a_whole(applied: Applied):
    """Memory is bounded; nothing of it counts as verified until a walk went over all of the kind."""
    applied.doubts._most = 150
    for number in range(400):
        applied.put(b"%d.json" % number, b"[%d]" % number)
    applied.put(b"log.jsonl", lines(3 * SEGMENT))
    assert sum(1 for _ in applied.doubts) <= 150
    assert (applied.doubts.changes, applied.doubts.whole) == (401, {"notes"})

    applied.store.damage(b"7.json", 1)
    applied.look()
    (wrong,) = applied.look(AGAIN)
    assert wrong.doubt.entry.path == b"7.json"
    applied.put(b"7.json", b"[7]")
    applied.look()
    assert (applied.doubts.changes, applied.doubts.whole) == (0, frozenset())


def test_a_kind_is_proved_as_a_whole_by_what_the_books_say(applied: Applied):
    """After a run that knew nothing of the ones before it; long entries segment by segment."""
    for number in range(300):
        applied.put(b"%d.json" % number, b"[%d]" % number)
    applied.put(b"log.jsonl", lines(30 * SEGMENT))
    applied.put(b"empty.json", b"")
    later = Applied(Doubts(), applied.store)
    later.doubts.prove(["notes", "lines"], Whole(1, applied.at))
    assert not later.doubts.is_settled
    assert later.look() == []
    assert later.doubts.is_settled
    assert (later.doubts.whole, len(later.doubts)) == (frozenset(), 0)

    applied.store.damage(b"log.jsonl", 29 * SEGMENT)
    again = Applied(Doubts(), applied.store)
    again.doubts.prove(["lines"], Whole(1, applied.at))
    again.look()
    assert [wrong.doubt.entry.path for wrong in again.look(AGAIN)] == [b"log.jsonl"]


def test_the_position_is_the_time_of_the_oldest_that_is_left(applied: Applied):
    first = applied.at
    assert first is not None
    applied.put(b"a.json", b"{}")
    applied.at = first + timedelta(seconds=5)
    applied.put(b"b.json", b"{}")
    applied.put(b"a.json", b"[]")
    assert (applied.doubts.at, applied.doubts.changes) == (first, 3)

    doubt = applied.doubts.find(b"a.json")
    assert doubt is not None
    applied.doubts.verified(doubt)
    assert applied.doubts.at == first + timedelta(seconds=5)
    applied.look()
    assert applied.doubts.at is None


_PATHS = st.sampled_from([b"a.json", b"b.json", b"c.jsonl", b"d.jsonl", b"e"])
_STEPS = st.lists(
    st.tuples(st.sampled_from(["put", "append", "touch", "remove", "look"]), _PATHS, st.integers(1, 3 * SEGMENT)),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(steps=_STEPS, most=st.integers(6, 30))
def test_whatever_is_applied_is_right_or_found(steps, most):
    """Over any course of things, with a queue of any length: what is right is found right, and what was hurt since is found."""
    applied = Applied(Doubts(most))
    fresh: set[bytes] = set()
    for act, path, size in steps:
        there = applied.bench.standing(path)
        if act == "put" or there is None:
            applied.put(path, lines(size))
            fresh.add(path)
        elif act == "append" and path.endswith(b"l"):
            applied.append(path, applied.bench.content(path) + lines(size, size))
            fresh.add(path)
        elif act == "touch":
            applied.apply(Touch(altered(there, mtime_ns=there.mtime_ns + 1)))
        elif act == "remove":
            applied.apply(Remove(there))
            fresh.discard(path)
        elif act == "look":
            assert applied.look() == []
            fresh = set() if applied.doubts.is_settled else fresh
    if fresh:
        path = min(fresh)
        applied.store.damage(path, len(applied.bench.content(path)) - 1)
        applied.look()
        assert path in {wrong.doubt.entry.path for wrong in applied.look(AGAIN)}
    else:
        applied.look()
        assert applied.doubts.is_settled


def test_what_a_removal_left_behind_is_a_difference(applied: Applied):
    """Rows that a removal left behind would come back with the next file of that name."""
    applied.put(b"note.json", b"{}")
    applied.apply(Remove(applied.bench.there(b"note.json")))
    applied.store._bytes[b"note.json"] = b"{}"

    applied.look()
    assert [wrong.doubt.entry.path for wrong in applied.look(AGAIN)] == [b"note.json"]


def test_a_look_at_everything_moves_no_position_and_finds_what_nobody_applied(applied: Applied):
    """It is not about what was applied lately, so what it finds is not brought anew by itself."""
    applied.put(b"note.json", b"{}")
    applied.look()
    applied.doubts.prove(["notes"], Whole())
    applied.store.damage(b"note.json", 0)
    assert (applied.doubts.changes, applied.doubts.at) == (0, None)

    for ahead in (LOOK, AGAIN):
        applied.verifier._due = 0.0
        found = applied.verifier.slice(time.monotonic() + ahead)
    (wrong,) = found
    assert (wrong.path, wrong.is_ours) == (b"note.json", False)
