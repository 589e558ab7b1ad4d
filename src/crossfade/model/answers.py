"""Real questions about the records of a kind, answered while they pass by: how many, the least, the greatest, which ones.

A database answers the same questions in SQL; both answers have the same form, so that they can be compared.
"""

from __future__ import annotations

import hashlib
import struct
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from crossfade.model.figures import NULL, Columns, Encoding, Sheet, columns_of_one
from crossfade.model.figures import field as sent
from crossfade.model.kinds import Column, Kind
from crossfade.model.paths import key_of

LISTED = 10
_INT = struct.Struct("!q")
_NEGATIVE = 0x80
_FEW = 32
_MANY = 1000
"""So many records are worth a look at each of their columns."""


@dataclass
class ColumnAnswer:
    """Aggregates of one column: values present, least, greatest (text bytewise; numbers; true counts as 1)."""

    present: int = 0
    least: bytes | int | None = None
    greatest: bytes | int | None = None

    def merge(self, other: ColumnAnswer) -> None:
        """Add what other records say."""
        self.present += other.present
        known: list[Any] = [v for v in (self.least, self.greatest, other.least, other.greatest) if v is not None]
        self.least, self.greatest = min(known, default=None), max(known, default=None)


@dataclass
class Found:
    """The records whose column has its greatest value: how many, and the first of them, as (path, offset)."""

    value: bytes
    count: int = 0
    first: list[tuple[bytes, int]] = field(default_factory=list)

    def merge(self, other: Found) -> None:
        """Add what other records say; a greater value is asked for instead."""
        if other.value > self.value:
            self.value, self.count, self.first = other.value, other.count, list(other.first)
        elif other.value == self.value:
            self.count += other.count
            self.first = sorted([*self.first, *other.first], key=lambda place: (key_of(place[0]), place[1]))[:LISTED]


@dataclass
class KindAnswer:
    """What a kind's records say. ``found`` has, for each text column that leads an index, those with its greatest value."""

    records: int = 0
    raw: int = 0
    columns: dict[str, ColumnAnswer] = field(default_factory=dict)
    found: dict[str, Found] = field(default_factory=dict)

    def merge(self, other: KindAnswer) -> None:
        """Add what other records of the kind say."""
        self.records += other.records
        self.raw += other.raw
        for name, answer in other.columns.items():
            self.columns.setdefault(name, ColumnAnswer()).merge(answer)
        for name, found in other.found.items():
            self.found.setdefault(name, Found(found.value)).merge(found)

    def differs(self, other: KindAnswer) -> list[str]:
        """The questions that are answered differently."""
        wrong = [name for name in ("records", "raw") if getattr(self, name) != getattr(other, name)]
        for name in sorted(set(self.columns) | set(other.columns)):
            same = self.columns.get(name, ColumnAnswer()) == other.columns.get(name, ColumnAnswer())
            wrong += [] if same else [f"aggregates of {name}"]
        for name in sorted(set(self.found) | set(other.found)):
            one, there = self.found.get(name, Found(b"")), other.found.get(name, Found(b""))
            if one.count != there.count:
                wrong.append(f"count by {name}")
            elif one.first != there.first:
                wrong.append(f"list by {name}")
        return wrong

    @property
    def questions(self) -> int:
        """How many there are: counts, three aggregates a column, a count and a list for each value that is looked for."""
        return 2 + 3 * len(self.columns) + 2 * len(self.found)


def filters_of(kind: Kind) -> list[Column]:
    """The text columns that lead an index: what people filter by."""
    names = {index[0] for index in kind.indexes}
    return [column for column in kind.columns if column.name in names and column.type == "text"]


