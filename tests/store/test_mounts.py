"""What is mounted below a directory, as Linux tells it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from crossfade.store.backends.file import mounts
from crossfade.store.backends.file.mounts import mounts_below, read_below, read_shared, shared_with_others

TABLE = rb"""21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 21 0:25 / /data rw - tmpfs tmpfs rw
31 30 8:2 / /data/tree rw,relatime - xfs /dev/sdb rw
32 31 8:3 /sub /data/tree/logs\040of\134all rw shared:2 master:1 - ext4 /dev/sdc rw
33 31 8:4 / /data/tree/a/b rw - ext4 /dev/sdd rw
34 33 8:5 / /data/tree/a/b rw - ext4 /dev/sde rw
35 30 8:6 / /data/tree.back rw - ext4 /dev/sdf rw
"""


def test_only_what_is_below_counts_and_the_last_of_several_in_one_place():
    assert read_below(b"/data/tree", TABLE) == {b"logs of\\all": b"8:3", b"a/b": b"8:5"}
    assert read_below(b"/data/tree/a/b", TABLE) == {}
    assert b"data/tree" in read_below(b"/", TABLE)


def test_a_root_that_is_reached_by_a_link_is_the_same(tmp_path: Path):
    (tmp_path / "tree").mkdir()
    (tmp_path / "door").symlink_to("tree")
    table = b"1 0 8:1 / %s/tree/x rw - ext4 /dev/sda rw\n" % os.fsencode(tmp_path.resolve())
    assert read_below(bytes(tmp_path / "door"), table) == {b"x": b"8:1"}


@pytest.mark.parametrize(
    ("root", "kind"),
    [("/data/nfs/tree", "nfs4"), ("/data/tree", ""), ("/data", "nfs4"), ("/data/tree/sshfs", "fuse.sshfs"), ("/home", "")],
)
def test_a_tree_that_other_hosts_may_write_into_is_known_by_its_file_system(root: str, kind: str):
    """That of its root, or of something below."""
    table = TABLE.replace(b"/data/tree/a/b rw - ext4", b"/data/tree/sshfs rw - fuse.sshfs", 1) if "sshfs" in root else TABLE
    table += b"36 30 0:31 / /data/nfs rw - nfs4 host:/export rw\n37 21 0:32 / /homes rw - nfs host:/homes rw\n"
    assert read_shared(root.encode(), table, lambda _: True) == kind


def test_a_file_system_of_others_counts_where_something_moves():
    """That of the root counts in any case."""
    table = TABLE.replace(b"/data/tree/a/b rw - ext4", b"/data/tree/sshfs rw - fuse.sshfs", 1)
    asked: list[bytes] = []

    def moves(path: bytes) -> bool:
        asked.append(path)
        return False

    assert read_shared(b"/data/tree", table, moves) == ""
    assert b"sshfs" in asked
    assert read_shared(b"/data/tree/sshfs", table, moves) == "fuse.sshfs"


def test_a_system_that_does_not_tell_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(mounts, "_TABLE", str(tmp_path / "not there"))
    assert mounts_below(b"/") == {}
    assert shared_with_others(b"/", lambda _: True) == ""
