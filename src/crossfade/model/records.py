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
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import msgspec

from crossfade.model.columns import Convert, converter
from crossfade.model.kinds import Column, Kind
from crossfade.model.promotion import Bound, compile_promotion

DEPTH_LIMIT = 512

Values = Sequence[Any]
"""One value a column, None where nothing was found: str, int, bool, or microseconds since 2000 for a timestamp."""

_UNICODE_ESCAPE = re.compile(rb"\\(?:u([0-9a-fA-F]{4})|.)", re.DOTALL)
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_BRACKET = re.compile(rb"[\[\]{}]")
_HAZARD = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")


class Reader:
    """Reads records of one kind; never raises on any bytes.

    *convert* makes, for a column, the function from a JSON value to whatever the caller wants of it, None for nothing;
    *nothing* stands for a column without a value. So a database can have its columns ready to send, in the same pass.
    """

    def __init__(self, kind: Kind, convert: Callable[[Column], Convert] = converter, nothing: Any = None) -> None:
        self.kind = kind
        self._nothing = nothing
        self._columns = [(column.sources, convert(column)) for column in kind.columns]
        self._unbound: Bound = [[None] * len(sources) for sources, _ in self._columns]
        self._captures = [
            (number, index, source[1:-1], convert)
            for number, (sources, convert) in enumerate(self._columns)
            for index, source in enumerate(sources)
            if source[0] == "{"
        ]
        pointers = sorted({s for column in kind.columns for s in column.sources if s.startswith("/")})
        self._promote, shape = compile_promotion(self._columns, pointers, nothing)
        self._decode: Callable[[bytes], Any] = msgspec.json.Decoder(shape).decode

    def bind(self, captures: dict[str, str]) -> Bound:
        """What an entry's path contributes: worked out once, not once a record."""
        if not self._captures:
            return self._unbound
        bound = [list(values) for values in self._unbound]
        for column, index, capture, convert in self._captures:
            found = captures.get(capture)
            bound[column][index] = None if found is None else convert(found)
        return bound

    def read(self, data: bytes, captures: dict[str, str], *, suspect: bool) -> tuple[str | None, Values]:
        """(reason, values): *reason* is None for safe JSON, else why the record is raw.

        *suspect* says that the block around it holds an escape that could be a NUL or a lone surrogate, or bytes that are
        not UTF-8; see :func:`suspicious`.
        """
        return self.read_bound(data, self.bind(captures), suspect=suspect)

    def read_bound(self, data: bytes, bound: Bound, *, suspect: bool) -> tuple[str | None, Values]:
        """As ``read``, with captures that are worked out already."""
        if suspect or len(data) > 2 * DEPTH_LIMIT:
            reason = _hazard(data)
            if reason is not None:
                return reason, self._tolerant(data, bound)
        try:
            return None, self._promote(self._decode(data), bound)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            return self._slow(data, bound)

    def _slow(self, data: bytes, bound: Bound) -> tuple[str | None, Values]:
        """What the typed decode does not take: JSON that is no object, numbers out of range, or no JSON at all."""
        try:
            value = json.loads(data.decode(), parse_constant=_refuse)
        except (ValueError, RecursionError):
            return _why_not(data), self._tolerant(data, bound)
        return None, self._of_value(value, bound)

    def _tolerant(self, data: bytes, bound: Bound) -> Values:
        """Columns of a raw record, where a forgiving reading finds them: last duplicate wins, a garbage tail is ignored."""
        try:
            value, _ = _FORGIVING.raw_decode(data.decode("utf-8", "replace").lstrip("\ufeff \t\r\n"))
        except (ValueError, RecursionError):
            value = None
        return self._of_value(value, bound)

    def unread(self, bound: Bound) -> Values:
        """The columns of a record whose bytes are not read: what the path alone tells."""
        return self._of_value(None, bound)

    def _of_value(self, top: Any, bound: Bound) -> Values:
        return [
            self._first(zip(sources, from_path, strict=True), convert, top)
            for (sources, convert), from_path in zip(self._columns, bound, strict=True)
        ]

    def _first(self, sources: Iterable[tuple[str, Any]], convert: Convert, top: Any) -> Any:
        for source, from_path in sources:
            found = from_path if source[0] == "{" else convert(_descend(top, source[1:].split("/")))
            if found is not None:
                return found
        return self._nothing


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


def _descend(value: Any, names: list[str]) -> Any:
    for name in names:
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value
