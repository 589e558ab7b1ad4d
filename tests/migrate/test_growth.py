"""What a log has grown by is brought, and nothing else, and only where what is held is its beginning: whatever the bytes."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crossfade.migrate.decide import Task
from crossfade.migrate.growth import Growth
from crossfade.model.changes import Put, Touch
from crossfade.model.entries import Entry, Signature, altered
from crossfade.store.backends.file.store import FileStore
from crossfade.store.backends.memory import MemoryStore
from crossfade.store.location import parse
from crossfade.testing.contract import LAYOUT, Bench, puts
from support.servers import Database
from support.stores import postgres_opener

SEGMENT = 64
MARK = Signature(1, 2, 3, 4)
PATH = b"log.jsonl"
LINE = b'{"id":"0123456789"}\n'


@pytest.fixture(autouse=True)
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments of 64 bytes and records of 256, wherever they are known by name."""
    for name, module in list(sys.modules.items()):
        for constant, value in (("SEGMENT", SEGMENT), ("RECORD_LIMIT", 4 * SEGMENT)):
            if name.startswith("crossfade.") and hasattr(module, constant):
                monkeypatch.setattr(module, constant, value)
    monkeypatch.setattr("crossfade.model.cut._READ", SEGMENT)


def source_with(data: bytes) -> Bench:
    """A store with digests, as a database, that has *data*."""
    bench = Bench(lambda: MemoryStore(parse("memory:"), LAYOUT))
    bench.apply(*puts(bench.entry(PATH), data))
    return bench


lines = st.lists(st.binary(max_size=90).map(lambda b: b.replace(b"\n", b"x") + b"\n"), max_size=14).map(b"".join)
contents = st.tuples(lines, st.binary(max_size=40)).map(b"".join)


def brought(changes: list, size: int) -> tuple[int, bytes]:
    """Where writing begins, and what is written."""
    found = [change for change in changes if isinstance(change, Put)]
    for one, other in pairwise(found):
        assert one.block.end == other.block.offset
    return (found[0].block.offset if found else size), b"".join(put.block.data for put in found)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(held=contents, more=contents, damage=st.none() | st.integers(0, 200), again=contents)
def test_files_get_what_is_behind_their_end(tmp_path: Path, held: bytes, more: bytes, damage: int | None, again: bytes):
    """Byte by byte from where the file ends; twice in a row, as one that follows does."""
    (tmp_path / "tree").mkdir(exist_ok=True)
    growth = Growth(source_with(held).store, FileStore(parse(str(tmp_path / "tree")), LAYOUT))
    have, size = source_with(held).there(PATH).digest, len(held)
    for data in (held + more, held + more + again):
        is_damaged = damage is not None and damage < size
        bench = source_with(damaged(data, damage) if is_damaged else data)
        growth._source = bench.store
        entry = altered(bench.there(PATH), signature=MARK, marked=have)
        changes = growth.of(Task("append", entry, Entry(PATH, kind="lines", form="log", size=size, signature=MARK)))
        if changes is None:
            assert is_damaged or is_hard(data, size)
            return
        assert not is_damaged
        found = list(changes)
        assert brought(found, size) == (size, data[size:])
        assert all(change.onto == MARK and change.digest for change in found if isinstance(change, Put))
        have, size = digest_of(found[-1]), len(data)
        assert have == bench.there(PATH).digest


def damaged(data: bytes, at: int | None) -> bytes:
    """*data* with one bit turned."""
    at = at or 0
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def is_hard(data: bytes, size: int) -> bool:
    """True where a long record may be at the end of what is held, or the content is no log after all."""
    return any(len(line) > 3 * SEGMENT for line in data.split(b"\n"))


def digest_of(change: Put | Touch) -> bytes | None:
    return change.digest if isinstance(change, Put) else change.entry.digest


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(held=contents, more=contents)
def test_a_database_gets_whole_records(held: bytes, more: bytes):
    """The last record is written again, where it has grown; what comes of it is what a copy makes, segments included."""
    one, other = source_with(held + more), source_with(held)
    target = other.there(PATH)
    growth = Growth(one.store, other.store)
    changes = growth.of(Task("refresh", one.there(PATH), target))
    if changes is None:
        return
    found = [change for change in changes if isinstance(change, Put)]
    assert found
    assert found[0].block.offset in (0, held.rfind(b"\n") + 1)
    other.apply(*found)
    assert other.content(PATH) == held + more
    assert other.there(PATH).digest == one.there(PATH).digest
    assert other.store.segments(other.there(PATH)) == one.store.segments(one.there(PATH))


def test_most_growth_is_brought_by_itself():
    """Else the tests above could pass by never bringing anything."""
    line = LINE
    for count in range(1, 40):
        for torn in (b"", b'{"to'):
            one, other = source_with(line * count + torn + line), source_with(line * count + torn)
            changes = Growth(one.store, other.store).of(Task("refresh", one.there(PATH), other.there(PATH)))
            assert changes is not None
            assert brought(list(changes), 0) == (len(line) * count, torn + line)


def test_nothing_but_metadata_is_a_touch(tmp_path: Path):
    """After a crash the file may hold everything already."""
    data = b'{"id":1}\n' * 40
    (tmp_path / "log.jsonl").write_bytes(data)
    target = FileStore(parse(str(tmp_path)), LAYOUT)
    (there,) = target.look([PATH])
    bench = source_with(data)
    changes = Growth(bench.store, target).of(Task("append", altered(bench.there(PATH), signature=MARK), there))
    assert changes is not None
    (change,) = changes
    assert isinstance(change, Touch)
    assert change.entry.digest == bench.there(PATH).digest


def test_a_log_that_was_rewritten_has_not_grown(database: Database):
    """Where its end was, no record begins any more: a database has nothing to read from there on."""
    other, source = source_with(LINE), Bench(postgres_opener(database))
    source.put(PATH, LINE)
    growth = Growth(source.store, other.store)
    source.put(PATH, LINE * 2)
    changes = growth.of(Task("refresh", source.there(PATH), other.there(PATH)))
    assert changes is not None
    other.apply(*(change for change in changes if isinstance(change, Put)))
    source.put(PATH, b"x" * 3 * len(LINE) + b"\n")

    assert growth.of(Task("refresh", source.there(PATH), other.there(PATH))) is None
