"""Carrying: what has changed is moved, and nothing else; what was cut short goes on where it stopped."""

from __future__ import annotations

import errno
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from crossfade.errors import ContentDiffers, Unreadable
from crossfade.migrate.carry import Carried, Carrier, Outcome
from crossfade.migrate.decide import toward_database
from crossfade.migrate.inventory import tasks
from crossfade.migrate.plan import Limits
from crossfade.model.changes import Change, Page, Put, Touch
from crossfade.model.entries import Entry
from crossfade.store.backends.file.store import FileStore
from crossfade.store.backends.postgres.store import PostgresStore
from crossfade.store.layers.retrying import Patience, Retrying
from crossfade.store.location import parse
from crossfade.store.port import Applied, Store
from crossfade.testing.contract import LAYOUT
from support.servers import Database
from support.stores import postgres_opener

SEGMENT, LIMIT = 4096, 16384


@pytest.fixture(autouse=True)
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments of 4 KiB and records of 16 KiB, wherever they are known by name."""
    for name, module in list(sys.modules.items()):
        for constant, value in (("SEGMENT", SEGMENT), ("RECORD_LIMIT", LIMIT)):
            if name.startswith("crossfade.") and hasattr(module, constant):
                monkeypatch.setattr(module, constant, value)
    monkeypatch.setattr("crossfade.model.cut._READ", SEGMENT)
    for name, value in {
        "_SMALL": SEGMENT,
        "_RANGE": 4 * SEGMENT,
        "_BATCH_BYTES": 4 * SEGMENT,
        "_DIGEST_SPAN": 8 * SEGMENT,
    }.items():
        monkeypatch.setattr(f"crossfade.store.backends.postgres.reading.{name}", value)


@dataclass
class Watched:
    """A store that remembers the changes that were applied to it, and may end the run."""

    store: Store
    changes: list[Change] = field(default_factory=list)
    pages_left: int = 1_000_000

    def __getattr__(self, name: str):
        return getattr(self.store, name)

    def apply(self, page: Page) -> Applied:
        """As the store below, while there are pages left; then as a power cut."""
        if not self.pages_left:
            raise KeyboardInterrupt
        self.pages_left -= 1
        self.changes += page.changes
        return self.store.apply(page)

    @property
    def put(self) -> list[tuple[int, int]]:
        """Offset and size of what was written."""
        return [(c.block.offset, len(c.block.data)) for c in self.changes if isinstance(c, Put)]


class Moving:
    """Files on one side, a database on the other."""

    def __init__(self, root: Path, database: Database) -> None:
        self.root = root
        self.database = database
        self._open = postgres_opener(database)
        root.mkdir()

    def write(self, name: str, data: bytes) -> None:
        """A file as a program leaves it."""
        (self.root / name).write_bytes(data)

    def run(
        self,
        *,
        pages: int = 1_000_000,
        page_bytes: int = 3 * SEGMENT,
        skip_unreadable: bool = False,
        patience: Patience | None = None,
    ) -> tuple[Watched, Carried]:
        """One run, by a new worker; cut short after some pages."""
        files = FileStore(parse(str(self.root)), LAYOUT)
        source = Retrying(files, patience, lambda error: None) if patience else files
        target = Watched(self._open(), pages_left=pages)
        todo = list(tasks(source.entries(), target.entries(tombstones=True), toward_database, None))
        self.outcomes: list[Outcome] = []
        carrier = Carrier(
            source,
            target,
            Limits(page_bytes=page_bytes),
            ready=lambda page, records: None,
            done=self.outcomes.append,
            stop=lambda: False,
            skip_unreadable=skip_unreadable,
        )
        carried = Carried()
        try:
            carried = carrier.carry(todo)
        except KeyboardInterrupt:
            pass
        finally:
            source.close()
            target.close()
        return target, carried

    def entry(self, name: str) -> Entry:
        """As the database has it."""
        store = self._open()
        found = {entry.path: entry for entry in store.entries()}
        store.close()
        return found[name.encode()]

    def content(self, name: str) -> bytes:
        """Asked by SQL, not by us."""
        entry = self.entry(name)
        query = (
            "SELECT string_agg(data, '' ORDER BY pos) FROM (SELECT pos, coalesce(raw, convert_to(body::text, 'UTF8')) AS data"
            " FROM {0} WHERE entry_id = {1} AND num_nonnulls(body, raw) > 0"
            " UNION ALL SELECT pos, data FROM chunks WHERE entry_id = {1}) AS x"
        )
        return bytes(self.database.one(query.format(entry.kind, entry.row)) or b"")  # type: ignore[arg-type]

    def digest(self, name: str) -> bytes:
        """Computed anew, from the file."""
        store = FileStore(parse(str(self.root)), LAYOUT)
        ((_, found),) = store.digest(list(store.look([name.encode()])))
        store.close()
        return found

    def records(self, name: str) -> list[tuple[int, str | None]]:
        """Position and reason of each record, by SQL."""
        entry = self.entry(name)
        return self.database.all(f"SELECT pos, reason FROM {entry.kind} WHERE entry_id = {entry.row} ORDER BY pos")


@pytest.fixture
def moving(tmp_path: Path, database: Database) -> Moving:
    """A directory and a database, both empty."""
    return Moving(tmp_path / "source", database)


def lines(size: int, start: int = 0) -> bytes:
    """At least *size* bytes of lines, no two alike."""
    return b"".join(b'{"n":%d,"pad":"%s"}\n' % (n, b"%04d" % n * 20) for n in range(start, start + size // 90 + 1))


def test_a_second_run_finds_nothing_to_do(moving):
    """A signature that is equal means: not touched since."""
    moving.write("log.jsonl", lines(10 * SEGMENT))
    moving.write("doc.json", b"{}")
    moving.run()
    again, _ = moving.run()

    assert again.changes == []
    assert moving.content("log.jsonl") == lines(10 * SEGMENT)


@pytest.mark.parametrize("size", [1, SEGMENT, 10 * SEGMENT])
def test_a_log_that_grew_is_written_from_its_end_on(moving, size):
    """Not one record is moved again for one new line."""
    old = lines(size)
    moving.write("log.jsonl", old)
    moving.run()
    before, rows = moving.entry("log.jsonl"), moving.database.all("SELECT xmin::text, pos FROM lines ORDER BY pos")
    moving.write("log.jsonl", old + b'{"n":-1}\n')
    again, _ = moving.run()
    after = moving.entry("log.jsonl")

    assert again.put == [(len(old), 9)]
    assert moving.database.all("SELECT xmin::text, pos FROM lines ORDER BY pos")[:-1] == rows
    assert moving.content("log.jsonl") == old + b'{"n":-1}\n'
    assert after.digest == moving.digest("log.jsonl")
    assert moving.run()[0].changes == []
    assert (after.generation, after.row) == (before.generation, before.row)
    assert after.records == len(moving.records("log.jsonl")) == old.count(b"\n") + 1


def test_a_log_that_grew_and_changed_before_its_end_is_compared_segment_by_segment(moving):
    """What was appended stands behind the same bytes, or it is not just appended."""
    old = lines(10 * SEGMENT)
    moving.write("log.jsonl", old)
    moving.run()
    changed = bytearray(old + b'{"n":-1}\n')
    changed[5 * SEGMENT] ^= 1
    moving.write("log.jsonl", bytes(changed))
    again, _ = moving.run()

    assert again.put[0][0] // SEGMENT == 5 - (changed.rfind(b"\n", 0, 5 * SEGMENT) + 1 < 5 * SEGMENT)
    assert moving.content("log.jsonl") == bytes(changed)


def test_a_torn_last_line_is_completed_by_the_next_run(moving):
    """It was raw, and is not any more; it was one record, and still is."""
    old = lines(3 * SEGMENT)
    moving.write("log.jsonl", old + b'{"n":-1,"pad"')
    moving.run()
    assert moving.records("log.jsonl")[-1] == (len(old), "torn")
    assert moving.entry("log.jsonl").raws == 1

    moving.write("log.jsonl", old + b'{"n":-1,"pad":""}\n')
    moving.run()
    assert moving.records("log.jsonl")[-1] == (len(old), None)
    assert (moving.entry("log.jsonl").raws, moving.entry("log.jsonl").records) == (0, old.count(b"\n") + 1)
    assert moving.database.one("SELECT count(*) FROM lines WHERE number = -1") == 1


def test_a_log_that_was_rewritten_is_a_new_generation(moving):
    """Shorter or with another beginning: nothing of the old one stays."""
    moving.write("log.jsonl", lines(5 * SEGMENT))
    moving.run()
    for new in (lines(2 * SEGMENT, start=5000), lines(6 * SEGMENT, start=7000), b""):
        generation = moving.entry("log.jsonl").generation
        moving.write("log.jsonl", new)
        moving.run()

        assert moving.entry("log.jsonl").generation == generation + 1
        assert moving.content("log.jsonl") == new
        assert moving.database.one("SELECT count(*) FROM lines") == new.count(b"\n")


def test_a_log_that_was_cut_back_keeps_its_equal_segments(moving):
    """Truncated at a segment's edge or within one, it holds what the file holds."""
    data = lines(5 * SEGMENT)
    moving.write("log.jsonl", data)
    moving.run()
    for size in (data.index(b"\n", 3 * SEGMENT) + 1, data.index(b"\n", 2 * SEGMENT - 1) + 1, 90):
        moving.write("log.jsonl", data[:size])
        moving.run()

        assert moving.content("log.jsonl") == data[:size]
        assert moving.database.one("SELECT count(*) FROM lines") == data[:size].count(b"\n") + (
            not data[:size].endswith(b"\n")
        )


