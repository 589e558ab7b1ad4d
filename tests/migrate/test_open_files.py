"""Who has a file of the tree open for writing: seen where it can be seen, whatever the file is called over there."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from crossfade.migrate.handover import foreign
from crossfade.migrate.handover.foreign import writers_of
from support.seeing import sees_all

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


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may not look into the processes of others: those are left out."""
    sees_all(monkeypatch)


@pytest.mark.usefixtures("seen")
def test_a_process_that_writes_is_seen_and_one_that_reads_is_not(root: Path):
    with holding(file=root / "sessions/one.json", mode="r"):
        assert writers_of(bytes(root)) == ()
    with holding(file=root / "sessions/one.json", mode="a") as process:
        (found,) = writers_of(bytes(root)) or ()
        assert found.endswith(f"(process {process.pid})")
    assert writers_of(bytes(root)) == ()


def test_where_processes_cannot_be_seen_nothing_is_said(root: Path, monkeypatch: pytest.MonkeyPatch):
    """Nobody is not the same as nobody that can be seen."""
    monkeypatch.setattr(foreign, "_sees_all", lambda: False)
    assert writers_of(bytes(root)) is None
    sees_all(monkeypatch)
    assert writers_of(bytes(root / "nowhere")) is None


@pytest.mark.usefixtures("seen")
def test_a_process_in_a_container_is_seen_under_the_names_that_files_have_there(root: Path, tmp_path: Path):
    """A bind mount in a mount namespace of its own, as a container has it; and one of a part of the tree only."""
    for mounted, name in ((root, "sessions/one.json"), (root / "sessions", "one.json")):
        with holding(*contained(mounted, tmp_path / "seen"), file=tmp_path / "seen" / name, mode="a") as process:
            (found,) = writers_of(bytes(root)) or ()
            assert found.endswith(f"(process {process.pid})")
        assert not list((tmp_path / "seen").iterdir())


@pytest.mark.usefixtures("seen")
def test_another_file_of_a_container_is_none_of_ours(root: Path, tmp_path: Path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "one.json").write_text("{}")
    with holding(*contained(other, tmp_path / "seen"), file=tmp_path / "seen" / "one.json", mode="a"):
        assert writers_of(bytes(root)) == ()
