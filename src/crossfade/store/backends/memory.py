"""A tree in this process's memory: the reference. What little it does is what every store must do.

Atomic, as nothing can fail halfway; keeps digests, as a database does; forgets everything at the end.
"""

from __future__ import annotations

import hashlib
import io
import uuid
from collections.abc import Iterator, Sequence
from typing import TypeVar

import msgspec

from crossfade.model.changes import Block, Move, Page, Put, Remove
from crossfade.model.cut import cut
from crossfade.model.digests import Digester, Segment
from crossfade.model.entries import Entry, altered, state_of
from crossfade.model.layouts import Layout
from crossfade.model.paths import is_below, key_of
from crossfade.store.location import Location
from crossfade.store.port import Applied, Capabilities, Reading, Span

T = TypeVar("T")


class MemoryStore:
    """Entries and their bytes, by path."""

    can = Capabilities(atomic=True, digests=True, signatures=False, any_path=True, moves=True)

    def __init__(self, location: Location, layout: Layout) -> None:
        self.location = location
        self.layout = layout
        self._entries: dict[bytes, Entry] = {}
        self._bytes: dict[bytes, bytes] = {}
        self._segments: dict[bytes, tuple[Segment, ...]] = {}
        self._last: uuid.UUID | None = None

    def entries(
        self, *, after: bytes | None = None, tombstones: bool = False, under: bytes = b"", directories: bool = False
    ) -> Iterator[Entry]:
        """See the port. Nothing is known of what was removed."""
        del tombstones
        found = sorted(self._entries.values(), key=lambda entry: key_of(entry.path))
        found = [e for e in found if e.type == "dir" or not directories]
        return (e for e in found if is_below(e.path, under) and (after is None or key_of(e.path) > key_of(after)))

    def look(self, paths: Sequence[bytes]) -> Iterator[Entry]:
        """See the port."""
        return (self._entries[path] for path in sorted(set(paths), key=key_of) if path in self._entries)

    def read(self, readings: Sequence[Reading]) -> Iterator[Block]:
        """See the port."""
        for reading in readings:
            entry = reading.entry
            if entry.path not in self._entries:
                raise FileNotFoundError(entry.path)
            source = io.BytesIO(self._bytes.get(entry.path, b"")[reading.offset :])
            for part in cut(source.read, entry.form, offset=reading.offset, within=reading.within):
                yield Block(entry, part.offset, part.data, part.record, part.last)

    def segments(self, entry: Entry) -> tuple[Segment, ...]:
        """See the port."""
        return self._segments.get(entry.path, ())

    def apply(self, page: Page) -> Applied:
        """See the port."""
        if page.name != self._last:  # else it is repeated, and what was moved is not where it was
            self._move([change for change in page.changes if isinstance(change, Move)])
            self._last = page.name
        left = [path for path, seen in page.seen.items() if state_of(self._entries.get(path)) != state_of(seen)]
        page = msgspec.structs.replace(page, changes=tuple(c for c in page.changes if c.entry.path not in left))
        for change in page.changes:
            if isinstance(change, Move):
                continue
            if isinstance(change, Remove):
                for kept in (self._entries, self._bytes, self._segments):
                    kept.pop(change.entry.path, None)
            elif isinstance(change, Put):
                self._put(change)
            else:
                self._entries[change.entry.path] = change.entry
        paths = dict.fromkeys(change.entry.path for change in page.changes if not isinstance(change, Remove))
        return Applied(entries=tuple(self._entries[path] for path in paths), left=tuple(left))

    def _move(self, moves: list[Move]) -> None:
        _change_places(self._entries, moves)
        _change_places(self._bytes, moves)
        _change_places(self._segments, moves)
        self._entries.update({move.entry.path: altered(move.entry, signature=None) for move in moves})

    def _put(self, put: Put) -> None:
        path, block = put.entry.path, put.block
        self._bytes[path] = self._bytes.get(path, b"")[: block.offset] + block.data
        whole = {s.number: s for s in self.segments(put.entry) if s.offset < block.offset}
        self._segments[path] = tuple((whole | {s.number: s for s in put.segments}).values())
        self._entries[path] = altered(
            put.entry, size=block.end, within=block.record, complete=block.last, digest=put.digest, signature=None
        )

    def digest(self, entries: Sequence[Entry]) -> Iterator[tuple[Entry, bytes]]:
        """See the port."""
        for entry in entries:
            digester = Digester()
            for block in self.read([Reading(entry)]) if entry.type == "file" else ():
                digester.add(block.offset, block.data)
            yield entry, digester.finish()

    def weigh(self, spans: Sequence[Span]) -> Iterator[tuple[int, bytes]]:
        """See the port."""
        for span in spans:
            data = self._bytes.get(span.entry.path, b"")[span.offset :][: span.size]
            yield len(data), hashlib.sha256(data).digest()

    def hides(self, path: bytes, *, looked: bool = False) -> bool:
        """See the port. All is seen here."""
        del path, looked
        return False

    def close(self) -> None:
        """See the port. What is in memory stays as long as the store."""


def _change_places(kept: dict[bytes, T], moves: list[Move]) -> None:
    """Have what is *kept* under paths stand under others, all at once."""
    held = {move.entry.path: kept.pop(move.before.path, None) for move in moves}
    for path, value in held.items():
        kept.pop(path, None)
        if value is not None:
            kept[path] = value
