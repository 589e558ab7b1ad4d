"""A dry run that measures: what is there, what will be hard, how long it will take. Writes nothing.

The inventory is complete. Contents are sampled, evenly over each kind's entries and up to a number of bytes; a smaller tree is
read whole. For a database as target the sample is loaded there, into a schema that is rolled back.
"""

from __future__ import annotations

import os
import time
import uuid
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import cast

import psycopg

from crossfade.migrate.carry import Carrier, Outcome
from crossfade.migrate.decide import Task
from crossfade.migrate.plan import Limits
from crossfade.model.changes import Block, Page
from crossfade.model.entries import SEGMENT, Entry, altered
from crossfade.model.layouts import Layout
from crossfade.model.paths import text_of
from crossfade.store.backends.file.store import FileStore
from crossfade.store.backends.file.walk import VANISHED, Found
from crossfade.store.backends.postgres import schema
from crossfade.store.backends.postgres.page import PageWriter
from crossfade.store.backends.postgres.server import Connection, Server
from crossfade.store.faults import is_data_error
from crossfade.store.port import Applied, Capabilities, Reading, Store

SAMPLE_BYTES = 64 << 20
_SAMPLE_ENTRIES = 20_000
_NAMED = 1000
_HAZARD_PATHS = 20


@dataclass
class KindCount:
    """One kind's part of the inventory."""

    entries: int = 0
    bytes: int = 0


@dataclass
class Hazard:
    """Something that needs care, how often it was met, and where: the first few paths."""

    count: int = 0
    paths: list[str] = field(default_factory=list)

    def add(self, path: bytes, count: int = 1) -> None:
        self.count += count
        if len(self.paths) < _HAZARD_PATHS:
            self.paths.append(text_of(path))


@dataclass(frozen=True)
class LeftOut:
    """One path that is not moved: by which rule, and how many bytes, with all that is below."""

    path: str
    rule: str
    fate: str
    bytes: int


@dataclass
class Survey:
    """What was found. ``hazards`` are by reason; content hazards were looked for in ``sampled_bytes``."""

    kinds: dict[str, KindCount] = field(default_factory=dict)
    directories: int = 0
    links: int = 0
    hazards: dict[str, Hazard] = field(default_factory=dict)
    left_out: list[LeftOut] = field(default_factory=list)
    left_out_count: int = 0
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    sampled_bytes: int = 0
    seconds: float | None = None
    database_bytes: int | None = None
    basis: str = "not measured"

    @property
    def size(self) -> int:
        """Bytes of content to move."""
        return sum(kind.bytes for kind in self.kinds.values())

    @property
    def entries(self) -> int:
        """Files to move."""
        return sum(kind.entries for kind in self.kinds.values())

    def hazard(self, reason: str, path: bytes, count: int = 1) -> None:
        """Note a hazard."""
        self.hazards.setdefault(reason, Hazard()).add(path, count)


def take_stock(store: FileStore, kinds: frozenset[str] | None, survey: Survey) -> list[Entry]:
    """Count a tree of files; the sample of its entries, for measuring."""
    sampler = _Sampler(SAMPLE_BYTES)
    pruned: dict[bytes, LeftOut] = {}
    for found in store.walk(everything=True):
        if not store.moves(found):
            _note_left_out(found, survey, pruned)
        elif kinds is None or not found.entry.kind or found.entry.kind in kinds:
            _count(found.entry, survey)
            _note_metadata(found, survey)
            _note_not_kept(found, os.path.join(store.location.path, found.entry.path), survey)
            sampler.offer(found.entry)
    survey.left_out += list(pruned.values())
    survey.unreadable = [(text_of(path), why) for path, why in store.passed_over]
    return sampler.taken


def count_entries(entries: Iterator[Entry], kinds: frozenset[str] | None, survey: Survey) -> list[Entry]:
    """Count a tree in a database; the sample of its entries."""
    sampler = _Sampler(SAMPLE_BYTES)
    for entry in entries:
        if kinds is None or not entry.kind or entry.kind in kinds:
            _count(entry, survey)
            if entry.raws:
                survey.hazard("raw records", entry.path, entry.raws)
            sampler.offer(entry)
    return sampler.taken


