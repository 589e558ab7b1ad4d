"""Comparing a batch of entries: one side's bytes are read here, the other side's figures are computed in its server.

This is what a validation worker does, in whichever process it lives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from crossfade.migrate.validate.differences import Difference, of_figures
from crossfade.migrate.validate.queries import Answering, KindAnswer
from crossfade.model.changes import Block
from crossfade.model.digests import digest_of
from crossfade.model.entries import SEGMENT, Entry
from crossfade.model.figures import NULL, Figure, Figures, Gauge, Record
from crossfade.model.kinds import Kind
from crossfade.model.records import Reader
from crossfade.store.backends.postgres.encode import field_of
from crossfade.store.backends.postgres.figures import ServerFigures, by_kind
from crossfade.store.backends.postgres.store import PostgresStore
from crossfade.store.port import Reading, Store


@dataclass(frozen=True)
class Pair:
    """A file on both sides: where its bytes are read, and where its figures are computed."""

    bytes: Entry
    server: Entry


@dataclass
class Measured:
    """What a batch showed. ``answers`` are by kind, of the side whose bytes were read; ``digests`` by path: here, there."""

    differences: list[Difference] = field(default_factory=list)
    answers: dict[str, KindAnswer] = field(default_factory=dict)
    digests: dict[bytes, tuple[bytes, bytes]] = field(default_factory=dict)
    entries: int = 0
    size: int = 0


class Comparer:
    """Compares batches. *held* are the places that are in quarantine; *chosen* the values to filter by, per kind."""

    def __init__(
        self,
        reads: Store,
        asks: PostgresStore,
        chosen: dict[str, dict[str, bytes]],
        held: frozenset[tuple[int, int]],
        *,
        reads_source: bool,
    ) -> None:
        self._reads = reads
        self._asks = asks
        self._chosen = chosen
        self._held = held
        self._reads_source = reads_source
        self._gauges: dict[str, Gauge] = {}

    def compare(self, pairs: Sequence[Pair]) -> Measured:
        """All pairs, kind by kind."""
        measured = Measured()
        servers = {pair.server.path: pair.server for pair in pairs}
        for name, entries in by_kind([pair.bytes for pair in pairs]):
            kind = self._asks.layout.kind(name)
            figures = self._server().of(kind, [servers[entry.path] for entry in entries])
            answering = Answering(kind, self._chosen.get(name, {}))
            for entry in entries:
                there = figures.get(servers[entry.path].row, ())
                here = self._figures(kind, entry, answering)
                measured.differences += self._one(kind, entry, servers[entry.path], here, there)
                measured.digests[entry.path] = (_digest(here or ()), _digest(there))
                measured.entries += 1
                measured.size += entry.size
            measured.answers.setdefault(name, KindAnswer()).merge(answering.answer)
        self._asks.rollback()
        return measured

    def _one(
        self, kind: Kind, entry: Entry, server: Entry, here: tuple[Figure, ...] | None, there: tuple[Figure, ...]
    ) -> list[Difference]:
        if here is None:
            return [Difference(entry.path, entry.kind, "missing", "vanished while it was compared")]
        source, target = (here, there) if self._reads_source else (there, here)
        found = of_figures(entry, source, target) or _of_books(server, there)
        if found is not None and found.klass == "column":
            found = self._locate(kind, entry, server, found)
        return [found] if found is not None else []

    def _figures(self, kind: Kind, entry: Entry, answering: Answering) -> tuple[Figure, ...] | None:
        """Read an entry: its figures, and what its records answer. None where it has vanished."""
        gauge = self._gauge(kind)
        captures = self._asks.layout.place(entry.path).captures
        figures = Figures()
        try:
            for block in self._reads.read([Reading(entry)]):
                records = list(gauge.records(block, captures))
                figures.add(block, [gauge.encoded(record) for record in records])
                answering.take(entry.path, records)
        except FileNotFoundError:
            return None
        return figures.finish()

    def _locate(self, kind: Kind, entry: Entry, server: Entry, found: Difference) -> Difference | None:
        """The first record whose columns are wrong. Those that the server refused are explained by that."""
        assert found.segment is not None
        low = found.segment * SEGMENT
        quarantined = False
        for segment in range(low, max(server.size, low + 1), SEGMENT):
            wanted = {record.pos: record for record in self._records(kind, entry, segment)}
            stands = {
                pos: (reason, sent) for pos, reason, sent in self._server().rows(kind, server, segment, segment + SEGMENT)
            }
            for pos in sorted(wanted.keys() | stands.keys()):
                if pos not in stands and (server.row, pos) in self._held:
                    quarantined = True
                elif self._is_wrong(kind, wanted.get(pos), stands.get(pos)):
                    return Difference(entry.path, entry.kind, "column", found.detail, segment // SEGMENT, pos)
        return Difference(entry.path, entry.kind, "quarantined", "held in quarantine") if quarantined else None

    def _is_wrong(self, kind: Kind, wanted: Record | None, stands: tuple[str | None, bytes] | None) -> bool:
        if wanted is None or stands is None:
            return True
        reason, sent = stands
        return not (reason or "").startswith("server ") and self._gauge(kind).encoded(wanted) != sent

    def _records(self, kind: Kind, entry: Entry, low: int) -> list[Record]:
        """The records of one segment, from the side whose bytes are read."""
        captures = self._asks.layout.place(entry.path).captures
        blocks: list[Block] = []
        for block in self._reads.read([Reading(entry)]):
            if block.offset // SEGMENT == low // SEGMENT:
                blocks.append(block)
            elif block.offset > low:
                break
        return [record for block in blocks for record in self._gauge(kind).records(block, captures)]

    def _gauge(self, kind: Kind) -> Gauge:
        if kind.name not in self._gauges:
            self._gauges[kind.name] = Gauge(kind, Reader(kind, field_of, NULL))
        return self._gauges[kind.name]

    def _server(self) -> ServerFigures:
        return self._asks.figures()


def _of_books(server: Entry, figures: tuple[Figure, ...]) -> Difference | None:
    """Where the bytes are right, but not what the database's own entry says of them."""
    if server.size != sum(figure.segment.size for figure in figures):
        return Difference(server.path, server.kind, "content", "its size is not that of its records", 0, 0)
    if server.digest != _digest(figures):
        return Difference(server.path, server.kind, "content", "its digest is not that of its records", 0, 0)
    return None


def _digest(figures: tuple[Figure, ...]) -> bytes:
    return digest_of([figure.segment for figure in figures])