def test_the_same_content_under_a_new_signature_is_a_touch(moving):
    """A restored volume or a ``cp -a`` moves no record again."""
    for name in ("log.jsonl", "doc.json", "blob"):
        moving.write(name, lines(4 * SEGMENT))
    moving.run()
    rows = moving.database.all("SELECT xmin::text, pos FROM lines ORDER BY pos")
    for name in ("log.jsonl", "doc.json", "blob"):
        (moving.root / name).unlink()
        moving.write(name, lines(4 * SEGMENT))
        (moving.root / name).chmod(0o600)
    again, _ = moving.run()

    assert [type(change) for change in again.changes if change.entry.path] == [Touch] * 3
    assert again.put == []
    assert moving.database.all("SELECT xmin::text, pos FROM lines ORDER BY pos") == rows
    assert moving.entry("log.jsonl").mode == 0o600
    assert moving.run()[0].changes == []


def test_a_document_that_changed_is_replaced_whole(moving):
    """One row before, one row after."""
    moving.write("doc.json", b'{"title": "one"}')
    moving.run()
    moving.write("doc.json", b'{"title": "two"}')
    moving.run()

    assert moving.database.all("SELECT title FROM notes") == [("two",)]


@pytest.mark.parametrize("pages", [1, 2, 4, 6, 8])
def test_a_copy_that_was_cut_short_goes_on(moving, pages):
    """Wherever it stopped: in the middle of a log, of a long line, between entries."""
    long_line = b'{"n":-1,"pad":"%s"}\n' % (b"x" * (2 * LIMIT))
    data = lines(SEGMENT) + long_line + lines(SEGMENT, 500) + long_line + long_line + lines(3 * SEGMENT, 900)
    moving.write("log.jsonl", data)
    moving.write("a.json", b"{}")
    first, _ = moving.run(pages=pages, page_bytes=2 * SEGMENT)
    second, _ = moving.run(page_bytes=2 * SEGMENT)
    expected = [(0, None)]
    for line in data.splitlines(keepends=True)[:-1]:
        expected.append((expected[-1][0] + len(line), None))
    starts = [pos for pos, _ in expected]

    assert moving.content("log.jsonl") == data
    assert [pos for pos, _ in moving.records("log.jsonl")] == starts
    assert moving.entry("log.jsonl").records == len(starts)
    assert moving.entry("log.jsonl").raws == 3
    assert sum(size for _, size in first.put + second.put) < len(data) + 3 * LIMIT


