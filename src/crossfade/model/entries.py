"""Entries: a path with what stands at it.

An entry is a regular file, a directory or a symbolic link under the root. A file's content is the concatenation of its
records' bodies in offset order, in every store; everything that crossfade promises follows from that.
"""

from __future__ import annotations

import hashlib
from typing import Any, Literal

import msgspec

from crossfade.model.kinds import Form

Type = Literal["file", "dir", "link", "gone"]

SEGMENT = 1 << 20
"""Bytes of an entry that share one digest: the records that *start* in one such stretch (docs/decisions/0003)."""

RECORD_LIMIT = 16 << 20
"""A longer record is carried in pieces of ``SEGMENT`` bytes and has no promoted columns."""


class Signature(msgspec.Struct, frozen=True, gc=False):
    """What a file system says of a file without reading it. Equal signatures mean: not touched since."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One path of the moved set. A ``gone`` one is a tombstone: what was removed, and is not forgotten. Frozen; ``size`` counts the bytes that are there, in this store, now.

    ``kind`` names the kind of a file's records and is empty for directories and links. ``mode`` is the permission
    bits. ``within`` is the offset of a long record that ends after ``size``. ``digest`` is set where the store knows it without reading (see ``digests``). ``complete`` is false while a
    copy of it is under way. ``signature`` is what the file system says, or said when the copy was made. ``marked``
    is the digest of what the entry held then (``content_of``). ``row`` is the store's own name for the entry, where it has one.
    """

    path: bytes
    type: Type = "file"
    kind: str = ""
    form: Form = "blob"
    size: int = 0
    mode: int = 0o644
    mtime_ns: int = 0
    link: bytes = b""
    generation: int = 1
    digest: bytes | None = None
    complete: bool = True
    unstable: bool = False
    signature: Signature | None = None
    records: int = 0
    raws: int = 0
    within: int | None = None
    marked: bytes | None = None
    row: int = 0


def altered(entry: Entry, **changes: Any) -> Entry:
    """*entry* with *changes*."""
    return msgspec.structs.replace(entry, **changes)


def content_of(entry: Entry) -> bytes | None:
    """The digest of what *entry* holds, as far as it says; a link's is that of its text, and a directory has none."""
    return hashlib.sha256(entry.link).digest() if entry.type == "link" else entry.digest


def state_of(entry: Entry | None) -> object:
    """All by which it shows that somebody wrote an entry of a store that numbers its generations; None for no entry."""
    return entry and (entry.type, entry.generation, entry.size, entry.mode, entry.mtime_ns, entry.link, entry.digest)


def same_metadata(one: Entry, other: Entry) -> bool:
    """True when type, mode, time and link text agree. A link's own mode is not kept (Linux has none)."""
    if one.type != other.type or one.link != other.link or one.mtime_ns != other.mtime_ns:
        return False
    return one.type == "link" or one.mode == other.mode
