"""Rows back into bytes: an entry's content is the concatenation of its records, and is cut again as a file's would be."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import cast

from crossfade.model.changes import Block
from crossfade.model.cut import cut
from crossfade.model.digests import EMPTY, Segment, digest_of
from crossfade.model.entries import SEGMENT, Entry
from crossfade.store.backends.postgres.server import Connection
from crossfade.store.backends.postgres.statements import statement
from crossfade.store.port import Reading

_SMALL = SEGMENT
_BATCH_BYTES = 4 * SEGMENT
_BATCH_ENTRIES = 2000
_RANGE = 4 * SEGMENT
_DIGEST_SPAN = 64 * SEGMENT


class Rows:
    """Reads one tree's records through *connection*."""

    def __init__(self, connection: Connection, schema: str, store_id: int) -> None:
        self._connection = connection
        self._schema = schema
        self._store_id = store_id

    def blocks(self, readings: Sequence[Reading]) -> Iterator[Block]:
        """The blocks of *readings*, in order; short entries are fetched together."""
        for batch in _batches(readings):
            small = self._small([r.entry for r in batch]) if _is_small(batch[0]) else {}
            for reading in batch:
                if _is_small(reading) and reading.entry.size and reading.entry.row not in small:
                    raise FileNotFoundError(reading.entry.path)
                source = _once(small.get(reading.entry.row, b"")) if _is_small(reading) else self._ranges(reading)
                yield from _blocks(reading, source)

    def _small(self, entries: list[Entry]) -> dict[int, bytes]:
        found: dict[int, bytes] = {}
        for kind, group in groupby(sorted(entries, key=lambda e: e.kind), key=lambda e: e.kind):
            rows = [entry.row for entry in group if entry.size]
            query = statement("read_small", self._schema, kind)
            found |= dict(cast("list[tuple[int, bytes]]", self._fetch(query, {"entries": rows})))
        return found

    def _ranges(self, reading: Reading) -> Callable[[int], bytes]:
        """A read function over one long entry, which fetches a few segments at a time."""
        pieces = self._pieces(reading)
        held = b""

        def read(size: int) -> bytes:
            nonlocal held
            held = held or next(pieces, b"")
            part, held = held[:size], held[size:]
            return part

        return read

    def _pieces(self, reading: Reading) -> Iterator[bytes]:
        query = statement("read_range", self._schema, reading.entry.kind)
        low, found = reading.offset, False
        while low < reading.entry.size:
            high = (low // _RANGE + 1) * _RANGE
            values = {"entry": reading.entry.row, "low": low, "high": high, "segment": SEGMENT}
            for _, data in cast("list[tuple[int, bytes]]", self._fetch(query, values)):
                found = True
                yield data
            low = high
        if reading.offset < reading.entry.size and not found:
            raise FileNotFoundError(reading.entry.path)

    def digests(self, entries: Sequence[Entry]) -> Iterator[tuple[Entry, bytes]]:
        """The digest of each entry, a few thousand at a time."""
        for start in range(0, len(entries), _BATCH_ENTRIES):
            batch = entries[start : start + _BATCH_ENTRIES]
            segments = self._segments([entry for entry in batch if entry.type == "file" and entry.size])
            for entry in batch:
                whole = segments.get(entry.row)
                yield entry, digest_of(whole) if whole else EMPTY

    def _segments(self, entries: list[Entry]) -> dict[int, list[Segment]]:
        found: dict[int, list[Segment]] = {}
        for kind, group in groupby(sorted(entries, key=lambda e: e.kind), key=lambda e: e.kind):
            members = list(group)
            query = statement("figure_content", self._schema, kind)
            for low in range(0, max(entry.size for entry in members), _DIGEST_SPAN):
                rows = [entry.row for entry in members if entry.size > low]
                values = {"entries": rows, "segment": SEGMENT, "low": low, "high": low + _DIGEST_SPAN}
                segments = cast("list[tuple[int, int, int, int, bytes]]", self._fetch(query, values))
                for row, number, offset, size, digest in segments:
                    found.setdefault(row, []).append(Segment(number, offset, size, digest))
        return found

    def _fetch(self, query: bytes, values: Mapping[str, object]) -> list[tuple[object, ...]]:
        with self._connection.cursor(binary=True) as cursor:
            return cursor.execute(query, {**values, "store_id": self._store_id}).fetchall()


def _is_small(reading: Reading) -> bool:
    return reading.offset == 0 and reading.entry.size <= _SMALL


def _batches(readings: Sequence[Reading]) -> Iterator[list[Reading]]:
    """Runs of short entries, as many as fit a batch; each long one alone."""
    batch: list[Reading] = []
    size = 0
    for reading in readings:
        full = size + reading.entry.size > _BATCH_BYTES or len(batch) >= _BATCH_ENTRIES
        if batch and (full or not _is_small(reading) or not _is_small(batch[0])):
            yield batch
            batch, size = [], 0
        batch.append(reading)
        size += reading.entry.size
    if batch:
        yield batch


def _once(data: bytes) -> Callable[[int], bytes]:
    parts = [data]
    return lambda _size: parts.pop() if parts else b""


def _blocks(reading: Reading, read: Callable[[int], bytes]) -> Iterator[Block]:
    entry = reading.entry
    for part in cut(read, entry.form, offset=reading.offset, within=reading.within):
        yield Block(entry, part.offset, part.data, part.record, part.last)
