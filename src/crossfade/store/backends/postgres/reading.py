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
from crossfade.store.port import Reading, Span

_SMALL = SEGMENT
_BATCH_BYTES = 4 * SEGMENT
_BATCH_ENTRIES = 2000
_BATCH_RECORDS = 20_000
_FEW = 64
"""Records of an entry that still is worth fetching together with others: each comes with its place, which costs bytes."""

_RANGE = 4 * SEGMENT
_DIGEST_SPAN = 64 * SEGMENT

_FAR = 512 * SEGMENT
"""Behind the end of an entry, rows are looked for so far: the server puts together no more than it can hold."""


class Rows:
    """Reads one tree's records through *connection*."""

    def __init__(self, connection: Connection, schema: str, store_id: int) -> None:
        self._connection = connection
        self._schema = schema
        self._store_id = store_id

    def blocks(self, readings: Sequence[Reading]) -> Iterator[Block]:
        """The blocks of *readings*, in order; short entries are fetched together."""
        apart = self._apart([reading.entry for reading in readings])
        for batch in _batches(readings, apart):
            if not _is_small(batch[0], apart):
                yield from _blocks(batch[0], _reader(self._pieces(batch[0], apart)))
                continue
            small = self._small([reading.entry for reading in batch])
            for reading in batch:
                data = small.get(reading.entry.row, b"")
                if reading.entry.size and not data:
                    raise FileNotFoundError(reading.entry.path)
                yield from _short(reading, data)

    def _apart(self, entries: list[Entry]) -> frozenset[int]:
        """The rows of those *entries* that are not all in their kind's table."""
        rows = self._fetch(statement("read_apart", self._schema), {"entries": numbers(e.row for e in entries if e.size)})
        return frozenset(cast("int", row) for (row,) in rows)

    def _small(self, entries: list[Entry]) -> dict[int, bytes]:
        found: dict[int, bytes] = {}
        for kind, group in groupby(sorted(entries, key=lambda e: e.kind), key=lambda e: e.kind):
            query = statement("read_small", self._schema, kind)
            rows = self._fetch(query, {"entries": numbers(entry.row for entry in group if entry.size)})
            rows.sort(key=itemgetter(0, 1))
            for row, records in groupby(cast("list[tuple[int, int, bytes]]", rows), key=itemgetter(0)):
                found[row] = b"".join([data for _, _, data in records])
        return found

    def _pieces(self, reading: Reading, apart: frozenset[int]) -> Iterator[bytes]:
        """The bytes from the reading's offset on, a stretch of records at a time, however many there are in it."""
        fetch = self._mixed if reading.entry.row in apart else self._plain
        low, found = reading.offset, False
        while low < reading.entry.size:
            high = (low // _RANGE + 1) * _RANGE
            data, behind = fetch(reading.entry, low, high)
            low = high if behind is None else behind
            if data:  # none where a record goes on that began before
                found = True
                yield data
        if reading.offset < reading.entry.size and not found:
            raise FileNotFoundError(reading.entry.path)

    def _plain(self, entry: Entry, low: int, high: int) -> tuple[bytes, int | None]:
        """The bytes of records that start from *low* on, and where they end if there may be more before *high*."""
        query = statement("read_range", self._schema, entry.kind)
        rows = self._fetch(query, {"entry": entry.row, "low": low, "high": high, "limit": _BATCH_RECORDS})
        data = b"".join([record for (record,) in cast("list[tuple[bytes]]", rows)])
        return data, None if len(rows) < _BATCH_RECORDS else low + len(data)

    def _mixed(self, entry: Entry, low: int, high: int) -> tuple[bytes, int | None]:
        """As ``_plain``, for an entry of which something is kept apart."""
        query = statement("read_mixed", self._schema, entry.kind)
        values = {"entry": entry.row, "low": low, "high": high, "limit": _BATCH_RECORDS}
        rows = cast("list[tuple[int, bytes]]", self._fetch(query, values))
        rows.sort(key=itemgetter(0))
        behind = None if len(rows) < _BATCH_RECORDS else rows[_BATCH_RECORDS - 1][0] + 1
        return b"".join([data for pos, data in rows if behind is None or pos < behind]), behind

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

    def weights(self, spans: Sequence[Span]) -> list[tuple[int, bytes]]:
        """The size and digest of each span; of nothing, for an entry without records."""
        found = [(0, EMPTY)] * len(spans)
        numbered = [(number, span) for number, span in enumerate(spans) if span.entry.kind]
        for kind, group in groupby(sorted(numbered, key=_kind_of), key=_kind_of):
            places, members = zip(*group, strict=True)
            values = {
                "numbers": list(places),
                "entries": [span.entry.row for span in members],
                "lows": [span.offset for span in members],
                "highs": [span.offset + (_FAR if span.size is None else span.size) for span in members],
            }
            rows = cast("list[tuple[int, int, bytes]]", self._fetch(statement("weigh", self._schema, kind), values))
            for number, size, digest in rows:
                found[number] = size, digest
        return found

    def _fetch(self, query: bytes, values: Mapping[str, object]) -> list[tuple[object, ...]]:
        with self._connection.cursor(binary=True) as cursor:
            return cursor.execute(query, {**values, "store_id": self._store_id}).fetchall()


def _kind_of(numbered: tuple[int, Span]) -> str:
    return numbered[1].entry.kind


def _is_small(reading: Reading, apart: frozenset[int]) -> bool:
    entry = reading.entry
    return reading.offset == 0 and entry.size <= _SMALL and entry.records <= _FEW and entry.row not in apart


def _batches(readings: Sequence[Reading], apart: frozenset[int]) -> Iterator[list[Reading]]:
    """Runs of short entries, as many as fit a batch; each long one alone."""
    batch: list[Reading] = []
    size = 0
    for reading in readings:
        small = _is_small(reading, apart)
        full = size + reading.entry.size > _BATCH_BYTES or len(batch) >= _BATCH_ENTRIES
        if batch and (full or not small or not _is_small(batch[0], apart)):
            yield batch
            batch, size = [], 0
        batch.append(reading)
        size += reading.entry.size
    if batch:
        yield batch


def _reader(pieces: Iterator[bytes]) -> Callable[[int], bytes]:
    """A read function over *pieces*, none of which is empty."""
    held, at = b"", 0

    def read(size: int) -> bytes:
        nonlocal held, at
        if at >= len(held):
            held, at = next(pieces, b""), 0
        part = held[at : at + size]
        at += len(part)
        return part

    return read


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
