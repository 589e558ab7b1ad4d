"""Records: which bytes are safe JSON, and what is promoted out of them.

One pure rule decides between ``json`` and ``raw``, stricter than any server we support: strict UTF-8, strict JSON
(RFC 8259), nesting of at most 512, no ``\\u0000``, no lone surrogate. So a server never refuses what we call JSON, and
``body->>'x'`` never raises (architecture 1, prodigy-formats 7).

The fast path is one typed decode a line, which reads the promoted fields and validates the rest without building it. What
it cannot take goes to a slower reader that gives the same answer; what that cannot take is raw.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from crossfade.model.columns import Convert, converter
from crossfade.model.kinds import Kind

DEPTH_LIMIT = 512

Values = list[Any]
"""One value a column, None where nothing was found: str, int, bool, or microseconds since 2000 for a timestamp."""

_UNICODE_ESCAPE = re.compile(rb"\\(?:u([0-9a-fA-F]{4})|.)", re.DOTALL)
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_BRACKET = re.compile(rb"[\[\]{}]")
_HAZARD = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")


class Reader:
    """Reads records of one kind. ``read`` is the whole interface; it never raises on any bytes."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        pointers = sorted({s for column in kind.columns for s in column.sources if s.startswith("/")})
        paths = [tuple(pointer[1:].split("/")) for pointer in pointers]
        self._shape, attributes = _shape(paths)
        self._decode: Callable[[bytes], Any] = msgspec.json.Decoder(self._shape).decode
        steps = {p: attributes[path] for p, path in zip(pointers, paths, strict=True)}
        self._columns = [_Column(column.sources, steps, converter(column)) for column in kind.columns]

    def read(self, data: bytes, captures: dict[str, str], *, suspect: bool) -> tuple[str | None, Values]:
        """(reason, values): *reason* is None for safe JSON, else why the record is raw.

        *suspect* says that the block around it holds an escape that could be a NUL or a lone surrogate, or bytes that are
        not UTF-8; see :func:`suspicious`.
        """
        if suspect or len(data) > 2 * DEPTH_LIMIT:
            reason = _hazard(data)
            if reason is not None:
                return reason, self._tolerant(data, captures)
        try:
            found = self._decode(data)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            return self._slow(data, captures)
        return None, [column.of_struct(found, captures) for column in self._columns]

    def _slow(self, data: bytes, captures: dict[str, str]) -> tuple[str | None, Values]:
        """What the typed decode does not take: JSON that is no object, numbers out of range, or no JSON at all."""
        try:
            value = json.loads(data.decode(), parse_constant=_refuse)
        except (ValueError, RecursionError):
            return _why_not(data), self._tolerant(data, captures)
        return None, [column.of_value(value, captures) for column in self._columns]

    def _tolerant(self, data: bytes, captures: dict[str, str]) -> Values:
        """Columns of a raw record, where a forgiving reading finds them: last duplicate wins, a garbage tail is ignored."""
        try:
            value, _ = _FORGIVING.raw_decode(data.decode("utf-8", "replace").lstrip("\ufeff \t\r\n"))
        except (ValueError, RecursionError):
            value = None
        return [column.of_value(value, captures) for column in self._columns]

    def nothing(self, captures: dict[str, str]) -> Values:
        """The columns of a record whose bytes are not read: what the path alone tells."""
        return [column.of_value(None, captures) for column in self._columns]


def suspicious(data: bytes) -> bool:
    """True when some record in *data* may be hazardous. One look at a block spares a look at each record."""
    if b"\\u" in data and _HAZARD.search(data):
        return True
    if data.isascii():
        return False
    try:
        data.decode()
    except UnicodeDecodeError:
        return True
    return False


def split_lines(data: bytes) -> Iterator[bytes]:
    """The lines of *data*, endings included. Only ``\\n`` ends a line."""
    start = 0
    find = data.find
    while (end := find(b"\n", start) + 1) > 0:
        yield data[start:end]
        start = end
    if start < len(data):
        yield data[start:]


