"""Records: which bytes are safe JSON, and what is promoted out of them.

One pure rule decides between ``json`` and ``raw``, stricter than any server we support: strict UTF-8, strict JSON
(RFC 8259), nesting of at most 512, no ``\\u0000``, no lone surrogate. So a server never refuses what we call JSON, and
``body->>'x'`` never raises.

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
from crossfade.model.promotion import Bound, ConvertAll, Promotion

DEPTH_LIMIT = 512

Values = Sequence[Any]
"""One value a column, None where nothing was found: str, int, bool, or microseconds since 2000 for a timestamp."""

_UNICODE_ESCAPE = re.compile(rb"\\(?:u([0-9a-fA-F]{4})|.)", re.DOTALL)
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_BRACKET = re.compile(rb"[\[\]{}]")
_FLAT = 2 * DEPTH_LIMIT
"""Bytes in which brackets cannot be nested too deeply, since each that opens must close."""

_PIECE = 32 << 10
"""Bytes of lines that are read together: so few that the processor has them at hand, and that one hazard matters to few."""

_UNUSUAL = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError)
"""What the typed decode says of what it does not take."""

_HAZARD = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")


class Lines(msgspec.Struct, gc=False):
    """Some lines of a log: their bytes, why they are raw (None where none is), and their values, column by column."""

    lines: list[bytes]
    reasons: list[str | None] | None
    columns: list[list[Any]]


class Reader:
    """Reads records of one kind; never raises on any bytes.

    *convert* makes, for a column, the function from a JSON value to whatever the caller wants of it, None for nothing;
    *convert_all*, the same for many values at once, where there is a quicker way than one by one; *nothing* stands for a
    column without a value. So a database can have its columns ready to send, in the same pass.
    """

    def __init__(
        self,
        kind: Kind,
        convert: Callable[[Column], Convert] = converter,
        nothing: Any = None,
        convert_all: Callable[[Column], ConvertAll | None] = lambda _: None,
    ) -> None:
        self.kind = kind
        self._nothing = nothing
        self._columns = [(column.sources, convert(column)) for column in kind.columns]
        self._captures = [(s[1:-1], convert) for sources, convert in self._columns for s in sources if s[0] == "{"]
        many = [
            convert_all(column) or _one_by_one(one) for column, (_, one) in zip(kind.columns, self._columns, strict=True)
        ]
        self._promote = Promotion([(c.sources, every) for c, every in zip(kind.columns, many, strict=True)], nothing)
        self._decode: Callable[[bytes], Any] = msgspec.json.Decoder(self._promote.shape).decode
        self._blank = self._promote.shape()

    def bind(self, captures: dict[str, str]) -> Bound:
        """What an entry's path contributes: worked out once, not once a record."""
        found = ((captures.get(capture), convert) for capture, convert in self._captures)
        return [None if value is None else convert(value) for value, convert in found]

    def read(self, data: bytes, captures: dict[str, str], *, suspect: bool) -> tuple[str | None, Values]:
        """(reason, values): *reason* is None for safe JSON, else why the record is raw.

        *suspect* says that the block around it holds an escape that could be a NUL or a lone surrogate, or bytes that are
        not UTF-8; see :func:`suspicious`.
        """
        return self.read_bound(data, self.bind(captures), suspect=suspect)

    def read_bound(self, data: bytes, bound: Bound, *, suspect: bool) -> tuple[str | None, Values]:
        """As ``read``, with captures that are worked out already."""
        reason, top, values = self._decoded(data, bound, suspect=suspect)
        return reason, [value for (value,) in self._promote([top], [bound])] if values is None else values

    def read_pieces(self, data: bytes, bound: Bound) -> Iterator[Lines]:
        """The lines of *data*, a few at a time: the inner loop of every copy. A few, because they are at hand then."""
        for piece in _pieces(data):
            lines = split_lines(piece)
            bounds = [bound] * len(lines)
            yield self._read_plain(piece, lines, bounds) or self._read_each(lines, bounds)

    def read_documents(self, documents: list[bytes], bounds: list[Bound]) -> Lines:
        """Documents, each with what its own path contributes, as if they were lines."""
        piece = b"\n".join(documents)
        return self._read_plain(piece, documents, bounds) or self._read_each(documents, bounds)

    def _read_plain(self, piece: bytes, lines: list[bytes], bounds: list[Bound]) -> Lines | None:
        """The lines of *piece*, if all of them are what nearly all are; else None."""
        try:
            if _may_be_plain(piece, lines):
                return Lines(lines, None, self._promote(list(map(self._decode, lines)), bounds))
        except _UNUSUAL:
            pass
        return None

    def _read_each(self, lines: list[bytes], bounds: list[Bound]) -> Lines:
        """*lines*, some of which may be anything: those go their own way, and the others together."""
        found = [self._decoded(line, bound, suspect=True) for line, bound in zip(lines, bounds, strict=True)]
        columns = self._promote([top for _, top, _ in found], bounds)
        for number, (_, _, values) in enumerate(found):
            for column, value in zip(columns, values or (), strict=values is not None):
                column[number] = value
        return Lines(lines, [reason for reason, _, _ in found], columns)

    def _decoded(self, data: bytes, bound: Bound, *, suspect: bool) -> tuple[str | None, Any, Values | None]:
        """(reason, record, values): the values only of a record that the typed decode must not, or cannot, take."""
        reason = (_hazard(data) if suspect else None) or ("depth" if _is_deep(data) else None)
        if reason is not None:
            return reason, self._blank, self._tolerant(data, bound)
        try:
            return None, self._decode(data), None
        except _UNUSUAL:
            reason, values = self._slow(data, bound)
            return reason, self._blank, values

    def _slow(self, data: bytes, bound: Bound) -> tuple[str | None, Values]:
        """What the typed decode does not take: JSON that is no object, numbers out of range, or no JSON at all."""
        try:
            value = json.loads(data.decode(), parse_constant=_refuse, parse_int=_integer)
        except (ValueError, RecursionError):
            return _why_not(data), self._tolerant(data, bound)
        return None, self._of_value(value, bound)

    def _tolerant(self, data: bytes, bound: Bound) -> Values:
        """Columns of a raw record, where a forgiving reading finds them: last duplicate wins, a garbage tail is ignored.

        What is nested too deeply is not read at all: how deep a parser can go differs from one to the next.
        """
        if _is_deep(data):
            return self.unread(bound)
        try:
            value, _ = _FORGIVING.raw_decode(data.decode("utf-8", "replace").lstrip("\ufeff \t\r\n"))
        except (ValueError, RecursionError):
            value = None
        return self._of_value(value, bound)

    def unread(self, bound: Bound) -> Values:
        """The columns of a record whose bytes are not read: what the path alone tells."""
        return self._of_value(None, bound)

    def _of_value(self, top: Any, bound: Bound) -> Values:
        captured = iter(bound)
        return [
            self._first([next(captured) if s[0] == "{" else convert(_descend(top, s[1:].split("/"))) for s in sources])
            for sources, convert in self._columns
        ]

    def _first(self, found: Iterable[Any]) -> Any:
        return next((value for value in found if value is not None), self._nothing)


