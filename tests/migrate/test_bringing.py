"""Bringing into files: what somebody writes there between the look and the page is left, and looked at again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from crossfade.migrate.decide import Task
from crossfade.migrate.follow import bring as module
from crossfade.migrate.follow.bring import Bringer, Brought
from crossfade.migrate.follow.stillness import Stillness
from crossfade.migrate.follow.tails import Tails
from crossfade.migrate.plan import Limits
from crossfade.model.changes import Page
from crossfade.model.entries import Entry, Signature
from crossfade.store.backends.file.store import FileStore
from crossfade.store.backends.memory import MemoryStore
from crossfade.store.location import parse
from crossfade.store.port import Applied
from crossfade.testing.contract import LAYOUT, Bench, puts

CHANGED, NEW, GONE, LINK, OTHER = b"changed.json", b"new.json", b"gone.json", b"link", b"other.json"


class Between:
    """Two directories, of which the second is written between the look and the page."""

    def __init__(self, home: Path) -> None:
        self.roots = home / "one", home / "other"
        for root in self.roots:
            root.mkdir()
        for name in ("changed.json", "new.json", "other.json"):
            (self.roots[0] / name).write_text('{"id":"ours"}')
        for name in ("changed.json", "gone.json", "other.json"):
            (self.roots[1] / name).write_text('{"id":"old"}')
        for root, leads_to in zip(self.roots, ("new", "old"), strict=True):
            (root / "link").symlink_to(leads_to)
        self.stores = [FileStore(parse(str(root)), LAYOUT) for root in self.roots]

    def bring(self, meanwhile: Callable[[], object]) -> Brought:
        """All that differs; *meanwhile* happens before the first page is applied."""
        one, other = self.stores
        acts = iter([meanwhile])
        bringer = Bringer(
            one,
            other,
            Limits(),
            tails=Tails(),
            ready=lambda page, records: next(acts, lambda: None)(),
            done=lambda outcome: None,
            stop=lambda: False,
            patient=lambda path: False,
            took=lambda page, applied: None,
            grew=lambda path: True,
        )
        found: list[dict[bytes, Entry]] = [{entry.path: entry for entry in store.entries()} for store in self.stores]
        verbs = {GONE: "remove", LINK: "touch"}
        paths = (GONE, CHANGED, LINK, NEW, OTHER)
        return bringer.bring([Task(verbs.get(path, "put"), found[0].get(path), found[1].get(path)) for path in paths])

    def standing(self) -> dict[str, str]:
        """What the second has."""
        found = sorted(self.roots[1].iterdir())
        return {path.name: str(path.readlink()) if path.is_symlink() else path.read_text() for path in found}


@pytest.fixture
def between(tmp_path: Path) -> Iterator[Between]:
    made = Between(tmp_path)
    yield made
    for store in made.stores:
        store.close()


def test_what_somebody_writes_between_the_look_and_the_page_is_left(between: Between):
    """Changed, new, removed and a link; and what nobody touched is brought."""

    def meddle() -> None:
        for name in ("changed.json", "new.json", "gone.json"):
            (between.roots[1] / name).write_text("rogue")
        (between.roots[1] / "link").unlink()
        (between.roots[1] / "link").symlink_to("rogue")

    brought = between.bring(meddle)

    rogue = dict.fromkeys(("changed.json", "gone.json", "link", "new.json"), "rogue")
    assert between.standing() == {**rogue, "other.json": '{"id":"ours"}'}
    assert sorted(brought.moved) == [CHANGED, GONE, LINK, NEW]


def test_what_somebody_removes_between_the_look_and_the_page_is_not_written_again(between: Between):
    brought = between.bring((between.roots[1] / "changed.json").unlink)

    assert between.standing() == {"link": "new", "new.json": '{"id":"ours"}', "other.json": '{"id":"ours"}'}
    assert brought.moved == [CHANGED]


def test_a_page_that_is_repeated_knows_what_it_has_put_there_itself(between: Between, monkeypatch: pytest.MonkeyPatch):
    """It may have broken off behind any of its names; and what somebody writes between the two tries is left all the same."""
    other = between.stores[1]
    apply = other.apply

    def twice(page: Page) -> Applied:
        apply(page)
        (between.roots[1] / "other.json").write_text("rogue")
        return apply(page)

    monkeypatch.setattr(other, "apply", twice)
    brought = between.bring(lambda: None)

    ours = dict.fromkeys(("changed.json", "new.json"), '{"id":"ours"}')
    assert between.standing() == {**ours, "link": "new", "other.json": "rogue"}
    assert brought.moved == [OTHER]


def test_what_nobody_touches_is_brought(between: Between):
    brought = between.bring(lambda: None)

    ours = dict.fromkeys(("changed.json", "new.json", "other.json"), '{"id":"ours"}')
    assert between.standing() == {**ours, "link": "new"}
    assert brought.moved == []


def test_more_files_than_a_few_thousand_come_to_be_whole(monkeypatch: pytest.MonkeyPatch):
    """Since when each looks as it does is known of as many as may wait."""
    stillness = Stillness()
    looks = Signature(1, 2, 3, 4)
    paths = [b"%d" % number for number in range(5_000)]
    for path in paths:
        assert stillness.seconds(path, looks) < 1
    later = time.monotonic() + 10
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert min(stillness.seconds(path, looks) for path in paths) > 5


def bringer_of(
    live: FileStore, bench: Bench, took: Callable[[Page, Applied], object] = lambda page, applied: None
) -> Bringer:
    """One that waits for what is half written."""
    return Bringer(
        live,
        bench.store,
        Limits(),
        tails=Tails(),
        ready=lambda page, records: None,
        done=lambda outcome: None,
        stop=lambda: False,
        patient=lambda path: True,
        took=took,
        grew=lambda path: True,
    )


@pytest.mark.parametrize("name", ["same.json", "same.jsonl"])
def test_what_may_change_in_the_tick_of_its_reading_is_marked_so_though_it_is_as_it_was(tmp_path: Path, name: str):
    """Its bytes are those of the target; the next write in the same tick would show nowhere."""
    path = name.encode()
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / name).write_bytes(b'{"id":1}\n')
    live = FileStore(parse(str(tmp_path / "tree")), LAYOUT, waits=False)
    bench = Bench(lambda: MemoryStore(parse("memory:"), LAYOUT))
    bench.apply(*puts(bench.entry(path), b'{"id":1}\n'))
    marks: list[Signature | None] = []
    bringer = bringer_of(
        live, bench, took=lambda page, applied: marks.extend(change.entry.signature for change in page.changes)
    )
    (tmp_path / "tree" / name).write_bytes(b'{"id":1}\n')
    (source,) = live.look([path])
    brought = bringer.bring([Task("refresh", source, bench.there(path))])

    assert [mark.ctime_ns for mark in marks if mark is not None] == [0]
    assert brought.blurred == [path]


@pytest.mark.parametrize("becomes", ["whole", "still"])
def test_what_was_half_written_once_is_not_remembered_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, becomes: str
):
    """A program that writes a thousand documents an hour leaves nothing behind in who follows it."""
    path = b"half.json"
    (tmp_path / "tree").mkdir()
    document = tmp_path / "tree/half.json"
    document.write_bytes(b'{"id":')
    live = FileStore(parse(str(tmp_path / "tree")), LAYOUT, waits=False)
    bench = Bench(lambda: MemoryStore(parse("memory:"), LAYOUT))
    bringer = bringer_of(live, bench)

    def held() -> list[bytes]:
        (source,) = live.look([path])
        return bringer.bring([Task("put", source, bench.standing(path))]).held

    assert held() == [path]
    assert held() == [path]
    assert list(bringer._stillness._seen) == [path]
    if becomes == "whole":
        document.write_bytes(b'{"id":1}')
    else:
        monkeypatch.setattr(module, "TORN_SECONDS", 0.0)
    assert held() == []
    assert bench.content(path) == document.read_bytes()
    assert not bringer._stillness._seen
