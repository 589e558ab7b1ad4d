"""Files are on disk before they have names, and names before anybody says so; on every way to sync."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from crossfade.model.changes import Change, Page, Touch
from crossfade.model.entries import SEGMENT, Entry, altered
from crossfade.store.backends.file import syncing
from crossfade.store.backends.file.store import FileStore
from crossfade.store.backends.file.syncing import Disk
from crossfade.store.location import parse
from crossfade.testing.contract import LAYOUT, Bench, cases
from crossfade.testing.contract.bench import TIME, lines, link, puts
from support.powerless import obey_permissions


@dataclass
class Witness:
    """Sees what reaches the disk, and in which order; does not change it. Files and directories are known by their inodes."""

    on_disk: dict[int, tuple[int, int]] = field(default_factory=dict)
    renamed: int = 0
    early: list[bytes] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)

    def sees(self, descriptor: int) -> None:
        status = os.fstat(descriptor)
        self.on_disk[status.st_ino] = (status.st_size, status.st_mtime_ns)

    def sees_all_in(self, folder: Path) -> None:
        for path in [folder, *folder.rglob("*")]:
            status = path.lstat()
            self.on_disk[status.st_ino] = (status.st_size, status.st_mtime_ns)

    def lacks(self, path: Path) -> bool:
        status = path.lstat()
        return self.on_disk.get(status.st_ino) != (status.st_size, status.st_mtime_ns)


@pytest.fixture(params=["whole", "each"])
def witness(request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Witness:
    """Watches syncs and renames: where one call for the file system is trusted, and where none is."""
    seen = Witness()
    fsync, rename, sync = os.fsync, os.rename, Disk.sync

    def watched_fsync(descriptor: int) -> None:
        fsync(descriptor)
        seen.calls.append("fsync")
        seen.sees(descriptor)

    def watched_sync(disk: Disk) -> None:
        sync(disk)
        seen.calls.append("syncfs")
        seen.sees_all_in(tmp_path)

    def watched_rename(source: bytes, target: bytes, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        status = os.stat(source, dir_fd=src_dir_fd, follow_symlinks=False)
        seen.renamed += 1
        is_link = os.path.islink(f"/proc/self/fd/{src_dir_fd}/{os.fsdecode(source)}")
        if not is_link and seen.on_disk.get(status.st_ino) != (status.st_size, status.st_mtime_ns):
            seen.early.append(target)
        rename(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(os, "rename", watched_rename)
    monkeypatch.setattr(Disk, "sync", watched_sync)
    if request.param == "each":
        monkeypatch.setattr(syncing, "_WHOLE", {})
    return seen


def _tree(bench: Bench, count: int) -> list[Change]:
    """*count* files in directories of their own, three deep, a log of several blocks among them, and a link."""
    changes: list[Change] = [link(b"l/link", b"nowhere")]
    for number in range(count):
        changes += puts(bench.entry(b"a/%d/b/file-%d.json" % (number % 30, number), mode=0o400), b'{"n":%d}' % number)
    return [*changes, *puts(bench.entry(b"a/7/long.jsonl"), lines(3 * SEGMENT))]


@pytest.mark.parametrize("count", [1, 5, 300])
def test_what_gets_a_name_is_on_disk(witness: Witness, tmp_path: Path, count: int):
    """With its last mode and time; few files are synced one by one, many at once where that is as good."""
    root = tmp_path / "root"
    root.mkdir()
    bench = Bench(lambda: FileStore(parse(str(root)), LAYOUT))
    applied = bench.apply(*_tree(bench, count))

    assert len(applied.entries) == count + 2
    assert not applied.refusals
    assert witness.renamed == count + 2
    assert witness.early == []
    assert not [path for path in root.rglob("*") if path.is_file() and not path.is_symlink() and witness.lacks(path)]
    assert "syncfs" not in witness.calls or (count > 1 and syncing._WHOLE)
    assert count < 300 or not syncing._WHOLE or len(witness.calls) < 10
    bench.store.close()


@pytest.mark.parametrize("count", [1, 5, 300])
def test_every_directory_that_got_a_name_in_it_is_on_disk(witness: Witness, tmp_path: Path, count: int):
    """Also those that were made on the way, and the root."""
    root = tmp_path / "root"
    root.mkdir()
    bench = Bench(lambda: FileStore(parse(str(root)), LAYOUT))
    bench.apply(*_tree(bench, count))

    assert not [path for path in [root, *root.rglob("*")] if path.is_dir() and witness.lacks(path)]
    bench.store.close()


def test_modes_and_times_of_directories_are_on_disk(witness: Witness, tmp_path: Path):
    """They come last, and nothing comes after them that would bring them along."""
    root = tmp_path / "root"
    root.mkdir()
    bench = Bench(lambda: FileStore(parse(str(root)), LAYOUT))
    deep = [b"a/b/c", b"a/b", b"a", b""]
    bench.apply(*(Touch(Entry(path=path, type="dir", mode=0o750, mtime_ns=TIME)) for path in deep))

    assert [os.stat(os.path.join(os.fsencode(root), path)).st_mtime_ns for path in deep] == [TIME] * 4
    assert not [path for path in [root, *root.rglob("*")] if witness.lacks(path)]
    bench.store.close()


@pytest.mark.parametrize("count", [1, 5, 300])
def test_what_is_only_touched_is_on_disk(witness: Witness, tmp_path: Path, count: int):
    """Its mode and its time are the file's own, and not in its directory."""
    root = tmp_path / "root"
    root.mkdir()
    bench = Bench(lambda: FileStore(parse(str(root)), LAYOUT))
    bench.apply(*_tree(bench, count))
    witness.on_disk.clear()
    calls = len(witness.calls)
    there = [entry for entry in bench.store.entries() if entry.type == "file"]
    bench.apply(*(Touch(altered(entry, mode=0o600, mtime_ns=TIME + 1)) for entry in there))

    files = [path for path in root.rglob("*") if path.is_file() and not path.is_symlink()]
    assert {path.stat().st_mtime_ns for path in files} == {TIME + 1}
    assert not [path for path in files if witness.lacks(path)]
    assert count < 300 or not syncing._WHOLE or len(witness.calls) - calls < 10
    bench.store.close()


