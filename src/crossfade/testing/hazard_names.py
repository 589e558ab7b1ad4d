"""Hazards in names: what a path may be called.

Names are bytes. They are for file systems that keep names as they are (ext4, xfs, btrfs, tmpfs).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

NAMES: tuple[bytes, ...] = (
    b"with space", b" leading", b"trailing ", b" ", b"two  spaces", b"new\nline", b"\n", b"tab\there", b"cr\rhere",
    b"bell\x07", b"esc\x1b[31m", b"del\x7f", b"\x01", b"apostrophe'", b'quote"', b"both'\"", b"`tick`", b"back\\slash",
    b"\\", b"\\x41", b"\\N", b"\\.", b"a\\", b"percent%", b"%00", b"%2F", b"..%2Fx", b"a%20b", b"100%s", b"{repo}",
    b"{}", b"star*", b"what?", b"[set]", b"[!a]", b"**", b"$HOME", b"~", b"~root", b"#hash", b"semi;colon", b"a|b",
    b"a&b", b"<x>", b"a,b", b"a:b", b"C:", b"CON", b"nul", b"dot.", b"-", b"--", b"-rf", b"--help", b"=1+1", b"@x",
    b"'; DROP TABLE entries; --", b"...", b"..", b".", b"..x", b"x..", b"a..b", b".hidden", b"a.json", b"a.json.json",
    b"a.b", b"a-b", b"a b", b"a\x01b", b"a", b"A", b"Case", b"case", b"0", b"007", b"null", b"None", b"true", b"+1",
    "caf\u00e9".encode(), "cafe\u0301".encode(), "\u212b".encode(), "\u00c5".encode(), "Straße".encode(), "İı".encode(),
    "한글".encode(), "日本語".encode(), "שלום".encode(), "مرحبا".encode(), "\u202egnp.txt".encode(), "\u200b".encode(),
    "\ufeff".encode(), "\u2028".encode(), "\u00a0".encode(), "\u0085".encode(), "😀".encode(), "👩‍👩‍👧".encode(),
    "\U0010ffff".encode(), "\uffff".encode(), b"\xff", b"\xff\xfe", b"caf\xe9", b"\x80", b"\xc0\xaf", b"\xc0\x80",
    b"\xed\xa0\x80", b"\xed\xa0\xbd\xed\xb8\x80", b"\xf4\x90\x80\x80", b"cut\xe2\x82", b"\xfe mixed \xc3\xa9",
)  # fmt: skip
"""Stems; ``.json`` is added, so that ``..`` and an empty stem are lawful names."""

LONG = 255
"""The longest name that Linux holds, in bytes."""

DEPTHS = (2_000, 3_000)
"""Lengths of deep paths; the second does not fit into an index entry of PostgreSQL (2,704 bytes), nor compresses."""


def stems() -> Iterator[tuple[bytes, bytes]]:
    """Every name as a document, a blob, and a directory with a log in it."""
    for number, stem in enumerate((*NAMES, b"")):
        yield b"sessions/" + stem + b".json", b'{"id": %d}' % number
        yield b"templates/" + stem + b".yml", b"number: %d\n" % number
        yield b"events/names/j" + stem + b"/events-20251116_101500.jsonl", b'{"id":"%d"}\n' % number


def bare() -> Iterator[tuple[bytes, bytes]]:
    """Every name that may stand alone, with nothing before or after it."""
    for stem in NAMES:
        if stem not in (b".", b".."):
            yield b"orphaned_worktrees/" + stem, b"[]"


def long() -> Iterator[tuple[bytes, bytes]]:
    """Names of 255 bytes: ASCII, three bytes a character, and not UTF-8."""
    for number, letter in enumerate((b"n", "語".encode(), b"\xff")):
        room = LONG - len(b".json")
        stem = (letter * room)[: room - room % len(letter)].ljust(room, b"_")
        yield b"sessions/" + stem + b".json", b'{"id": %d}' % number
        yield b"events/" + stem + b".json/job/events-20251116_101500.jsonl", b'{"id":"%d"}\n' % number


def deep() -> Iterator[tuple[bytes, bytes]]:
    """Long chains of directories, of names that do not compress, and of one letter."""
    for depth in DEPTHS:
        path = b"state"
        while len(path) < depth - 80:
            path += b"/" + hashlib.sha256(path).hexdigest().encode()
        yield path + b"/deep.checkpoint.json", b'{"workflow_id": "deep"}'
    yield b"state/" + b"d/" * 500 + b"deep.checkpoint.json", b'{"workflow_id": "narrow"}'


def nested_ids() -> Iterator[tuple[bytes, bytes]]:
    """Ids that hold slashes became directories; a directory may be named like a session, or like a file."""
    items = b"dlq/repo/job-1/mapreduce/dlq/job-1/items/"
    for path in (b"src/lib.rs", b"src/main.json/x", b"a/.../b", b"a/..%2Fx", b"src/a b/\xff", b"..."):
        yield items + path + b".json", b'{"item_id": "nested"}'
    yield b"sessions/session-1.json", b'{"id": "session-1"}'
    yield b"sessions/session-1/checkpoint.json", b'{"workflow_id": "session-1"}'
    yield b"sessions/session-2.json/inside.json", b'{"id": "session-2.json/inside"}'
    yield b"dlq/job-1/item_3.json", b'{"id": "item_3", "job_id": "job-1", "retry_count": 2}'
    yield b"checkpoints/cp-0007.json", b'{"id": "cp-0007", "workflow_id": "w", "step_index": 2}'
    yield b"events_archive/job-1/event_20250918_073652_123456789.jsonl", b'{"id":"1"}\n'


def order() -> Iterator[tuple[bytes, bytes]]:
    """Names whose order changes with the way of sorting: a directory ``a`` beside ``a.b``, ``a b`` and ``a!``."""
    for path in (b"a/x", b"a.b", b"a b", b"a!", b"a\x01", b"a0", b"B", b"_", b"a-/x", b"a/x.y", "ä".encode(), b"\xff"):
        yield b"workflows/order/" + path, b""


TABLES = (stems, bare, long, deep, nested_ids, order)
"""Every theme; together they are all of this file."""
