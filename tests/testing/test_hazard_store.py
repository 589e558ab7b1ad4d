"""The hazard store: the same on every run, and as hazardous as it says. Judged by the independent comparer."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from crossfade.testing import hazards
from crossfade.testing.hazard_contents import edges, framed
from crossfade.testing.hazard_names import NAMES
from crossfade.testing.hazard_values import VALUES
from crossfade.testing.planting import LEFT_OUT, Planter, key_order

SCRIPT = Path(__file__).parents[2] / "scripts" / "compare_trees.py"


def comparison(one: Path, other: Path, *options: str) -> str:
    """What the comparer says."""
    return subprocess.run([sys.executable, SCRIPT, *options, one, other], capture_output=True, text=True, check=False).stdout


def walk(root: Path) -> Iterator[bytes]:
    """Every path under *root*, without following links."""
    base = os.fsencode(root)
    for directory, directories, files in os.walk(base):
        for name in directories + files:
            yield os.path.relpath(os.path.join(directory, name), base)


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> tuple[Path, list[bytes]]:
    """The hazard store without its large files, under a root that did not exist."""
    root = tmp_path_factory.mktemp("hazards") / "not" / "there"
    return root, hazards.build(os.fsencode(root), large=False)


def test_the_hazard_store_is_the_same_on_every_run(store, tmp_path):
    """Whatever the umask."""
    before = os.umask(0o077)
    try:
        moved = hazards.build(str(tmp_path / "again"), large=False)
    finally:
        os.umask(before)

    assert moved == store[1]
    assert comparison(store[0], tmp_path / "again").startswith("identical: ")


def test_the_hazard_store_returns_the_moved_set(store):
    """In walking order, and nothing but locks, temporary files and git worktrees is left out."""
    root, moved = store
    left = sorted(set(walk(root)) - set(moved))

    assert moved == sorted(set(moved), key=key_order)
    assert set(moved) <= set(walk(root))
    assert left == [
        b"locks/key.lock",
        b"resume_locks/x.lock",
        b"state.json.tmp.123",
        b"state/session-1/checkpoints/workflow-1.checkpoint.tmp",
        b"worktrees/repo/session-1",
        b"worktrees/repo/session-1/.git",
        b"worktrees/repo/session-1/.prodigy",
        b"worktrees/repo/session-1/.prodigy/sessions",
        b"worktrees/repo/session-1/.prodigy/sessions/session-1.json",
        b"worktrees/repo/session-1/src",
        b"worktrees/repo/session-1/src/main.rs",
    ]


def test_the_comparer_can_leave_out_what_is_not_moved(store, tmp_path):
    """``LEFT_OUT`` is for round trips: it hides what crossfade leaves behind, and not one path more."""
    root, moved = store
    options = [option for glob in LEFT_OUT for option in ("--exclude", glob)]
    (tmp_path / "empty").mkdir()

    lines = comparison(root, tmp_path / "empty", *options).splitlines()

    assert sum(line.startswith("missing ") for line in lines) == len(moved)


def test_the_hazard_store_holds_every_value_twice(store):
    """In a document and in a line; a value that holds a newline would not be one line."""
    root, _ = store
    lines = (root / "events/values/all/events-20251116_101500.jsonl").read_bytes().splitlines(keepends=True)

    assert not any(b"\n" in value for value in VALUES.values())
    assert len((root / "logs/claude-streaming/20251116_101600-values.jsonl").read_bytes().split(b"\n")) == len(VALUES)
    assert all((root / f"sessions/value-{name}.json").is_file() for name in VALUES)
    assert sum(line.endswith(b"\n") for line in lines) >= len(VALUES)


def test_the_hazard_store_has_no_name_twice():
    """A tuple of names, each a hazard of its own."""
    assert len(set(NAMES)) == len(NAMES)


def test_what_stands_on_an_edge_stands_exactly_there():
    """1 MiB is where a digest ends."""
    mib = 1 << 20
    logs = edges()

    assert [len(logs[name]) - mib for name in ("exactly-1-mib", "1-mib-and-1", "1-mib-less-1")] == [0, 1, -1]
    assert logs["exactly-1-mib"][-1:] == b"\n"
    assert logs["newline-over-the-edge"][mib : mib + 1] == b"\n"
    assert logs["starts-on-the-edge"][mib - 1 : mib + 1] == b"\n{"
    assert logs["empty-lines-over-the-edge"][mib - 4 : mib + 2] == b"\n" * 6
    with pytest.raises(UnicodeDecodeError):
        logs["character-over-the-edge"][:mib].decode()


def test_torn_logs_do_not_end_with_a_newline():
    """Except where the name says otherwise."""
    torn = {name: body for name, body in framed().items() if name.startswith("torn") and name != "torn-in-the-middle"}

    assert len(torn) == 5
    assert not any(body.endswith(b"\n") for body in torn.values())


def test_large_files_are_as_large_as_they_say():
    """Their sizes are exact, because limits are."""
    sizes = {path: sum(map(len, parts)) for path, parts in hazards.large_files()}
    limit = 16 << 20

    assert sizes[b"sessions/large-16-mib.json"] == limit
    assert sizes[b"sessions/large-16-mib-and-1.json"] == limit + 1
    assert sizes[b"sessions/large-40-mb.json"] == 40_000_000
    assert sizes[b"events/large/100-mb-line/events-20251116_101500.jsonl"] == 100_000_000 + 32
    assert sizes[b"events/large/16-mib-lines/events-20251116_101500.jsonl"] == 4 * limit + (1 << 20)
    assert json.loads(b"".join(hazards.sized(50_000)))["id"] == "large"


def test_times_before_1970_and_after_2038_are_kept(store):
    """Where the file system has room for them; ext4, tmpfs and btrfs do."""
    sessions = store[0] / "sessions"

    assert (sessions / "time-before-1970.json").stat().st_mtime_ns == -1
    assert (sessions / "time-year-2100.json").stat().st_mtime_ns == 4_102_444_800_123_456_789
    assert (store[0] / "templates-of-links/time-zero").lstat().st_mtime_ns == 0


def test_a_planter_finishes_directories_last(tmp_path):
    """A read-only directory gets its files first, and keeps its time."""
    tree = Planter(str(tmp_path / "root"))
    tree.directory(b"sealed", mode=0o555, mtime_ns=5)
    tree.file(b"sealed/inside", [b"a", b"b"], mode=0o400, mtime_ns=6)

    assert tree.settle() == [b"sealed", b"sealed/inside"]
    status = (tmp_path / "root/sealed").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_mtime_ns) == (0o555, 5)
    assert (tmp_path / "root/sealed/inside").read_bytes() == b"ab"