_TOUCH = """
import sys
from crossfade.model.changes import Touch
from crossfade.model.entries import altered
from crossfade.store.backends.file.store import FileStore
from crossfade.store.location import parse
from crossfade.testing.contract import LAYOUT, Bench
bench = Bench(lambda: FileStore(parse(sys.argv[1]), LAYOUT))
applied = bench.apply(Touch(altered(bench.there(b"locked.json"), mtime_ns=7, mode=0)))
assert [entry.path for entry in applied.entries] == [b"locked.json"], applied
bench.store.close()
"""


def test_what_keeps_its_owner_out_can_be_touched(tmp_path: Path):
    """Nobody can open it to have it synced by itself."""
    (tmp_path / "locked.json").write_text("{}")
    (tmp_path / "locked.json").chmod(0)
    subprocess.run([sys.executable, "-c", _TOUCH, str(tmp_path)], check=True, preexec_fn=obey_permissions)

    assert (tmp_path / "locked.json").stat().st_mtime_ns == 7


@pytest.mark.parametrize("case", cases(FileStore.can), ids=str)
def test_the_contract_holds_where_each_file_is_synced(case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """On NFS, FUSE or an overlay nobody knows what one call for the whole file system is worth."""
    monkeypatch.setattr(syncing, "_WHOLE", {})
    root = tmp_path / "root"
    root.mkdir()
    case(Bench(lambda: FileStore(parse(str(root)), LAYOUT)))

    assert os.listdir(tmp_path) == ["root"]


_GO_ON = """
import sys
from crossfade.model.changes import Page
from crossfade.store.backends.file.store import FileStore
from crossfade.store.location import parse
from crossfade.testing.contract import LAYOUT, Bench
from crossfade.testing.contract.bench import lines, puts
bench = Bench(lambda: FileStore(parse(sys.argv[1]), LAYOUT))
entry = bench.entry(b"locked.jsonl", mode=0)
assert [segment.number for segment in bench.store.segments(entry)] == [0, 1]
applied = bench.apply(*puts(entry, lines(3_000_000)))
assert [e.path for e in applied.entries] == [b"locked.jsonl"], applied
bench.store.close()
"""


def test_a_staged_file_that_keeps_its_owner_out_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A run that dies between the mode and the name leaves a file that even its owner may not open."""
    root = tmp_path / "root"
    root.mkdir()
    bench = Bench(lambda: FileStore(parse(str(root)), LAYOUT))
    bench.store.segments(bench.entry(b"locked.jsonl"))  # there is a place to stage it, which was tried by a rename
    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            bench.store.apply(Page(tuple(puts(bench.entry(b"locked.jsonl", mode=0), lines(3_000_000)))))
    bench.store.close()
    (staged,) = (tmp_path / "root.crossfade").iterdir()
    assert staged.stat().st_mode & 0o777 == 0

    subprocess.run([sys.executable, "-c", _GO_ON, str(root)], check=True, preexec_fn=obey_permissions)
    status = (root / "locked.jsonl").stat()
    assert (status.st_mode & 0o777, status.st_mtime_ns, status.st_size) == (0, TIME, len(lines(3_000_000)))
    assert not (tmp_path / "root.crossfade").exists()


def test_what_lies_on_another_volume_is_refused_and_the_rest_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """One that was mounted below the root since it was looked at: no rename leads there, and one path must not end the run."""
    root = tmp_path / "root"
    (root / "volume").mkdir(parents=True)
    rename = os.rename

    def renamed(source: bytes, target: bytes, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        if os.readlink(f"/proc/self/fd/{dst_dir_fd}") == str(root / "volume"):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        rename(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    monkeypatch.setattr(os, "rename", renamed)
    bench = Bench(lambda: FileStore(parse(str(root)), LAYOUT))
    there, beside = puts(bench.entry(b"volume/doc.json"), b"{}"), puts(bench.entry(b"doc.json"), b"{}")
    applied = bench.apply(*there, *beside)
    bench.store.close()

    assert [(refusal.entry.path, refusal.code) for refusal in applied.refusals] == [(b"volume/doc.json", "other-volume")]
    assert [entry.path for entry in applied.entries] == [b"doc.json"]
    assert not (tmp_path / "root.crossfade").exists()