@pytest.mark.parametrize("stop", [1, 5, 6, 7, 13])
def test_a_copy_that_was_cut_short_behind_a_long_line_goes_on_between_records(moving, stop):
    """The last whole segment may end inside the long line: what follows is a piece of it, not a record of its own."""
    data = b'{"n":-1,"pad":"%s"}\n' % (b"x" * (LIMIT + 100)) + lines(3 * SEGMENT)
    moving.write("log.jsonl", data)
    moving.run(pages=stop, page_bytes=1)
    moving.run()

    assert moving.content("log.jsonl") == data
    assert len(moving.records("log.jsonl")) == data.count(b"\n")
    assert moving.entry("log.jsonl").records == data.count(b"\n")


@pytest.mark.parametrize("tail", [0, 60, 200])
def test_a_log_that_grew_behind_a_long_line_goes_on_between_records(moving, tail):
    """The same for a log that was complete when it grew."""
    data = b'{"n":-1,"pad":"%s"}\n' % (b"x" * (LIMIT + 100)) + lines(tail)
    moving.write("log.jsonl", data)
    moving.run()
    for _ in range(3):
        data += lines(200, 77)
        moving.write("log.jsonl", data)
        moving.run()

        assert moving.content("log.jsonl") == data
        assert len(moving.records("log.jsonl")) == data.count(b"\n")
        assert moving.entry("log.jsonl").raws == 1


