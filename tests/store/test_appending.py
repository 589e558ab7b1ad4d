"""A log grows where it is, and what somebody else writes to it is neither lost nor mixed in unseen."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from crossfade.model.changes import Block, Page, Put
from crossfade.model.entries import Entry, Signature, altered
from crossfade.store.backends.file import appending
from crossfade.store.backends.file.store import FileStore
from crossfade.store.location import parse
from crossfade.store.port import Applied
from crossfade.testing.contract import LAYOUT
from crossfade.testing.contract.bench import TIME

PATH = b"a/log.jsonl"
OLD, NEW = b'{"id":1}\n', b'{"id":2}\n'


@dataclass
class Grows:
    """A tree with one log, which a page appends to."""

    store: FileStore
    file: Path

    def entry(self) -> Entry:
        """The log as it stands."""
        (found,) = self.store.look([PATH])
        return found

    def put(self, data: bytes = NEW, offset: int = len(OLD), onto: Signature | None = None, **changes: int) -> Put:
        """Bytes for its end."""
        entry = altered(self.entry(), mtime_ns=TIME, row=7, **changes)
        return Put(Block(entry, offset, data, last=True), digest=b"digest", onto=onto or self.entry().signature)

    def append(self, *puts: Put) -> Applied:
        """One page."""
        return self.store.apply(Page(puts))


@pytest.fixture
def grows(tmp_path: Path) -> Iterator[Grows]:
    file = tmp_path / "tree" / "a" / "log.jsonl"
    file.parent.mkdir(parents=True)
    file.write_bytes(OLD)
    file.chmod(0o640)
    store = FileStore(parse(str(tmp_path / "tree")), LAYOUT)
    yield Grows(store, file)
    store.close()


def test_it_grows_in_place_and_gets_its_mode_and_time(grows: Grows):
    inode = grows.file.stat().st_ino
    applied = grows.append(grows.put(mode=0o600))

    assert grows.file.read_bytes() == OLD + NEW
    status = grows.file.stat()
    assert (status.st_ino, status.st_mode & 0o777, status.st_mtime_ns) == (inode, 0o600, TIME)
    (entry,) = applied.entries
    assert (entry.signature, entry.size, entry.digest, entry.row) == (grows.entry().signature, 18, b"digest", 7)
    assert not applied.left


def test_several_pieces_in_one_page_and_over_pages(grows: Grows):
    """All onto what the file was at first: what we have added ourselves is known."""
    onto = grows.entry().signature
    grows.append(grows.put(onto=onto), grows.put(b"three\n", 18, onto))
    applied = grows.append(grows.put(b"four\n", 24, onto))

    assert grows.file.read_bytes() == OLD + NEW + b"three\nfour\n"
    assert not applied.left


def test_a_page_that_is_repeated_adds_nothing_twice(grows: Grows):
    """The server may be away when the marks are due; then the page comes again, as it is."""
    page = Page((grows.put(), grows.put(b"three\n", 18)))
    first = grows.store.apply(page)
    again = grows.store.apply(page)

    assert grows.file.read_bytes() == OLD + NEW + b"three\n"
    assert [(entry.size, entry.digest) for entry in again.entries] == [(24, b"digest")]
    assert again.entries[0].signature == grows.entry().signature
    assert not first.left
    assert not again.left


def test_what_stopped_for_want_of_room_goes_on_where_it_stopped(grows: Grows, monkeypatch: pytest.MonkeyPatch):
    write = os.write

    def short(descriptor: int, data: memoryview) -> int:
        if len(data) < 5:
            raise OSError(errno.ENOSPC, "full")
        return write(descriptor, data[:3])

    page = Page((grows.put(),))
    monkeypatch.setattr(appending.os, "write", short)
    with pytest.raises(OSError, match="full"):
        grows.store.apply(page)
    monkeypatch.undo()
    assert grows.file.read_bytes() == OLD + NEW[:6]
    applied = grows.store.apply(page)

    assert grows.file.read_bytes() == OLD + NEW
    assert not applied.left
    assert applied.entries


def test_what_was_written_since_the_look_stays_and_nothing_is_added(grows: Grows):
    put = grows.put()
    with grows.file.open("ab") as file:
        file.write(b"foreign\n")
    applied = grows.append(put)

    assert grows.file.read_bytes() == OLD + b"foreign\n"
    assert applied.left == (PATH,)
    assert not applied.entries


@pytest.mark.parametrize("when", ["before", "after"])
def test_what_is_written_under_the_append_is_not_covered(grows: Grows, monkeypatch: pytest.MonkeyPatch, when: str):
    """Between the look under the append and the write itself, and right behind it."""
    write = os.write

    def raced(descriptor: int, data: memoryview) -> int:
        if when == "before":
            with grows.file.open("ab") as file:
                file.write(b"foreign\n")
        written = write(descriptor, data)
        if when == "after":
            with grows.file.open("ab") as file:
                file.write(b"foreign\n")
        return written

    put = grows.put()
    monkeypatch.setattr(appending.os, "write", raced)
    applied = grows.append(put)
    monkeypatch.undo()

    expected = {"before": OLD + b"foreign\n" + NEW, "after": OLD + NEW + b"foreign\n"}
    assert grows.file.read_bytes() == expected[when]
    assert applied.left == (PATH,)
    assert not applied.entries


def test_what_is_written_while_it_is_synced_is_seen(grows: Grows, monkeypatch: pytest.MonkeyPatch):
    sync = os.fsync

    def raced(descriptor: int) -> None:
        if os.readlink(f"/proc/self/fd/{descriptor}") == str(grows.file):
            with grows.file.open("ab") as file:
                file.write(b"foreign\n")
        sync(descriptor)

    put = grows.put()
    monkeypatch.setattr(os, "fsync", raced)
    applied = grows.append(put)

    assert grows.file.read_bytes() == OLD + NEW + b"foreign\n"
    assert applied.left == (PATH,)


def test_another_file_at_its_path_is_left(grows: Grows):
    """Replaced by a rename, by a link, by nothing."""
    put = grows.put()
    for make in ("file", "link", "nothing"):
        grows.file.unlink()
        if make == "file":
            grows.file.write_bytes(OLD)
        if make == "link":
            grows.file.symlink_to("elsewhere.jsonl")
            (grows.file.parent / "elsewhere.jsonl").write_bytes(OLD)
        assert grows.append(put).left == (PATH,)
        if make == "link":
            assert (grows.file.parent / "elsewhere.jsonl").read_bytes() == OLD
        if make == "nothing":
            assert not grows.file.exists()
        else:
            assert grows.file.read_bytes() == OLD


def test_more_files_than_are_held_open(grows: Grows, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(appending, "_HELD", 3)
    puts = []
    for number in range(10):
        file = grows.file.with_name(f"log{number}.jsonl")
        file.write_bytes(OLD)
        (entry,) = grows.store.look([b"a/log%d.jsonl" % number])
        puts += [
            Put(Block(altered(entry, mtime_ns=TIME), 9, NEW), digest=b"1", onto=entry.signature),
            Put(Block(altered(entry, mtime_ns=TIME), 18, NEW, last=True), digest=b"2", onto=entry.signature),
        ]
    applied = grows.append(*puts)

    assert {entry.digest for entry in applied.entries} == {b"2"}
    assert len(applied.entries) == 10
    assert all(file.read_bytes() == OLD + NEW + NEW for file in grows.file.parent.glob("log?.jsonl"))


def test_a_log_that_its_owner_made_read_only_grows_all_the_same(grows: Grows, monkeypatch: pytest.MonkeyPatch):
    """As root nothing is refused, so the refusal is played."""
    grows.file.chmod(0o440)
    opened = os.open

    def strict(path: bytes, flags: int, *rest: int, dir_fd: int | None = None) -> int:
        if flags & os.O_APPEND and not grows.file.stat().st_mode & 0o200:
            raise PermissionError(errno.EACCES, "read-only")
        return opened(path, flags, *rest, dir_fd=dir_fd)

    put = grows.put(mode=0o440)
    monkeypatch.setattr(os, "open", strict)
    applied = grows.append(put)

    assert grows.file.read_bytes() == OLD + NEW
    assert grows.file.stat().st_mode & 0o777 == 0o440
    assert not applied.left