def _hazard(data: bytes) -> str | None:
    """Why a record that may be JSON must not be stored as JSON; None when it may."""
    if not _is_utf8(data):
        return "utf8"
    if b"\\u" in data and _HAZARD.search(data) and (reason := _bad_escape(data)):
        return reason
    if data.count(b"[") + data.count(b"{") > DEPTH_LIMIT and _depth(data) > DEPTH_LIMIT:
        return "depth"
    return None


def _is_utf8(data: bytes) -> bool:
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _bad_escape(data: bytes) -> str | None:
    """``nul`` or ``surrogate`` when such an escape stands in *data*. An escaped backslash before the u is harmless."""
    high_ends = -1
    for match in _UNICODE_ESCAPE.finditer(data):
        if high_ends >= 0 and match.start() != high_ends:
            return "surrogate"
        code = int(match[1], 16) if match[1] else -1
        low = 0xDC00 <= code <= 0xDFFF
        if low != (high_ends >= 0):
            return "surrogate"
        if code == 0:
            return "nul"
        high_ends = match.end() if 0xD800 <= code <= 0xDBFF else -1
    return "surrogate" if high_ends >= 0 else None


def _depth(data: bytes) -> int:
    """Nesting of brackets outside of strings."""
    deepest = depth = 0
    for match in _BRACKET.finditer(_STRING.sub(b"", data)):
        depth += 1 if match[0] in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _why_not(data: bytes) -> str:
    """Why *data* is no JSON, in one word."""
    if not data.strip():
        return "blank"
    if data.startswith(b"\xef\xbb\xbf"):
        return "bom"
    return "syntax" if data.endswith(b"\n") else "torn"


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


_FORGIVING = json.JSONDecoder(strict=False)


class _Column:
    """How to find one column's value: its sources in order, the first usable one wins."""

    def __init__(self, sources: tuple[str, ...], steps: dict[str, list[tuple[type, str]]], convert: Convert) -> None:
        self._sources = [(s[1:-1], None, None) if s[0] == "{" else (None, s[1:].split("/"), steps[s]) for s in sources]
        self._convert = convert

    def of_struct(self, top: Any, captures: dict[str, str]) -> Any:
        for capture, _, steps in self._sources:
            value = captures.get(capture) if capture is not None else _walk(top, steps)
            if value is not None and (value := self._convert(value)) is not None:
                return value
        return None

    def of_value(self, top: Any, captures: dict[str, str]) -> Any:
        for capture, names, _ in self._sources:
            value = captures.get(capture) if capture is not None else _descend(top, names)
            if value is not None and (value := self._convert(value)) is not None:
                return value
        return None


def _walk(value: Any, steps: list[tuple[type, str]] | None) -> Any:
    for shape, attribute in steps or ():
        if type(value) is not shape:
            return None
        value = getattr(value, attribute)
    return value


def _descend(value: Any, names: list[str] | None) -> Any:
    for name in names or ():
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value


def _shape(paths: list[tuple[str, ...]]) -> tuple[type, dict[tuple[str, ...], list[tuple[type, str]]]]:
    """A struct type that decodes just *paths*, and for each path the attributes that lead to its value."""
    names = sorted({path[0] for path in paths})
    fields: list[tuple[str, Any, Any]] = []
    attributes: dict[tuple[str, ...], list[tuple[type, str]]] = {}
    pending: list[tuple[str, dict[tuple[str, ...], list[tuple[type, str]]]]] = []
    for number, name in enumerate(names):
        below = [path[1:] for path in paths if path[0] == name and len(path) > 1]
        kind: Any = Any
        if below:
            inner, deeper = _shape(below)
            kind = inner | str | int | float | bool | list[Any] | None
            pending.append((f"f{number}", {(name, *rest): steps for rest, steps in deeper.items()}))
        fields.append((f"f{number}", kind, None))
    rename = {f"f{number}": name for number, name in enumerate(names)}
    shape = msgspec.defstruct("Shape", fields, rename=rename, gc=False)
    for number, name in enumerate(names):
        attributes[(name,)] = [(shape, f"f{number}")]
    for attribute, deeper in pending:
        attributes |= {path: [(shape, attribute), *steps] for path, steps in deeper.items()}
    return shape, attributes
