"""Rows back into bytes: an entry's content is the concatenation of its records, and is cut again as a file's would be."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import cast

from crossfade.model.changes import Block
from crossfade.model.cut import cut
from crossfade.model.digests import EMPTY, Segment, digest_of
from crossfade.model.entries import SEGMENT, Entry
from crossfade.store.backends.postgres.arrays import numbers
from crossfade.store.backends.postgres.server import Connection
from crossfade.store.backends.postgres.statements import statement
from crossfade.store.port import Reading

_SMALL = SEGMENT
_BATCH_BYTES = 4 * SEGMENT
_BATCH_ENTRIES = 2000
_BATCH_RECORDS = 20_000
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
            if not _is_small(batch[0]):
                yield from _blocks(batch[0], self._ranges(batch[0]))
                continue
            small = self._small([reading.entry for reading in batch])
            for reading in batch:
                data = small.get(reading.entry.row, b"")
                if reading.entry.size and not data:
                    raise FileNotFoundError(reading.entry.path)
                yield from _short(reading, data)

    def _small(self, entries: list[Entry]) -> dict[int, bytes]:
        found: dict[int, bytes] = {}
        for kind, group in groupby(sorted(entries, key=lambda e: e.kind), key=lambda e: e.kind):
            query = statement("read_small", self._schema, kind)
            rows = self._fetch(query, {"entries": numbers([entry.row for entry in group if entry.size])})
            rows.sort(key=itemgetter(0, 1))
            for row, records in groupby(cast("list[tuple[int, int, bytes]]", rows), key=itemgetter(0)):
                found[row] = b"".join([data for _, _, data in records])
        return found

    def _ranges(self, reading: Reading) -> Callable[[int], bytes]:
        """A read function over one long entry, which fetches a few segments at a time."""
        pieces = self._pieces(reading)
        held, at = b"", 0

        def read(size: int) -> bytes:
            nonlocal held, at
            if at >= len(held):
                held, at = next(pieces, b""), 0
            part = held[at : at + size]
            at += len(part)
            return part

        return read

    def _pieces(self, reading: Reading) -> Iterator[bytes]:
        """The bytes from the reading's offset on, a stretch of records at a time, however many there are in it."""
        query = statement("read_range", self._schema, reading.entry.kind)
        low, found = reading.offset, False
        while low < reading.entry.size:
            high = (low // _RANGE + 1) * _RANGE
            values = {"entry": reading.entry.row, "low": low, "high": high, "limit": _BATCH_RECORDS}
            rows = cast("list[tuple[int, bytes]]", self._fetch(query, values))
            rows.sort(key=itemgetter(0))
            low = high if len(rows) < _BATCH_RECORDS else rows[_BATCH_RECORDS - 1][0] + 1
            if data := b"".join([data for pos, data in rows if pos < low]):  # none where a record goes on that began before
                found = True
                yield data
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
    entry = reading.entry
    return reading.offset == 0 and entry.size <= _SMALL and entry.records <= _BATCH_RECORDS


def _batches(readings: Sequence[Reading]) -> Iterator[list[Reading]]:
    """Runs of short entries, as many as fit a batch; each long one alone."""
    batch: list[Reading] = []
    size = records = 0
    for reading in readings:
        size, records = size + reading.entry.size, records + reading.entry.records
        full = size > _BATCH_BYTES or records > _BATCH_RECORDS or len(batch) >= _BATCH_ENTRIES
        if batch and (full or not _is_small(reading) or not _is_small(batch[0])):
            yield batch
            batch, size, records = [], reading.entry.size, reading.entry.records
        batch.append(reading)
    if batch:
        yield batch


def _short(reading: Reading, data: bytes) -> Iterator[Block]:
    """The blocks of a short entry: one, but for a log whose last line has no end."""
    if reading.entry.form != "log" or not data or data.endswith(b"\n"):
        return iter([Block(reading.entry, 0, data, None, last=True)])
    parts = [data]
    return _blocks(reading, lambda _size: parts.pop() if parts else b"")


def _blocks(reading: Reading, read: Callable[[int], bytes]) -> Iterator[Block]:
    entry = reading.entry
    for part in cut(read, entry.form, offset=reading.offset, within=reading.within):
        yield Block(entry, part.offset, part.data, part.record, part.last)