def _count(entry: Entry, survey: Survey) -> None:
    if entry.type == "file":
        kind = survey.kinds.setdefault(entry.kind, KindCount())
        kind.entries += 1
        kind.bytes += entry.size
    elif entry.type == "link":
        survey.links += 1
    elif entry.path:
        survey.directories += 1


def _note_left_out(found: Found, survey: Survey, pruned: dict[bytes, LeftOut]) -> None:
    """Name what is not moved. What lies below an excluded directory counts for that directory."""
    path, size = found.entry.path, found.entry.size
    if found.special:
        survey.hazard("special file, not moved", path)
        return
    holder = _holder(path, pruned)
    if holder is not None:
        old = pruned[holder]
        pruned[holder] = LeftOut(old.path, old.rule, old.fate, old.bytes + size)
        return
    survey.left_out_count += 1
    if len(pruned) < _NAMED:
        pruned[path] = LeftOut(text_of(path), found.placement.rule, found.placement.fate, size)


def _holder(path: bytes, pruned: dict[bytes, LeftOut]) -> bytes | None:
    parent = path
    while parent:
        parent = parent.rpartition(b"/")[0]
        if parent in pruned:
            return parent
    return None


def _note_metadata(found: Found, survey: Survey) -> None:
    entry = found.entry
    if entry.type == "file" and found.hard_links > 1:
        survey.hazard("hard link, kept as a file of its own", entry.path)
    if entry.type == "file" and entry.size == 0:
        survey.hazard("zero bytes", entry.path)
    try:
        entry.path.decode()
    except UnicodeDecodeError:
        survey.hazard("name is not UTF-8", entry.path)
    if b"\n" in entry.path or b"\\" in entry.path:
        survey.hazard("name with newline or backslash", entry.path)
    if entry.mode & 0o7000 and entry.type != "link":
        survey.hazard("setuid, setgid or sticky", entry.path)


def _note_not_kept(found: Found, path: bytes, survey: Survey) -> None:
    """What a file system knows beyond the promise: it is said, because it will not come back."""
    entry = found.entry
    if entry.path and found.owner != (os.geteuid(), os.getegid()):
        survey.hazard("owner, not kept", entry.path)
    if found.sparse:
        survey.hazard("holes, not kept", entry.path)
    try:
        names = os.listxattr(path, follow_symlinks=False) if hasattr(os, "listxattr") else []
    except OSError:
        survey.hazard("extended attributes, not looked at", entry.path)
        return
    if any(name.startswith("system.posix_acl") for name in names):
        survey.hazard("ACL, not kept", entry.path)
    if any(name.startswith("user.") for name in names):
        survey.hazard("extended attributes, not kept", entry.path)


