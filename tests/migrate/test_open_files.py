"""Who has a file of the tree open for writing: seen where it can be seen, whatever the file is called over there."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from crossfade.migrate.handover.foreign import writers_of

HOLDS = "import sys; file = open(sys.argv[1], sys.argv[2]); print('open', flush=True); sys.stdin.read()"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "live" / "sessions").mkdir(parents=True)
    (tmp_path / "live" / "sessions" / "one.json").write_text("{}")
    (tmp_path / "seen").mkdir()
    return tmp_path / "live"


def contained(mounted: Path, at: Path) -> list[str]:
    """What starts a program in a mount namespace of its own, where *mounted* has the name *at*."""
    rights = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return ["unshare", *rights, "--mount", "sh", "-c", f'mount --bind "{mounted}" "{at}" && exec "$@"', "sh"]


@contextmanager
def holding(*before: object, file: Path, mode: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has *file* open; *before* is what it is started through."""
    words = [*map(str, before), sys.executable, "-c", HOLDS, str(file), mode]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"open\n"
        yield process
    finally:
        process.stdin.close()
        process.wait(10)
        process.stdout.close()


def seen(root: Path) -> tuple[str, ...] | None:
    """What is said of it: nothing at all, where whoever runs the tests sees only processes of their own."""
    found = writers_of(bytes(root))
    return found if os.geteuid() == 0 and os.readlink("/proc/self/ns/pid") == "pid:[4026531836]" else None


def test_a_process_that_writes_is_seen_and_one_that_reads_is_not(root: Path):
    with holding(file=root / "sessions/one.json", mode="r"):
        assert not writers_of(bytes(root))
    with holding(file=root / "sessions/one.json", mode="a") as process:
        found = seen(root)
        assert found is None or any(str(process.pid) in each for each in found)


def test_a_process_in_a_container_is_seen_under_the_names_that_files_have_there(root: Path, tmp_path: Path):
    """A bind mount in a mount namespace of its own, as a container has it; and one of a part of the tree only."""
    for mounted, name in ((root, "sessions/one.json"), (root / "sessions", "one.json")):
        with holding(*contained(mounted, tmp_path / "seen"), file=tmp_path / "seen" / name, mode="a") as process:
            found = seen(root)
            assert found is None or any(str(process.pid) in each for each in found)
        assert not list((tmp_path / "seen").iterdir())


def test_another_file_of_a_container_is_none_of_ours(root: Path, tmp_path: Path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "one.json").write_text("{}")
    with holding(*contained(other, tmp_path / "seen"), file=tmp_path / "seen" / "one.json", mode="a"):
        assert not writers_of(bytes(root))
