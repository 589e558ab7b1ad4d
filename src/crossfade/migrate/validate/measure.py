"""Comparing a batch of entries: one side's bytes are read here, the other side's figures are computed in its server.

This is what a validation worker does, in whichever process it lives. What passed by in this very run is not read again.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import msgspec

from crossfade.errors import Unreadable
from crossfade.migrate.validate.differences import Class, Difference, held_back, of_figures
from crossfade.model.answers import Answering, KindAnswer, Passed
from crossfade.model.changes import Block
from crossfade.model.digests import digest_of
from crossfade.model.entries import SEGMENT, Entry, altered
from crossfade.model.figures import NULL, Figure, Figures, Gauge, Sheet, columns_of
from crossfade.model.figures import field as sent
from crossfade.model.kinds import Kind
from crossfade.model.paths import text_of
from crossfade.model.records import Reader
from crossfade.store.backends.postgres.encode import field_of, fields_of
from crossfade.store.backends.postgres.figures import by_kind
from crossfade.store.backends.postgres.store import PostgresStore
from crossfade.store.layers.retrying import Patience, Retrying, patiently
from crossfade.store.port import Reading, Store

T = TypeVar("T")

_VANISHED = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EISDIR, errno.ENXIO)


@dataclass(frozen=True)
class Pair:
    """A file on both sides: where its bytes are read, and where its figures are computed.

    ``passed`` says that this run saw its bytes and records pass by, so that they need not be read. With ``at_least``, a
    log that grows may be longer where it is read than where it is asked for, if that many bytes have arrived. ``overtaken``
    is what was brought before its source went on: nothing but a log's beginning can still be read.
    """

    bytes: Entry
    server: Entry
    passed: bool = False
    overtaken: bool = False
    at_least: int | None = None


@dataclass
class Measured:
    """What a batch showed. ``answers`` are by kind, of what was read; ``passed`` by kind, of what was only asked for.

    ``digests`` are by path: here, there. ``moved`` are paths that changed, or went, while they were read.
    """

    differences: list[Difference] = field(default_factory=list)
    answers: dict[str, KindAnswer] = field(default_factory=dict)
    passed: dict[str, Passed] = field(default_factory=dict)
    digests: dict[bytes, tuple[bytes, bytes]] = field(default_factory=dict)
    moved: list[bytes] = field(default_factory=list)
    unreadable: list[tuple[bytes, str]] = field(default_factory=list)
    entries: int = 0
    records: dict[str, int] = field(default_factory=dict)
    size: int = 0
    faults: list[str] = field(default_factory=list)


class Comparer:
    """Compares batches. *held* are the places in quarantine, and how they stand there; *is_over* ends trying again."""

    def __init__(
        self,
        reads: Store,
        asks: PostgresStore,
        held: Mapping[tuple[int, int], str],
        patience: Patience,
        *,
        reads_source: bool,
        skip_unreadable: bool = False,
        is_over: Callable[[], bool] = lambda: False,
    ) -> None:
        self._reads = Retrying(reads, patience, self._told)
        self._asks = asks
        self._held = held
        self._patience = patience
        self._reads_source = reads_source
        self._skip_unreadable = skip_unreadable
        self._is_over = is_over
        self._gauges: dict[str, Gauge] = {}
        self._measured = Measured()

    def compare(self, pairs: Sequence[Pair]) -> Measured:
        """All pairs, kind by kind."""
        measured = self._measured = Measured()
        by_path = {pair.server.path: pair for pair in pairs}
        for name, entries in by_kind([pair.server for pair in pairs]):
            self._compare(self._asks.layout.kind(name), [by_path[entry.path] for entry in entries])
        self._asked(self._asks.rollback)
        return measured

    def close(self) -> None:
        """Let go of both sides."""
        self._reads.close()
        self._asks.close()

    def _compare(self, kind: Kind, pairs: list[Pair]) -> None:
        figures = self._asked(lambda: self._asks.figures().of(kind, [pair.server for pair in pairs]))
        answering, passed = Answering(kind), Passed()
        self._measured.records[kind.name] = sum(figure.records for found in figures.values() for figure in found)
        for pair in pairs:
            there = figures.get(pair.server.row, ())
            if not (pair.passed and self._stands(pair, there, passed)):
                self._look_closer(kind, pair, there, answering)
            self._measured.entries += 1
            self._measured.size += pair.bytes.size
        self._measured.answers.setdefault(kind.name, KindAnswer()).merge(answering.answer())
        self._measured.passed.setdefault(kind.name, Passed()).merge(passed)

    def _stands(self, pair: Pair, there: Sequence[Figure], passed: Passed) -> bool:
        """True where the database holds what its books say; what was read when it passed by is told by the sum over all."""
        digest = _digest(there)
        if pair.bytes.digest not in (None, digest) or _of_books(pair.server, there) is not None:
            return False
        passed.fold(pair.server.path, digest, columns_of(there))
        self._measured.digests[pair.server.path] = (digest, digest)
        return True

    def _look_closer(self, kind: Kind, pair: Pair, there: Sequence[Figure], answering: Answering) -> None:
        if pair.overtaken:
            found = _of_books(pair.server, there) or self._of_beginning(kind, pair, there)
            self._measured.differences += [replace(found, is_of_before=True)] if found is not None else []
        else:
            self._read_and_compare(kind, pair, there, answering)

    def _of_beginning(self, kind: Kind, pair: Pair, there: Sequence[Figure]) -> Difference | None:
        """Wrong columns of what the source still begins with. Where it does not, all of it is brought anew."""
        if pair.bytes is pair.server:
            return None
        try:
            here = self._figures(kind, pair, Answering(kind), pair.server.size)
        except OSError:
            return None
        found = of_figures(pair.bytes, here, there)
        return self._locate(kind, pair, found) if found is not None and found.klass == "column" else None

    def _read_and_compare(self, kind: Kind, pair: Pair, there: Sequence[Figure], answering: Answering) -> None:
        path, here = pair.bytes.path, None
        try:
            here = self._figures(kind, pair, answering, _arrived(pair, there))
        except OSError as error:
            self._failed(path, error)
        self._measured.digests[path] = (_digest(here or ()), _digest(there))
        if here is None:
            return
        source, target = (here, there) if self._reads_source else (there, here)
        found = of_figures(pair.bytes, source, target) or (_of_books(pair.server, there) if pair.at_least is None else None)
        if found is not None and found.klass == "column":
            found = self._locate(kind, pair, found)
        self._measured.differences += [found] if found is not None else []

    def _failed(self, path: bytes, error: OSError) -> None:
        """A file vanished, or cannot be read: the one is a difference, the other a reason to stop, unless it may be left out."""
        if error.errno in _VANISHED or isinstance(error, FileNotFoundError):
            klass: Class = "extra" if self._reads_source else "missing"
            kind = self._asks.layout.place(path).kind.name
            self._measured.moved.append(path)
            self._measured.differences.append(Difference(path, kind, klass, "vanished while it was compared"))
        elif self._skip_unreadable:
            self._measured.unreadable.append((path, error.strerror or str(error)))
        else:
            raise unreadable(path, error) from None

    def _figures(self, kind: Kind, pair: Pair, answering: Answering, end: int | None) -> Sequence[Figure]:
        """Read an entry, up to *end* if that is not None: its figures, and what its records answer."""
        gauge, entry = self._gauge(kind), _as_asked(pair)
        captures = self._asks.layout.place(entry.path).captures
        figures = Figures()
        for found in self._reads.read([Reading(entry)]):
            block = found if end is None or found.end <= end else _until(found, end)
            sheet = gauge.sheet(block, captures)
            figures.add(block, len(sheet), gauge.encoding.of(sheet))
            answering.take(entry.path, sheet)
            if block.last and block.entry.signature != entry.signature and entry.signature is not None:
                self._measured.moved.append(entry.path)
            if end is not None and block.end >= end:
                break
        return figures.finish()

    def _locate(self, kind: Kind, pair: Pair, found: Difference) -> Difference | None:
        """The first record whose columns are wrong. Those that the server refused are explained by that."""
        assert found.segment is not None
        gauge, standing = self._gauge(kind), set[str]()
        for segment, wanted in self._by_segment(kind, _as_asked(pair), found.segment):
            stands = {pos: (reason, sent) for pos, reason, sent in self._rows(kind, pair.server, segment)}
            for pos in sorted(wanted.keys() | stands.keys()):
                if pos not in stands and (pair.server.row, pos) in self._held:
                    standing.add(self._held[pair.server.row, pos])
                elif _is_wrong(gauge, pos, wanted.get(pos), stands.get(pos)):
                    return Difference(pair.bytes.path, gauge.kind.name, "column", found.detail, pos // SEGMENT, pos)
        return held_back(pair.bytes.path, kind.name, standing) if standing else None

    def _rows(self, kind: Kind, server: Entry, segment: int) -> list[tuple[int, str | None, bytes]]:
        low = segment * SEGMENT
        return self._asked(lambda: list(self._asks.figures().rows(kind, server, low, low + SEGMENT)))

    def _by_segment(self, kind: Kind, entry: Entry, first: int) -> Iterator[tuple[int, dict[int, bytes]]]:
        """The rows as they should stand, by their places, one segment after the other, from the *first* on."""
        gauge, captures = self._gauge(kind), self._asks.layout.place(entry.path).captures
        number, rows = first, dict[int, bytes]()
        for block in self._reads.read([Reading(entry)]):
            if block.offset // SEGMENT < first:
                continue
            if block.offset // SEGMENT != number:
                yield number, rows
                number, rows = block.offset // SEGMENT, {}
            sheet = gauge.sheet(block, captures)
            rows |= zip(map(int.from_bytes, sheet.places), gauge.encoding.each(sheet), strict=True)
        yield number, rows

    def _gauge(self, kind: Kind) -> Gauge:
        if kind.name not in self._gauges:
            self._gauges[kind.name] = Gauge(kind, Reader(kind, field_of, NULL, fields_of))
        return self._gauges[kind.name]

    def _asked(self, work: Callable[[], T]) -> T:
        """Ask the database, and again where a fault passes: nothing is written, so that nothing can be done twice."""
        return patiently(work, self._patience, self._told)

    def _told(self, error: BaseException) -> None:
        """A fault that is tried again, unless it is over anyway."""
        if self._is_over():
            raise error
        self._measured.faults.append(type(error).__name__)


def _is_wrong(gauge: Gauge, pos: int, wanted: bytes | None, stands: tuple[str | None, bytes] | None) -> bool:
    if wanted is None or stands is None:
        return True
    reason, sent = stands
    return sent not in (wanted, _refused(gauge, pos, reason) if reason and reason.startswith("server ") else wanted)


def _refused(gauge: Gauge, pos: int, reason: str) -> bytes:
    """The row of a record whose columns a server refused: it has none."""
    nothing = [[NULL]] * len(gauge.kind.columns)
    return gauge.encoding.of(Sheet([pos.to_bytes(8, signed=True)], nothing, [sent(reason.encode())]))


def _until(block: Block, end: int) -> Block:
    return msgspec.structs.replace(block, data=block.data[: end - block.offset], last=True)


def _as_asked(pair: Pair) -> Entry:
    """The entry to read. Between two databases the form is that of the one that is asked: the other's layout may be another."""
    return pair.bytes if pair.bytes.signature is not None else altered(pair.bytes, form=pair.server.form)


