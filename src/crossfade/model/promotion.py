"""Reading just the promoted fields of many records: a struct type that decodes them, and what collects them column by column.

Column by column, because this is the inner loop of every copy: a step for a column of a few dozen records costs what a step
for a single one does. (``records.Reader`` has the straightforward form too, for the rare cases.)
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import msgspec

Bound = list[Any]
"""What the sources that are captures take from the path, in the order of the columns and of their sources."""

ConvertAll = Callable[[list[Any]], list[Any]]
"""From JSON values to values of a column, None for nothing; as many. It may change neither its argument nor give that back.

It may rely on what :class:`~crossfade.model.records.Reader` has made sure of: no NUL, no lone surrogate.
"""

_Path = tuple[str, ...]


@dataclass(frozen=True)
class _Inner:
    """A nested object that holds promoted fields: where it is, what decodes it, and what stands for it where it is not."""

    path: _Path
    get: Callable[[Any], Any]
    shape: type
    blank: Any


@dataclass(frozen=True)
class _Source:
    """Where a column may take its values: a field of the object at a path, or, converted already, a slot of ``Bound``."""

    path: _Path
    get: Callable[[Any], Any] | None
    slot: int
    convert: ConvertAll


class Promotion:
    """The columns of records that were decoded as ``shape``.

    *columns* are their sources and their conversion; *nothing* stands for a column without a value.
    """

    def __init__(self, columns: Sequence[tuple[tuple[str, ...], ConvertAll]], nothing: Any) -> None:
        self._inner: list[_Inner] = []
        self._fields: dict[_Path, Callable[[Any], Any]] = {}
        self.shape = self._shape(sorted({_path(s) for sources, _ in columns for s in sources if s.startswith("/")}), ())
        self._inner.sort(key=lambda inner: len(inner.path))
        slots = itertools.count()
        self._columns = [[self._source(s, convert, slots) for s in sources] for sources, convert in columns]
        self._nothing = nothing

    def __call__(self, tops: list[Any], bounds: Sequence[Bound]) -> list[list[Any]]:
        """The values of each column, of records that were decoded as *tops*; *bounds* are what their paths contribute."""
        holders: dict[_Path, list[Any]] = {(): tops}
        for inner in self._inner:
            found = map(inner.get, holders[inner.path[:-1]])
            shape, blank = inner.shape, inner.blank
            holders[inner.path] = [value if type(value) is shape else blank for value in found]
        return [self._column(sources, holders, bounds) for sources in self._columns]

    def _column(self, sources: list[_Source], holders: dict[_Path, list[Any]], bounds: Sequence[Bound]) -> list[Any]:
        """Of each record the first source that yields something, or nothing."""
        found = _values(sources[0], holders, bounds)
        for source in sources[1:]:
            if None not in found:
                return found
            found = [b if a is None else a for a, b in zip(found, _values(source, holders, bounds), strict=True)]
        if self._nothing is None or None not in found:
            return found
        return [self._nothing if value is None else value for value in found]

    def _shape(self, paths: Sequence[_Path], at: _Path) -> type:
        """A struct type for *paths*, which are below *at*; notes how each of them is got at."""
        fields: list[tuple[str, Any, Any]] = []
        names = sorted({path[0] for path in paths})
        for number, name in enumerate(names):
            get = self._fields[(*at, name)] = attrgetter(f"f{number}")
            kind: Any = Any
            if below := [path[1:] for path in paths if path[0] == name and len(path) > 1]:
                inner = self._shape(below, (*at, name))
                self._inner.append(_Inner((*at, name), get, inner, inner()))
                kind = inner | str | int | float | bool | list[Any] | None
            fields.append((f"f{number}", kind, None))
        return msgspec.defstruct("Shape", fields, rename={f"f{n}": name for n, name in enumerate(names)}, gc=False)

    def _source(self, source: str, convert: ConvertAll, slots: itertools.count[int]) -> _Source:
        if source[0] == "{":
            return _Source((), None, next(slots), convert)
        return _Source(_path(source)[:-1], self._fields[_path(source)], -1, convert)


def _values(source: _Source, holders: dict[_Path, list[Any]], bounds: Sequence[Bound]) -> list[Any]:
    if source.get is None:
        return [bound[source.slot] for bound in bounds]
    found = list(map(source.get, holders[source.path]))
    return found if found.count(None) == len(found) else source.convert(found)


def _path(pointer: str) -> _Path:
    return tuple(pointer[1:].split("/"))