def test_what_changed_while_its_copy_was_cut_short_is_compared_before_it_goes_on(moving):
    """The beginning that is there may not be the beginning of what is there now."""
    moving.write("log.jsonl", lines(6 * SEGMENT))
    moving.run(pages=1)
    changed = lines(SEGMENT * 2) + lines(SEGMENT * 6, start=4000)
    moving.write("log.jsonl", changed)
    moving.run()

    assert moving.content("log.jsonl") == changed
    assert moving.database.one("SELECT count(*) FROM lines") == changed.count(b"\n")


def test_what_vanished_under_the_copy_is_named(moving, monkeypatch):
    """It is not an error of the copy, and not silence either."""
    for name in ("a.json", "b.json", "c.json"):
        moving.write(name, b"{}")
    opened = FileStore.read

    def vanish(self, readings):
        (moving.root / "b.json").unlink(missing_ok=True)
        return opened(self, readings)

    monkeypatch.setattr(FileStore, "read", vanish)
    _, carried = moving.run()

    assert carried.moved == [b"b.json"]
    assert moving.database.one("SELECT count(*) FROM notes") == 2


def test_what_cannot_be_read_stops_the_run_or_is_named(moving, monkeypatch):
    """Leaving it out in silence would lose it; everything else comes along where that is wished."""
    for name in ("a.json", "b.json", "c.json"):
        moving.write(name, b"{}")
    opened = FileStore._read_open

    def broken(self, descriptor, reading):
        if reading.entry.path == b"b.json":
            raise OSError(5, "Input/output error")
        return opened(self, descriptor, reading)

    monkeypatch.setattr(FileStore, "_read_open", broken)
    with pytest.raises(Unreadable, match=r"b\.json"):
        moving.run()
    _, carried = moving.run(skip_unreadable=True)

    assert carried.unreadable == [(b"b.json", "Input/output error")]
    assert moving.database.one("SELECT count(*) FROM notes") == 2


def test_a_source_that_does_not_hold_what_it_says_is_not_copied_further(moving, tmp_path):
    """A database whose rows were changed by hand: its digests tell."""
    moving.write("doc.json", b'{"title": "one"}')
    moving.run()
    moving.database.run('UPDATE notes SET body = \'{"title": "two"}\'')
    source: PostgresStore = moving._open()
    (tmp_path / "target").mkdir()
    target = FileStore(parse(str(tmp_path / "target")), LAYOUT)
    carrier = Carrier(
        source, target, Limits(), ready=lambda page, records: None, done=lambda outcome: None, stop=lambda: False
    )
    todo = list(tasks(source.entries(), [], toward_database, None))
    with pytest.raises(ContentDiffers, match=r"doc\.json"):
        carrier.carry(todo)
    source.close()
    target.close()

    assert not (tmp_path / "target" / "doc.json").exists()


@pytest.mark.parametrize("grew", [False, True])
def test_a_file_that_was_replaced_where_its_read_broke_is_taken_again(moving, monkeypatch, grew):
    """A fault that passes has the read go on behind the last block: of one file the head, of another the tail."""
    head = lines(4 * SEGMENT)
    if grew:
        moving.write("log.jsonl", head)
        moving.run()
    moving.write("log.jsonl", head + lines(8 * SEGMENT, 100))
    replaced = lines(4 * SEGMENT, 500) + lines(8 * SEGMENT, 900)
    opened, is_broken = FileStore._read_open, False

    def broken(self, descriptor, reading):
        nonlocal is_broken
        for block in opened(self, descriptor, reading):
            if block.offset > 5 * SEGMENT and not is_broken:
                is_broken = True
                moving.write("new", replaced)
                (moving.root / "new").replace(moving.root / "log.jsonl")
                raise OSError(errno.ESTALE, "Stale file handle")
            yield block

    monkeypatch.setattr(FileStore, "_read_open", broken)
    moving.run(patience=Patience())
    assert is_broken
    assert moving.content("log.jsonl") != replaced
    moving.run()

    assert moving.content("log.jsonl") == replaced
    assert moving.entry("log.jsonl").digest == moving.digest("log.jsonl")
