"""Where files are staged: nothing of it stays, and the root does not show that it was there."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from crossfade.model.changes import Touch
from crossfade.model.entries import SEGMENT, Entry, altered
from crossfade.store.backends.file import staging
from crossfade.store.backends.file.aside import Aside
from crossfade.store.backends.file.staging import staging_of
from crossfade.store.backends.file.store import FileStore
from crossfade.store.backends.file.tree import Tree
from crossfade.store.location import parse
from crossfade.testing.contract import LAYOUT, Bench
from crossfade.testing.contract.bench import TIME, lines, link, puts

LONG = b"d/long.jsonl"
ELSEWHERE = -1
"""A device that is not that of any directory: as if the root were a file system of its own."""


@pytest.fixture(params=["beside", "inside"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A tree; where nothing can be staged beside it, as where it is a file system of its own, that is done inside."""
    (tmp_path / "root").mkdir(0o755)
    if request.param == "inside":
        (tmp_path / "root.crossfade").symlink_to(tmp_path)
    return tmp_path / "root"


@pytest.fixture
def staged(root: Path) -> Callable[[], list[str]]:
    """The names in our directory, wherever it is."""
    beside = root.with_name("root.crossfade")
    place = root / ".crossfade" if beside.is_symlink() else beside
    return lambda: sorted(os.listdir(place)) if place.exists() else []


def bench_of(root: Path) -> Bench:
    return Bench(lambda: FileStore(parse(str(root)), LAYOUT))


def test_the_root_keeps_its_time(root: Path):
    """The directory of ours comes and goes after it was settled: inside, that changes it."""
    os.utime(root, ns=(TIME, TIME))
    bench = bench_of(root)
    assert bench.store.segments(bench.entry(LONG)) == ()
    assert root.stat().st_mtime_ns == TIME

    bench.apply(*puts(bench.entry(b"doc.json"), b"{}"))
    bench.apply(Touch(Entry(path=b"", type="dir", mode=0o755, mtime_ns=TIME + 1)))
    bench.store.close()
    assert root.stat().st_mtime_ns == TIME + 1
    assert os.listdir(root) == ["doc.json"]


def test_a_program_that_stages_leaves_the_roots_time_alone(root: Path):
    os.utime(root, ns=(TIME, TIME))
    tree = Tree(os.fsencode(root))
    handle, _ = staging_of(tree)
    os.close(handle)
    tree.close()

    assert root.stat().st_mtime_ns == TIME


@pytest.mark.parametrize("is_apart", [False, True], ids=["where it serves", "where it is on another volume"])
@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS, errno.EBUSY], ids=errno.errorcode.get)
def test_a_directory_that_cannot_be_tidied_away_is_in_nobodys_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, is_apart: bool
):
    """Somebody else made it for us, where only they may remove it, or it is a mount."""
    root, beside = tmp_path / "root", tmp_path / "root.crossfade"
    root.mkdir()
    beside.mkdir(0o700)
    rmdir, is_one_mount = os.rmdir, staging.is_one_mount

    def kept(path: bytes, **how: int) -> None:
        if path == os.fsencode(beside):
            raise OSError(code, os.strerror(code))
        rmdir(path, **how)

    def is_one(one: int, other: int) -> bool:
        return not (is_apart and os.path.samestat(os.fstat(one), beside.stat())) and is_one_mount(one, other)

    monkeypatch.setattr(os, "rmdir", kept)
    monkeypatch.setattr(staging, "is_one_mount", is_one)
    bench = bench_of(root)
    bench.put(b"doc.json", b"{}")
    bench.store.close()

    assert (os.listdir(root), os.listdir(beside)) == (["doc.json"], [])


@pytest.mark.parametrize("again", ["whole", "short", "link", "touched"])
def test_what_was_begun_of_an_earlier_content_goes(root: Path, staged: Callable[[], list[str]], again: str):
    """A run that is killed in a long file leaves what it had; the next one finds another file there, whatever that is by now."""
    bench = bench_of(root)
    begun = puts(bench.entry(LONG), lines(3 * SEGMENT))
    bench.apply(*puts(bench.entry(b"other.jsonl"), lines(2 * SEGMENT))[:1])
    if again == "touched":
        bench.put(LONG, b"{}\n")
    bench.apply(*begun[:2])
    bench.reopen()
    assert len(staged()) == 2

    entry = bench.entry(LONG, mtime_ns=TIME + 1)
    change = {
        "whole": lambda: puts(entry, lines(4 * SEGMENT)),
        "short": lambda: puts(entry, b"{}\n"),
        "link": lambda: [link(LONG, b"nowhere", TIME + 1)],
        "touched": lambda: [Touch(altered(bench.there(LONG), mtime_ns=TIME + 1))],
    }[again]()
    bench.apply(*change)
    bench.reopen()
    assert len(staged()) == 1, "what was begun of another path stays"

    bench.apply(*puts(bench.entry(b"other.jsonl"), lines(2 * SEGMENT)))
    bench.store.close()
    assert staged() == []


def test_what_was_put_aside_stays(tmp_path: Path):
    """Where the root is a file system of its own it lies where we stage, under a name of the same length."""
    root = tmp_path / "root"
    root.mkdir()
    aside = Aside(os.fsencode(root))
    place = Path(os.fsdecode(aside._place(b"doc.json", 7, ELSEWHERE)))
    place.write_text("theirs")
    (tmp_path / "root.crossfade").rename(tmp_path / "away")
    (tmp_path / "root.crossfade").symlink_to(tmp_path)
    bench = bench_of(root)
    bench.apply(*puts(bench.entry(LONG), lines(3 * SEGMENT))[:1])
    bench.reopen()
    bench.put(LONG, b"{}\n")
    bench.put(b"doc.json", b"[]")
    bench.store.close()

    assert os.listdir(root / ".crossfade") == [place.name]
    assert bench_of(root).paths() == [b"d", LONG, b"doc.json"]