class Answering:
    """Answers for records that pass by."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self._filters = {column.name for column in filters_of(kind)}
        self._gathered = _Gathered(len(kind.columns))
        self._answer = KindAnswer()

    def take(self, path: bytes, sheet: Sheet) -> None:
        """Take the records of one block. Few at a time would be dear, so that they are gathered first."""
        self._take([path], [0], sheet)

    def take_documents(self, paths: Sequence[bytes], sheet: Sheet) -> None:
        """Take the only records of entries at *paths*."""
        self._take(paths, range(len(paths)), sheet)

    def _take(self, paths: Sequence[bytes], starts: Iterable[int], sheet: Sheet) -> None:
        self._gathered.add(paths, starts, sheet)
        if len(self._gathered.places) >= _MANY:
            self._work_off()

    def answer(self) -> KindAnswer:
        """What all records say that were taken."""
        self._work_off()
        return self._answer

    def _work_off(self) -> None:
        gathered, self._gathered = self._gathered, _Gathered(len(self._kind.columns))
        self._answer.records += len(gathered.places)
        self._answer.raw += gathered.raw
        for column, values in zip(self._kind.columns, gathered.columns, strict=True):
            part = _aggregate(column, values)
            if not part.present:
                continue
            self._answer.columns.setdefault(column.name, ColumnAnswer()).merge(part)
            if column.name in self._filters and isinstance(part.greatest, bytes):
                self._find(column.name, part.greatest, values, gathered)

    def _find(self, name: str, value: bytes, values: list[bytes], gathered: _Gathered) -> None:
        known = self._answer.found.setdefault(name, Found(value))
        if value >= known.value:
            wanted = sent(value)
            known.merge(Found(value, values.count(wanted), gathered.places_of(wanted, values)))


class _Gathered:
    """Records of several blocks, column by column."""

    def __init__(self, columns: int) -> None:
        self.places: list[bytes] = []
        self.columns: list[list[bytes]] = [[] for _ in range(columns)]
        self.raw = 0
        self._paths: list[bytes] = []
        self._starts: list[int] = []

    def add(self, paths: Sequence[bytes], starts: Iterable[int], sheet: Sheet) -> None:
        """The records of *sheet*; those from each of *starts* on are of the path beside it."""
        before = len(self.places)
        self._paths += paths
        self._starts += [before + start for start in starts]
        self.places += sheet.places
        self.raw += len(sheet) - sheet.reasons.count(NULL)
        for values, more in zip(self.columns, sheet.columns, strict=True):
            values.extend(more)

    def places_of(self, wanted: bytes, values: list[bytes]) -> list[tuple[bytes, int]]:
        """Where the first of the records stand whose value is *wanted*."""
        found: list[tuple[bytes, int]] = []
        at = -1
        while len(found) < LISTED:
            try:
                at = values.index(wanted, at + 1)
            except ValueError:
                break
            path = self._paths[bisect_right(self._starts, at) - 1]
            found.append((path, int.from_bytes(self.places[at])))
        return found


def _aggregate(column: Column, values: Sequence[bytes]) -> ColumnAnswer:
    present = len(values)
    if not _are_varied(values):
        distinct = set(values)
        present -= values.count(NULL) if NULL in distinct else 0
        values = list(distinct - {NULL})
    if not values:
        return ColumnAnswer()
    if column.type == "text":
        return ColumnAnswer(present, *_outermost(values))
    if column.type == "boolean":
        return ColumnAnswer(present, min(values)[4], max(values)[4])
    return ColumnAnswer(present, *_extremes(values))


def _are_varied(values: Sequence[bytes]) -> bool:
    """True for values of one length, nearly all different, none NULL: to find out which are equal would save nothing."""
    return len(set(values[:64])) > _FEW and len(set(map(len, values))) == 1


def _outermost(values: Sequence[bytes]) -> tuple[bytes, bytes]:
    """Least and greatest of texts on the wire, which sort as they are where all have one length."""
    if len(set(map(len, values))) > 1:
        values = [value[4:] for value in values]
        return min(values), max(values)
    return min(values)[4:], max(values)[4:]


def _extremes(values: Sequence[bytes]) -> tuple[int, int]:
    """Least and greatest of numbers on the wire, which sort bytewise among those of one sign."""
    least, greatest = min(values), max(values)
    if greatest[4] & _NEGATIVE and not least[4] & _NEGATIVE:
        least = min(value for value in values if value[4] & _NEGATIVE)
        greatest = max(value for value in values if not value[4] & _NEGATIVE)
    return _INT.unpack(least[4:])[0], _INT.unpack(greatest[4:])[0]


@dataclass
class Passed:
    """What a run saw pass by of one kind: the entries that it finished, what their records answer, and one sum over them all.

    ``total`` is a sum over the digests of the entries' content and columns: it comes out the same in whatever order they pass.
    """

    entries: int = 0
    answer: KindAnswer = field(default_factory=KindAnswer)
    total: int = 0

    def merge(self, other: Passed) -> None:
        """Add what others saw."""
        self.entries += other.entries
        self.answer.merge(other.answer)
        self.total = (self.total + other.total) % _MODULUS

    def fold(self, path: bytes, content: bytes, columns: bytes) -> None:
        """One more entry, with the digests of its content and of its columns."""
        self.entries += 1
        mixed = hashlib.sha256(key_of(path) + b"\n" + content + columns).digest()
        self.total = (self.total + int.from_bytes(mixed, "big")) % _MODULUS


_MODULUS = 1 << 256


def merge_passed(known: dict[str, Passed | None], more: dict[str, Passed | None]) -> None:
    """Add *more* to what is *known*, by kind. Of a kind of which something was not seen, nothing is known."""
    for kind, passed in more.items():
        found = known.setdefault(kind, Passed())
        if found is None or passed is None:
            known[kind] = None
        else:
            found.merge(passed)


class Passing:
    """Watches the records of one kind pass by, entry by entry. Entries may come in parts, of which the first may have come earlier."""

    def __init__(self, kind: Kind, encoding: Encoding) -> None:
        self._encoding = encoding
        self._answering = Answering(kind)
        self._passed = Passed()
        self.going_on: dict[bytes, Columns] = {}

    def take(self, path: bytes, offset: int, sheet: Sheet, began: Columns | None, digest: bytes | None) -> None:
        """The records of one block. *began* is what passed of the entry before. Raises KeyError where its beginning did not.

        With the last one comes the entry's *digest*, as it was computed from the bytes when they were read.
        """
        columns = self.going_on.pop(path, None)
        if offset == 0:
            columns = Columns()
        elif columns is None and began is not None:
            columns = began.fork()
        if columns is None:
            raise KeyError(path)
        columns.add(offset, len(sheet), self._encoding.of(sheet))
        self._answering.take(path, sheet)
        if digest is not None:
            self._passed.fold(path, digest, columns.finish())
        else:
            self.going_on[path] = columns

    def take_documents(self, paths: Sequence[bytes], sheet: Sheet, digests: Iterable[bytes]) -> None:
        """The only records of entries at *paths*, which have these *digests*."""
        for path, digest, row in zip(paths, digests, self._encoding.each(sheet), strict=True):
            self._passed.fold(path, digest, columns_of_one(row))
        self._answering.take_documents(paths, sheet)

    def passed(self) -> Passed:
        """What was seen."""
        self._passed.answer = self._answering.answer()
        return self._passed