def _arrived(pair: Pair, there: Sequence[Figure]) -> int | None:
    """How much of a log that grows the database has by now, if that is enough; None where all of it should be there."""
    size = sum(figure.segment.size for figure in there)
    return size if pair.at_least is not None and pair.bytes.form == "log" and pair.at_least <= size else None


def unreadable(path: bytes, error: OSError) -> Unreadable:
    """A file that is there, and cannot be read."""
    return Unreadable(
        f"cannot read {text_of(path)}: {error.strerror or error}",
        hint="mend it and repeat the command, or leave it out with --skip-unreadable",
    )


def _of_books(server: Entry, figures: Sequence[Figure]) -> Difference | None:
    """Where the bytes are right, but not what the database's own entry says of them."""
    if server.size != sum(figure.segment.size for figure in figures):
        return Difference(server.path, server.kind, "content", "its size is not that of its records", 0, 0)
    if server.digest != _digest(figures):
        return Difference(server.path, server.kind, "content", "its digest is not that of its records", 0, 0)
    for name, counted in (("records", server.records), ("raws", server.raws)):
        there = sum(getattr(figure, name) for figure in figures)
        if counted != there:
            return Difference(server.path, server.kind, "content", f"it counts {counted} {name}, and has {there}", 0, 0)
    return None


def _digest(figures: Sequence[Figure]) -> bytes:
    return digest_of(figure.segment for figure in figures)
