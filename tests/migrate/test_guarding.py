"""Into files: what somebody writes there between the look and the page is left, by a copy as by whoever follows; what changes its type makes way."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from crossfade.errors import TargetForeign
from crossfade.migrate.carry import Carrier
from crossfade.migrate.decide import Task
from crossfade.migrate.follow.look import in_order
from crossfade.migrate.obstacles import check_applied, pages
from crossfade.migrate.plan import Limits
from crossfade.model.changes import Page, Remove
from crossfade.store.backends.file.store import FileStore
from crossfade.store.location import parse
from crossfade.store.port import Applied, Refusal
from crossfade.testing.contract import LAYOUT

NEW, OLD = '{"id":"new"}', '{"id":"old"}'


class Sides:
    """A directory that is carried into another one, as a worker does it."""

    def __init__(self, home: Path) -> None:
        self.source, self.target = home / "source", home / "target"
        for root in (self.source, self.target):
            root.mkdir()
        self.stores = [FileStore(parse(str(root)), LAYOUT) for root in (self.source, self.target)]
        self.page_bytes = 1 << 20

    def tasks(self) -> list[Task]:
        """All that differs, by path, as ``toward_files`` names it for what is ours."""
        one, other = ({entry.path: entry for entry in store.entries() if entry.path} for store in self.stores)
        verbs = {"file": "put", "dir": "touch", "link": "touch"}
        return [
            Task(verbs[one[path].type] if path in one else "remove", one.get(path), other.get(path))  # type: ignore[arg-type]
            for path in sorted({**one, **other})
        ]

    def carry(self, meanwhile: Callable[[], object] = lambda: None) -> None:
        """Carry all of it in the order of a follower; *meanwhile* happens before the first page."""
        acts = iter([meanwhile])
        Carrier(
            *self.stores,
            Limits(page_bytes=self.page_bytes),
            ready=lambda page, records: next(acts, lambda: None)(),
            done=lambda outcome: None,
            stop=lambda: False,
        ).carry(in_order(self.tasks(), to_files=True))

    def standing(self) -> dict[str, str]:
        """What the target has: the content of files, the text of links, directories with a slash."""
        return {
            str(path.relative_to(self.target)): str(path.readlink())
            if path.is_symlink()
            else "/"
            if path.is_dir()
            else path.read_text()
            for path in sorted(self.target.rglob("*"))
        }


@pytest.fixture
def sides(tmp_path: Path) -> Iterator[Sides]:
    made = Sides(tmp_path)
    yield made
    for store in made.stores:
        store.close()


@pytest.mark.parametrize("what", ["changed", "new", "gone"])
def test_a_copy_covers_nothing_that_was_written_since_it_looked(sides: Sides, what: str):
    """The run stops, and names it."""
    for name in ("changed", "new"):
        (sides.source / f"{name}.json").write_text(NEW)
    for name in ("changed", "gone"):
        (sides.target / f"{name}.json").write_text(OLD)
    with pytest.raises(TargetForeign, match=f"{what}.json was changed"):
        sides.carry(lambda: (sides.target / f"{what}.json").write_text("rogue"))

    expected = {"changed.json": NEW, "new.json": NEW, f"{what}.json": "rogue"}
    assert sides.standing() == expected


def plant(root: Path, name: str, what: str) -> None:
    if what == "dir":
        (root / name).mkdir()
    elif what == "link":
        (root / name).symlink_to("somewhere")
    else:
        (root / name).write_text(what)


@pytest.mark.parametrize("page_bytes", [1, 1 << 20])
@pytest.mark.parametrize(("before", "after"), [(a, b) for a in (OLD, "dir", "link") for b in (NEW, "dir", "link") if a != b])
def test_one_thing_takes_the_place_of_another(sides: Sides, before: str, after: str, page_bytes: int):
    """Also where they are pages apart; and a directory comes before what is in it."""
    sides.page_bytes = page_bytes
    plant(sides.source, "x.json", after)
    plant(sides.target, "x.json", before)
    for number in range(3):
        (sides.source / f"a{number}.json").write_text(NEW)
        if after == "dir":
            (sides.source / "x.json" / f"{number}.json").write_text(NEW)
            plant(sides.source, f"x.json/{number}", "link")
    sides.carry()

    names = [f"x.json/{number}" for number in range(3)] if after == "dir" else []
    inside = {**dict.fromkeys(names, "somewhere"), **{f"{name}.json": NEW for name in names}}
    shown = {"dir": "/", "link": "somewhere"}.get(after, after)
    assert sides.standing() == {**{f"a{number}.json": NEW for number in range(3)}, "x.json": shown, **inside}


@pytest.mark.parametrize("page_bytes", [1, 1 << 20])
@pytest.mark.parametrize(("before", "after"), [(OLD, NEW), (OLD, "dir"), (OLD, "link"), ("link", NEW), ("link", "dir")])
def test_what_is_to_make_way_is_left_where_somebody_has_written_it(sides: Sides, before: str, after: str, page_bytes: int):
    """Neither removed nor covered; nor is anything put below it."""
    sides.page_bytes = page_bytes
    plant(sides.source, "x.json", after)
    plant(sides.target, "x.json", before)
    if after == "dir":
        (sides.source / "x.json" / "1.json").write_text(NEW)

    def meddle() -> None:
        (sides.target / "x.json").unlink()
        (sides.target / "x.json").write_text("rogue")

    with pytest.raises(TargetForeign, match=r"x\.json"):
        sides.carry(meddle)
    assert sides.standing() == {"x.json": "rogue"}


@pytest.mark.parametrize("after", [NEW, "link"])
def test_a_directory_that_holds_somebody_elses_is_left(sides: Sides, after: str):
    plant(sides.source, "x.json", after)
    plant(sides.target, "x.json", "dir")
    with pytest.raises(TargetForeign, match=r"x\.json"):
        sides.carry(lambda: (sides.target / "x.json" / "theirs").write_text("rogue"))

    assert sides.standing() == {"x.json": "/", "x.json/theirs": "rogue"}


@pytest.mark.parametrize("before", [OLD, "dir", "link"])
def test_a_page_that_is_repeated_does_not_remove_what_it_has_put_there(
    sides: Sides, before: str, monkeypatch: pytest.MonkeyPatch
):
    """It removes, and puts: the second time what it has put stands there."""
    plant(sides.source, "x.json", NEW)
    plant(sides.target, "x.json", before)
    target = sides.stores[1]
    apply, inodes = target.apply, []

    def twice(page: Page) -> Applied:
        apply(page)
        inodes.append((sides.target / "x.json").stat().st_ino)
        return apply(page)

    monkeypatch.setattr(target, "apply", twice)
    sides.carry()
    assert sides.standing() == {"x.json": NEW}


def test_what_is_in_the_way_of_a_copy_is_removed_only_as_it_was_looked_at(sides: Sides):
    for name in ("a", "b"):
        (sides.target / name).write_text(OLD)
    removals = [Remove(entry) for entry in sides.stores[1].look([b"a", b"b"])]
    (sides.target / "a").write_text("rogue")
    (page,) = pages(removals)
    with pytest.raises(TargetForeign, match="changed under the command: a"):
        check_applied(sides.stores[1].apply(page))

    assert sides.standing() == {"a": "rogue"}


def test_a_directory_that_is_not_empty_is_refused_where_nobody_looked(sides: Sides):
    """And left where it was looked at: it may be empty in a moment."""
    plant(sides.target, "d", "dir")
    (sides.target / "d" / "x").write_text(OLD)
    store = sides.stores[1]
    (entry,) = store.look([b"d"])
    refused, left = store.apply(Page((Remove(entry),))), store.apply(Page((Remove(entry),), seen={b"d": entry}))

    assert [(refusal.entry.path, refusal.code) for refusal in refused.refusals] == [(b"d", "stranger")]
    assert (refused.left, left.refusals, left.left) == ((), (), (b"d",))
    assert isinstance(refused.refusals[0], Refusal)
    assert os.listdir(sides.target / "d") == ["x"]
