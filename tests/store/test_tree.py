"""Directories by handle: never outside of the root, and shared by workers."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from crossfade.store.backends.file.tree import Tree


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