class _Sampler:
    """Every n-th entry, n doubling whenever the sample outgrows its bytes: even, in one pass, in bounded memory."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._step = 1
        self._met: Counter[str] = Counter()
        self._bytes = 0
        self.taken: list[Entry] = []

    def offer(self, entry: Entry) -> None:
        self._met[entry.kind] += 1
        if self._met[entry.kind] % self._step:
            return
        self.taken.append(entry)
        self._bytes += entry.size
        while len(self.taken) > 64 and (self._bytes > self._limit or len(self.taken) > _SAMPLE_ENTRIES):
            self.taken = self.taken[::2]
            self._bytes = sum(kept.size for kept in self.taken)
            self._step *= 2


class _Scratch:
    """A target in a transaction that is rolled back: a store that only applies."""

    can = Capabilities(atomic=True, digests=True, signatures=False, any_path=True, moves=False)

    def __init__(self, connection: Connection, name: str, layout: Layout, survey: Survey) -> None:
        self._connection = connection
        self._writer = PageWriter(name, 1, layout, None)
        self._survey = survey

    def apply(self, page: Page) -> Applied:
        try:
            with self._connection.transaction():
                applied = self._writer.write(self._connection, page, careful=False)
        except psycopg.Error as error:
            if not is_data_error(error):
                raise
            applied = self._writer.write(self._connection, page, careful=True)
        self._writer.keep()
        for path, reason, count in applied.raws:
            self._survey.hazard(f"raw: {reason}", path, count)
        return applied


class Beginnings:
    """A source whose long entries end early, so that a sample of few, long ones is no copy of them all."""

    def __init__(self, store: Store, entries: int) -> None:
        self._store = store
        self._each = max(SAMPLE_BYTES // max(entries, 1), SEGMENT)
        self.can = store.can

    def read(self, readings: Sequence[Reading]) -> Iterator[Block]:
        """As the store below, but for entries that are longer than their share: these come one at a time."""
        if len(readings) > 1 or readings[0].entry.size <= self._each:
            yield from self._store.read(readings)
            return
        with closing(cast("Generator[Block]", self._store.read(readings))) as blocks:
            for block in blocks:
                ends = block.last or block.end >= self._each
                yield Block(altered(block.entry, digest=None), block.offset, block.data, block.record, ends)
                if ends:
                    return


def measure(source: Store, sample: list[Entry], layout: Layout, server: Server, workers: int, survey: Survey) -> None:
    """Load *sample* into a scratch schema of the target, time it, size it, roll it back."""
    name = f"crossfade_plan_{uuid.uuid4().hex[:12]}"
    files = [entry for entry in sample if entry.type == "file"]
    source = cast("Store", Beginnings(source, len(files)))
    connection = server.connect("plan")
    try:
        try:
            schema.ensure(connection, name)
        except psycopg.errors.InsufficientPrivilege:
            measure_reading(source, sample, survey)
            survey.basis += "; read only, as this role may not create a schema to try in"
            return
        schema.ensure_kinds(connection, name, layout.kinds)
        connection.execute(
            f"INSERT INTO {schema.quoted(name)}.stores (name, origin, layout_name, layout, fingerprint) VALUES ('plan','','','','')".encode()
        )
        began = time.monotonic()
        _load(source, files, cast("Store", _Scratch(connection, name, layout, survey)), survey)
        for kind in layout.kinds:
            for text in schema.index_statements(name, kind):
                connection.execute(text.encode())
        seconds = time.monotonic() - began
        size = _size_of(connection, name)
    finally:
        connection.close()
    _estimate(survey, len(files), seconds / max(workers, 1) if workers > 1 else seconds, size)


def measure_reading(source: Store, sample: list[Entry], survey: Survey) -> None:
    """For a target of files: how fast *sample* can be read; nothing is written."""
    files = [entry for entry in sample if entry.type == "file"]
    source = cast("Store", Beginnings(source, len(files)))
    began = time.monotonic()
    for entry in files:
        try:
            survey.sampled_bytes += sum(len(block.data) for block in source.read([Reading(entry)]))
        except OSError as error:
            if error.errno not in VANISHED:
                survey.unreadable.append((text_of(entry.path), error.strerror or str(error)))
    _estimate(survey, len(files), time.monotonic() - began, None)


def _load(source: Store, files: list[Entry], target: Store, survey: Survey) -> None:
    """Carry the sample as a copy would."""

    def done(outcome: Outcome) -> None:
        survey.sampled_bytes += outcome.bytes

    carrier = Carrier(source, target, Limits(), ready=lambda *_: None, done=done, stop=lambda: False, skip_unreadable=True)
    carried = carrier.carry([Task("put", entry, None) for entry in files])
    survey.unreadable += [(text_of(path), why) for path, why in carried.unreadable]


def _size_of(connection: Connection, name: str) -> int:
    query = (
        "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = %s AND c.relkind = 'r'"
    )
    row = connection.execute(query, [name]).fetchone()
    return cast("int", row[0]) if row else 0


def _estimate(survey: Survey, entries: int, seconds: float, size: int | None) -> None:
    """From the sample to the whole: by bytes, or by entries where these weigh more."""
    if not entries:
        survey.seconds, survey.database_bytes = 0.0, size
        return
    factor = max(survey.size / max(survey.sampled_bytes, 1), survey.entries / entries, 1.0)
    survey.seconds = seconds * factor
    survey.database_bytes = None if size is None else int(size * factor)
    survey.basis = f"a sample of {entries} entries, {survey.sampled_bytes} bytes, in {seconds:.2f} s"
