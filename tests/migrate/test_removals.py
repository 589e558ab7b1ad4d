"""Which removals are believed, by how many there are and by what the root of the tree stands on."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from crossfade.errors import GateShut
from crossfade.migrate.decide import Task, toward_database
from crossfade.migrate.follow import brake
from crossfade.migrate.follow.brake import Brake, Braked, Footing, Removals, footing_of, why_not_left, why_to_brake
from crossfade.migrate.follow.gone import Census
from crossfade.migrate.follow.sweep import Sweep, look_over
from crossfade.migrate.inventory import tasks
from crossfade.model.entries import Entry, Signature
from crossfade.store.backends.file import mounts

HERE = Footing(1, empty=False)


def _removals(count: int, folder: str = "sessions", kind: str = "file") -> list[Task]:
    return [Task("remove", None, Entry(os.fsencode(f"{folder}/{number}"), type=kind)) for number in range(count)]


@pytest.mark.parametrize(
    ("removals", "total", "is_believed"),
    [(100, 100, True), (101, 101, False), (101, 202, True), (101, 201, False), (500, 1000, True), (501, 1000, False)],
)
def test_more_than_half_and_more_than_a_hundred_are_asked_about(removals: int, total: int, is_believed: bool):
    assert (why_to_brake(removals, total, HERE, HERE) == "") is is_believed


@pytest.mark.parametrize(
    ("removals", "total", "is_believed"),
    [(3, 3, True), (4, 4, False), (2, 20, True), (17, 20, True), (18, 20, False), (100, 201, True), (101, 201, False)],
)
def test_a_run_that_begins_also_asks_where_nearly_nothing_is_left(removals: int, total: int, is_believed: bool):
    assert (why_not_left(removals, total, HERE, HERE) == "") is is_believed


def test_where_some_kinds_move_the_others_tell_that_it_is_the_same_tree():
    """Four checkpoints of four are done: the sessions beside them, which do not move, are all there."""
    assert why_not_left(4, 4, HERE, HERE, others=5) == ""
    assert why_not_left(4, 4, HERE, HERE, others=4) != ""
    assert why_not_left(101, 101, HERE, HERE, others=1000) != ""


@pytest.mark.parametrize(
    ("now", "why"),
    [
        (None, "the source's root is gone"),
        (replace(HERE, device=2), "the source's root is another volume than before"),
        (replace(HERE, empty=True), "the source's root is empty"),
    ],
)
def test_one_removal_is_too_much_where_the_root_is_not_what_it_was(now: Footing | None, why: str):
    assert why_to_brake(1, 1000, HERE, now) == why_not_left(1, 1000, HERE, now) == why


def test_a_root_that_was_empty_from_the_first_may_stay_so():
    empty = replace(HERE, empty=True)
    assert why_to_brake(1, 1000, empty, empty) == ""


def test_what_a_new_file_system_begins_with_is_nothing(tmp_path: Path):
    (tmp_path / "lost+found").mkdir()
    (tmp_path / ".crossfade").mkdir()
    assert footing_of(bytes(tmp_path)) == Footing(tmp_path.stat().st_dev, empty=True)
    (tmp_path / "state").write_bytes(b"")
    assert footing_of(bytes(tmp_path)) == Footing(tmp_path.stat().st_dev, empty=False)
    assert footing_of(bytes(tmp_path / "not there")) is None


def test_removals_count_for_a_minute():
    removals = Removals()
    removals.add(60, 0.0)
    removals.add(30, 50.0)
    assert removals.with_more(10, 60.0) == 100
    assert removals.with_more(10, 60.1) == 40
    assert removals.with_more(10, 110.1) == 10
    assert removals.with_more(0, 1000.0) == 0


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "sessions").mkdir()
    return tmp_path


def test_many_batches_within_a_minute_are_as_one(root: Path, monkeypatch: pytest.MonkeyPatch):
    """Those that were not believed do not count: the run ends."""
    now = [0.0]
    monkeypatch.setattr(brake.time, "monotonic", lambda: now[0])
    watching = Brake(bytes(root), footing_of(bytes(root)), 400)
    for at in (0.0, 30.0):
        now[0] = at
        watching.check(_removals(100))
    with pytest.raises(Braked, match="201 of 400 files are gone within a minute"):
        watching.check(_removals(1))
    now[0] = 60.1
    watching.check(_removals(100))


def test_directories_do_not_count_but_an_empty_root_does(root: Path):
    watching = Brake(bytes(root), footing_of(bytes(root)), 100)
    watching.check(_removals(500, kind="dir"))
    (root / "sessions").rmdir()
    with pytest.raises(Braked, match="the source's root is empty"):
        watching.check(_removals(1, kind="dir"))


def test_whoever_says_that_it_is_meant_is_believed(root: Path):
    watching = Brake(bytes(root), footing_of(bytes(root)), 10)
    watching.is_off = True
    shutil.rmtree(root)
    watching.check(_removals(1000))


def test_where_something_was_mounted_nothing_is_believed_to_be_gone(root: Path, monkeypatch: pytest.MonkeyPatch):
    """Though it was mounted after following began. Elsewhere it may be; and there, too, once something is mounted again, or stands
    there without.
    """
    table = root.with_name("mountinfo")
    monkeypatch.setattr(mounts, "_TABLE", str(table))
    line = b"26 25 %s / %s/sessions rw - ext4 /dev/sda rw\n"
    table.write_bytes(b"")
    watching = Brake(bytes(root), footing_of(bytes(root)), 1000)
    table.write_bytes(line % (b"8:2", bytes(root)))
    watching.check([Task("put", Entry(b"sessions/new"), None)])
    watching.check(_removals(3))
    table.write_bytes(b"")
    watching.check(_removals(3, "elsewhere"))
    with pytest.raises(Braked, match="what was mounted at sessions in the source is not there any more"):
        watching.check(_removals(3))

    table.write_bytes(line % (b"8:3", bytes(root)))
    watching.check(_removals(3))
    table.write_bytes(b"")
    (root / "sessions").mkdir(exist_ok=True)
    (root / "sessions/there").write_bytes(b"")
    watching.check(_removals(3))


@pytest.mark.parametrize("is_off", [False, True])
def test_where_something_is_mounted_since_is_told_once(root: Path, monkeypatch: pytest.MonkeyPatch, is_off: bool):
    """Before anything of it is brought, so that whoever begins next knows of it; with all places of before."""
    table, told = root.with_name("mountinfo"), list[list[bytes]]()
    monkeypatch.setattr(mounts, "_TABLE", str(table))
    line = b"26 25 8:2 / %s/%s rw - ext4 /dev/sda rw\n"
    table.write_bytes(line % (bytes(root), b"sessions"))
    watching = Brake(bytes(root), footing_of(bytes(root)), 1000, lambda places: told.append(sorted(places)))
    watching.is_off = is_off
    task = Task("put", Entry(b"late/new"), None)
    watching.check([task])
    assert told == []
    table.write_bytes(line % (bytes(root), b"late"))
    watching.check([task])
    table.write_bytes(b"")
    watching.check([task])
    assert told == [[b"late", b"sessions"]]


def _census(source: Sequence[Entry], target: Sequence[Entry], *hidden: bytes) -> tuple[int, int]:
    census = Census(toward_database, lambda path: path in hidden)
    list(tasks(iter(source), iter(target), census.decide, None))
    return census.gone, census.held


def test_what_a_target_holds_and_a_source_lacks_is_counted_alike():
    """Files and links; not directories, nor what was removed before, nor what cannot be seen."""
    target = [
        Entry(b"", type="dir"),
        Entry(b"a", type="dir"),
        Entry(b"a/file"),
        Entry(b"a/gone", type="gone"),
        Entry(b"a/hidden"),
        Entry(b"a/link", type="link"),
    ]
    assert _census(target[:1], target) == (3, 3)
    assert _census(target[:1], target, b"a/hidden") == (2, 3)
    assert _census([*target[:3], Entry(b"b")], target) == (2, 3)


class _Listed:
    """A side of which only the list is asked."""

    def __init__(self, *entries: Entry) -> None:
        self._entries = entries

    def entries(self, *, tombstones: bool) -> Iterator[Entry]:
        return iter(each for each in self._entries if tombstones or each.type != "gone")

    def hides(self, path: bytes) -> bool:
        return path == b"hidden"


def test_a_round_of_the_sweep_counts_the_files_that_are_held_and_no_tombstones():
    """Or a store that has seen many files come and go would be thought so large that its last files may all go."""
    same = Entry(b"c", signature=Signature(0, 0, 0, 1), complete=True)
    gone = [Entry(b"%d" % number, type="gone") for number in range(1000)]
    source = _Listed(Entry(b"", type="dir"), same, Entry(b"new"))
    target = _Listed(Entry(b"", type="dir"), *sorted(gone, key=lambda entry: entry.path), Entry(b"b"), same)
    sweep = Sweep(lambda: look_over(source, target, toward_database, None, tombstones=False))
    found = [task for some in sweep.whole() for task in some]
    assert [(task.verb, task.entry.path) for task in found] == [("remove", b"b"), ("put", b"new")]
    assert sweep.held == 2


def test_all_of_a_tree_is_looked_at_while_writers_wait_or_nothing_is_handed_over():
    """Where other hosts may have written, of whom nobody hears."""
    source, target = _Listed(Entry(b"", type="dir"), Entry(b"new")), _Listed(Entry(b"", type="dir"))
    sweep = Sweep(lambda: look_over(source, target, toward_database, None, tombstones=False))
    found: list[bytes] = []
    sweep.measure(lambda tasks: None, 60.0, is_needed=True)
    sweep.rush(lambda tasks: found.extend(task.entry.path for task in tasks), time.monotonic() + 60)
    assert found == [b"new"]
    with pytest.raises(GateShut, match="other hosts may write"):
        sweep.rush(lambda tasks: None, time.monotonic() - 1)