def _one_by_one(convert: Convert) -> ConvertAll:
    return lambda values: [None if value is None else convert(value) for value in values]


def suspicious(data: bytes) -> bool:
    """True when some record in *data* may be hazardous. One look at a block spares a look at each record."""
    if b"\\u" in data and _HAZARD.search(data):
        return True
    return not _is_utf8(data)


def split_lines(data: bytes) -> list[bytes]:
    """The lines of *data*, endings included. Only ``\\n`` ends a line."""
    if b"\r" not in data:
        return data.splitlines(keepends=True)
    lines = [line + b"\n" for line in data.split(b"\n")]
    lines[-1] = lines[-1][:-1]
    return lines if lines[-1] else lines[:-1]


def _pieces(data: bytes) -> Iterator[bytes]:
    """*data* in pieces of whole lines, each of about ``_PIECE`` bytes, or one line that is longer."""
    start = 0
    while start < len(data):
        end = data.find(b"\n", start + _PIECE) + 1 or len(data)
        yield data[start:end]
        start = end


def _may_be_plain(piece: bytes, lines: list[bytes]) -> bool:
    """True where no line of *piece* has a hazard that a decoder of JSON would not see. Raises UnicodeDecodeError for others."""
    if b"\\u" in piece and _HAZARD.search(piece):
        return False
    if not piece.isascii():
        b"".join(line for line in lines if not line.isascii()).decode()  # a newline is between any two
    return not any(_is_deep(line) for line in lines if len(line) > _FLAT)


def _hazard(data: bytes) -> str | None:
    """Why a record that may be JSON must not be stored as JSON; None when it may."""
    if not _is_utf8(data):
        return "utf8"
    if b"\\u" in data and _HAZARD.search(data) and (reason := _bad_escape(data)):
        return reason
    return None


def _is_deep(data: bytes) -> bool:
    """True where brackets are nested deeper than ``DEPTH_LIMIT``."""
    if len(data) <= _FLAT or data.count(b"[") + data.count(b"{") <= DEPTH_LIMIT:
        return False
    return _depth(data) > DEPTH_LIMIT


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


def _integer(digits: str) -> int | None:
    """An integer, or nothing where no column can hold it: Python itself refuses very long ones, which are JSON all the same."""
    return int(digits) if len(digits) <= _DIGITS_MAX else None


_DIGITS_MAX = 100
_FORGIVING = json.JSONDecoder(strict=False, parse_int=_integer)


def _descend(value: Any, names: list[str]) -> Any:
    for name in names:
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value
