"""A store to be tried, and what it is tried with."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable

from crossfade.model.changes import Block, Change, Page, Put, Touch
from crossfade.model.cut import cut
from crossfade.model.digests import Digester, Segment
from crossfade.model.entries import RECORD_LIMIT, SEGMENT, Entry, altered
from crossfade.model.kinds import Form
from crossfade.model.layouts import parse
from crossfade.store.port import Applied, Reading, Store

LAYOUT = parse(
    """
[[kind]]
name    = "notes"
form    = "document"
match   = ["**/*.json"]
promote = [{ column = "title", from = ["/title"] }]

[[kind]]
name    = "lines"
form    = "log"
match   = ["**/*.jsonl"]
promote = [{ column = "number", from = ["/n"], type = "bigint" }, { column = "at", from = ["/at"], type = "timestamp" }]
index   = [["number"]]
""",
    source="contract.toml",
)
"""Three kinds: ``notes`` are documents, ``lines`` are logs, the rest is ``other``."""

TIME = 1_763_288_134_123_456_789
"""A time whose nanoseconds a float would lose."""

Content = tuple[bytes, str, int, int, bytes, bytes]
"""Path, type, mode (0 for links), time, link text, bytes: what is promised to be kept."""


class Bench:
    """A store to work on, and the hands to do it with."""

    def __init__(self, opener: Callable[[], Store]) -> None:
        self._opener = opener
        self.store = opener()

    def reopen(self) -> Store:
        """Go on with another store on the same tree, as after a crash: nothing is told to the new one."""
        self.store.close()
        self.store = self._opener()
        return self.store

    def entry(self, path: bytes, mtime_ns: int = TIME, mode: int = 0o640) -> Entry:
        """The file *path* as a source shows it; as the successor of what the store has there."""
        kind = self.store.layout.place(path).kind
        entry = Entry(path=path, kind=kind.name, form=kind.form, mtime_ns=mtime_ns, mode=mode)
        there = self.standing(path)
        return entry if there is None else altered(entry, generation=there.generation + 1, row=there.row)

    def standing(self, path: bytes) -> Entry | None:
        """What the store has at *path*, a tombstone included where it keeps them."""
        return next((entry for entry in self.store.entries(tombstones=True) if entry.path == path), None)

    def there(self, path: bytes) -> Entry:
        """As ``standing``, and it does stand."""
        entry = self.standing(path)
        assert entry is not None, path
        return entry

    def apply(self, *changes: Change) -> Applied:
        """One page."""
        return self.store.apply(Page(changes))

    def put(self, path: bytes, data: bytes) -> Applied:
        """*data* at *path*, whole, in one page."""
        return self.apply(*puts(self.entry(path), data))

    def content(self, path: bytes) -> bytes:
        """The bytes at *path*."""
        return b"".join(block.data for block in self.store.read([Reading(self.there(path))]))

    def paths(self) -> list[bytes]:
        """What is listed, in the order of the list, without the root."""
        return [entry.path for entry in self.store.entries() if entry.path]

    def files(self) -> dict[bytes, bytes]:
        """Every file's bytes. Reading them, their digests are checked on the way."""
        entries = [entry for entry in self.store.entries() if entry.type == "file"]
        found = {entry.path: self.content(entry.path) for entry in entries}
        computed = {entry.path: digest for entry, digest in self.store.digest(entries)}

        assert computed == {entry.path: digest_by_hand(found[entry.path], entry.form) for entry in entries}
        if self.store.can.digests:
            assert computed == {entry.path: entry.digest for entry in entries}
        return found

    def tree(self) -> list[Content]:
        """All that is promised to be kept, of every entry but the root."""
        files = self.files()
        return [
            (e.path, e.type, 0 if e.type == "link" else e.mode, e.mtime_ns, e.link, files.get(e.path, b""))
            for e in self.store.entries()
            if e.path
        ]


def puts(entry: Entry, data: bytes, segments: tuple[Segment, ...] = (), within: int | None = None) -> list[Put]:
    """*data* for *entry*, cut and digested as a copy does it; behind *segments*, which are there already."""
    offset = segments[-1].offset + segments[-1].size if segments else 0
    digester = Digester(segments)
    found = []
    for part in cut(io.BytesIO(data[offset:]).read, entry.form, offset=offset, within=within):
        digester.add(part.offset, part.data)
        digest = digester.finish() if part.last else None
        found.append(Put(Block(entry, part.offset, part.data, part.record, part.last), digester.fresh(), digest))
    return found


def directory(path: bytes, mode: int = 0o750, mtime_ns: int = TIME) -> Touch:
    """A directory, made or put right."""
    return Touch(Entry(path=path, type="dir", mode=mode, mtime_ns=mtime_ns))


def link(path: bytes, text: bytes, mtime_ns: int = TIME) -> Touch:
    """A symbolic link that says *text*."""
    return Touch(Entry(path=path, type="link", mode=0o777, mtime_ns=mtime_ns, link=text))


def lines(size: int, start: int = 0) -> bytes:
    """Whole lines of JSON, at least *size* bytes of them, no two alike."""
    count = -(-size // 590)
    return b"".join(b'{"n":%d,"pad":"%s"}\n' % (n, (b"%08d" % n) * 72) for n in range(start, start + count))


def digest_by_hand(data: bytes, form: Form) -> bytes:
    """An entry's digest by its definition, sharing no code with the house."""
    records = data.splitlines(keepends=True) if form == "log" and b"\r" not in data else [data]
    stretches: dict[int, bytes] = {}
    offset = 0
    for record in records:
        step = SEGMENT if len(record) > RECORD_LIMIT else len(record) or 1
        for start in range(0, len(record), step):
            piece = record[start : start + step]
            stretches[offset // SEGMENT] = stretches.get(offset // SEGMENT, b"") + piece
            offset += len(piece)
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in stretches.values())).digest()


def rest_of(bench: Bench, entry: Entry, data: bytes) -> list[Put]:
    """The puts that complete *entry*, from what the store says that it has."""
    there = bench.standing(entry.path)
    segments = bench.store.segments(there or entry)
    end = segments[-1].offset + segments[-1].size if segments else 0
    within = there.within if there else None
    there = altered(entry, row=there.row, generation=there.generation) if there else entry
    return puts(there, data, segments, within if within is not None and end > within else None)
