"""Directories by handle: never outside of the root, and shared by workers."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from crossfade.model.layouts import load
from crossfade.store.backends.file.store import FileStore
from crossfade.store.backends.file.tree import Tree
from crossfade.store.location import parse
from crossfade.store.port import Reading


def test_two_workers_may_make_the_same_directory(tmp_path: Path) -> None:
    """They often do, at the beginning of a restore; the slower one used to take the other's directory for a stranger's."""
    trees = [Tree(os.fsencode(tmp_path)) for _ in range(4)]
    paths = [f"d{number}/a/b".encode() for number in range(200)]
    with ThreadPoolExecutor(4) as threads:
        for tree in threads.map(lambda tree: [tree.directory(path, create=True) for path in paths], trees):
            assert len(tree) == len(paths)

    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"d{number}" for number in range(200))


def test_a_link_is_never_gone_through(tmp_path: Path) -> None:
    """A stored link that points outside must not lead a later entry there."""
    outside = tmp_path / "outside"
    outside.mkdir()
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(outside)

    with pytest.raises(OSError, match=r"Not a directory|Too many levels"):
        Tree(os.fsencode(root)).directory(b"link/below", create=True)

    assert list(outside.iterdir()) == []


def test_reading_leaves_no_trace(tmp_path: Path) -> None:
    """Nor a write: with each first look at a file after a change its inode would be written, on the disk of whoever changed it."""
    (tmp_path / "sessions").mkdir()
    (tmp_path / "sessions" / "1.json").write_text("{}")
    places = [tmp_path, tmp_path / "sessions", tmp_path / "sessions" / "1.json"]
    for place in places:
        os.utime(place, (1, 1))
    store = FileStore(parse(str(tmp_path)), load("prodigy"))
    entries = list(store.entries())
    assert [block.data for block in store.read([Reading(entry) for entry in entries if entry.type == "file"])] == [b"{}"]
    store.close()

    assert [place.stat().st_atime for place in places] == [1, 1, 1]


def test_what_belongs_to_somebody_else_is_read_all_the_same() -> None:
    """Only the owner may read unnoticed."""
    pid = os.fork()
    if not pid:
        if os.geteuid() == 0:
            os.seteuid(65534)
        os._exit(not os.read(Tree(b"/etc").open(b"passwd"), 1))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
