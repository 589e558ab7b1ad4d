"""Paths are bytes: relative to the root, ``/`` between names, no leading or trailing slash; ``b""`` is the root itself.

Two renderings, both reversible:

* the **key** puts a NUL where the slash was. Names never hold NUL, so keys compare, byte by byte, in the order of a
  depth-first walk (``a``, ``a/x``, ``a.b``). Stores sort by it, whatever their locale.
* the **text** is for people and SQL: UTF-8 as it is, with backslashes, control characters and bytes that are not UTF-8
  written as ``\\xNN`` (a backslash as ``\\\\``).
"""

from __future__ import annotations

import re

_ESCAPE = re.compile(r"[\\\x00-\x1f\x7f\udc80-\udcff]")
_UNESCAPE = re.compile(r"\\(?:x([0-9a-f]{2})|\\)")
_LEAVES = re.compile(rb"(?:\A|/)\.{0,2}(?:/|\Z)|\0").search


def key_of(path: bytes) -> bytes:
    """The sort key: NUL for each slash."""
    return path.replace(b"/", b"\0")


def path_of(key: bytes) -> bytes:
    """The path of a sort key."""
    return key.replace(b"\0", b"/")


def text_of(path: bytes) -> str:
    """A printable form that :func:`from_text` reads back."""
    text = path.decode("utf-8", "surrogateescape")
    return text if text.isascii() and text.isprintable() and "\\" not in text else _ESCAPE.sub(_escape, text)


def from_text(text: str) -> bytes:
    """The bytes behind :func:`text_of`."""
    return b"".join(_unescape(part) for part in re.split(r"(\\x[0-9a-f]{2}|\\\\)", text))


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    return "\\\\" if character == "\\" else f"\\x{ord(character) & 0xFF:02x}"


def _unescape(part: str) -> bytes:
    match = _UNESCAPE.fullmatch(part)
    if match is None:
        return part.encode()
    return bytes.fromhex(match[1]) if match[1] else b"\\"


def parent_of(path: bytes) -> bytes:
    """The directory that holds *path*; the root for a top-level name."""
    return path.rpartition(b"/")[0]


def ancestors_of(path: bytes) -> list[bytes]:
    """The directories above *path*, the nearest first, the root not among them."""
    above = []
    while path := parent_of(path):
        above.append(path)
    return above


def is_below(path: bytes, directory: bytes) -> bool:
    """True for what lies in *directory*, at any depth. Everything is below the root, for which ``b""`` stands, itself included."""
    return not directory or path.startswith(directory + b"/")


def leaves_root(path: bytes) -> bool:
    """True for anything that could name a place outside the root, or no place at all: an empty part, `.`, `..`, a zero byte."""
    return _LEAVES(path) is not None
