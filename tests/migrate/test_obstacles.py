"""A look at a directory before it is written."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from crossfade.errors import TargetForeign, TargetUnwritable
from crossfade.migrate.decide import Task, Verb
from crossfade.migrate.obstacles import check_way_back, survey
from crossfade.model.changes import Remove
from crossfade.model.entries import Entry
from crossfade.model.layouts import load
from crossfade.store.location import parse


def _file(path: bytes, row: int = 0) -> Entry:
    return Entry(path=path, row=row)


def _tasks(verb: Verb, count: int) -> list[Task]:
    return [Task(verb, None, _file(b"f%03d" % number)) for number in range(count)]


@pytest.mark.parametrize(
    ("count", "says"), [(1, ": f000"), (3, ": f000, f001, f002"), (4, "f002, and 1 more"), (500, "f002, and 497 more")]
)
@pytest.mark.parametrize("verb", ["stranger", "conflict"])
def test_what_is_not_ours_is_named_and_counted(verb: Verb, count: int, says: str):
    """Three paths, and how many more there really are."""
    with pytest.raises(TargetForeign) as raised:
        survey(_tasks(verb, count), "the target", strangers_may_stay=False)

    assert str(raised.value).endswith(says)


def test_strangers_that_may_stay_are_nothing_to_do():
    """So the run that meets nothing else is over."""
    in_the_way, is_idle = survey(_tasks("stranger", 7), "the target", strangers_may_stay=True)

    assert (list(in_the_way), is_idle) == ([], True)


def test_what_is_in_the_way_goes_before_what_holds_it():
    """A directory becomes a link: what it holds goes first, what merely is removed elsewhere waits for its turn."""
    there = [Entry(path=path, type="dir" if path == b"d" else "file") for path in (b"a", b"d", b"d/x", b"d/y", b"e")]
    link = Entry(path=b"d", type="link", link=b"a", row=7)
    tasks = [Task("remove", None, e) if e.path != b"d" else Task("touch", link, e) for e in there]
    in_the_way, is_idle = survey(tasks, "the target", strangers_may_stay=False)

    assert not is_idle
    assert [change.entry.path for change in in_the_way] == [b"d/y", b"d/x", b"d"]
    assert all(isinstance(change, Remove) for change in in_the_way)
    assert [change.entry.row for change in in_the_way] == [0, 0, 7], "under which its mark is kept"


def _fails(code: int) -> None:
    raise OSError(code, os.strerror(code))


def _look(root: Path) -> None:
    check_way_back(parse(str(root)), load("prodigy"), None, include_transient=False)


def test_a_file_system_that_does_not_say_whether_it_is_read_only_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "statvfs", lambda _: _fails(errno.ENOSYS))
    monkeypatch.setattr(os, "fstatvfs", lambda _: _fails(errno.ENOSYS))
    _look(tmp_path)


def test_files_that_cannot_be_looked_at_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """It is said of them, and nothing stays open."""
    open_now = os.listdir("/proc/self/fd")
    with pytest.raises(TargetUnwritable, match="No such file"):
        _look(tmp_path / "absent")
    monkeypatch.setattr(os, "statvfs", lambda _: _fails(errno.EIO))
    monkeypatch.setattr(os, "fstatvfs", lambda _: _fails(errno.EIO))
    with pytest.raises(TargetUnwritable, match="error"):
        _look(tmp_path)

    assert os.listdir("/proc/self/fd") == open_now
