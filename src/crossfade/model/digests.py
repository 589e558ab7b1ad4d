"""Digests that every store computes identically, and incrementally.

A **segment** is the bytes of the records (or pieces of a long record) that start in one ``SEGMENT`` stretch of an entry;
its digest is their SHA-256. An entry's digest is the SHA-256 over its segments' digests, in order. In a database a segment
is one aggregate; on a file system it is one read; either way only 32 bytes travel.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from crossfade.model.entries import SEGMENT

EMPTY = hashlib.sha256(b"").digest()


class Segment(msgspec.Struct, frozen=True, gc=False):
    """One segment of an entry: its number, the offset of its first byte, its size in bytes, and its SHA-256."""

    number: int
    offset: int
    size: int
    digest: bytes


def digest_of(segments: Iterable[Segment]) -> bytes:
    """The digest of the entry that consists of *segments*, in order."""
    whole = hashlib.sha256()
    for segment in segments:
        whole.update(segment.digest)
    return whole.digest()


class Digester:
    """Folds an entry's bytes into segments, as they pass by.

    Each :meth:`add` takes bytes whose records all start in one segment, which is how ``cut`` delivers them. To continue an
    entry, hand over the segments that are already whole.
    """

    def __init__(self, segments: tuple[Segment, ...] = ()) -> None:
        self.segments = list(segments)
        self._reported = len(segments)
        self._number = -1
        self._offset = 0
        self._size = 0
        self._hash: Any = None

    def add(self, offset: int, data: bytes) -> None:
        """Take the next bytes; *offset* must be where the last ones ended."""
        number = offset // SEGMENT
        if number != self._number:
            self._close()
            self._number, self._offset, self._size, self._hash = number, offset, len(data), hashlib.sha256(data)
            return
        assert offset == self._offset + self._size, "bytes must arrive in order, without a gap"
        self._size += len(data)
        self._hash.update(data)

    def finish(self) -> bytes:
        """No more bytes: the digest of the whole entry."""
        self._close()
        return digest_of(self.segments)

    def fresh(self) -> tuple[Segment, ...]:
        """The segments that became whole since the last call."""
        new = tuple(self.segments[self._reported :])
        self._reported = len(self.segments)
        return new

    def _close(self) -> None:
        if self._size:
            self.segments.append(Segment(self._number, self._offset, self._size, self._hash.digest()))
        self._number, self._size = -1, 0


class Growing:
    """The digest of an entry that grows: all whole segments folded into one hash, the last one open."""

    def __init__(self) -> None:
        self._whole = hashlib.sha256()
        self._number = -1
        self._offset = 0
        self._size = 0
        self._hash = hashlib.sha256()

    @classmethod
    def after(cls, segments: Sequence[Segment]) -> Growing:
        """That of an entry which begins with *segments*, all of them whole."""
        growing = cls()
        for segment in segments:
            growing._whole.update(segment.digest)
        return growing

    def fork(self) -> Growing:
        """Another one in the same state."""
        new = object.__new__(Growing)
        new.__dict__.update(self.__dict__, _whole=self._whole.copy(), _hash=self._hash.copy())
        return new

    @property
    def size(self) -> int:
        """How many bytes it has taken."""
        return self._offset + self._size

    def add(self, offset: int, data: bytes) -> tuple[Segment, ...]:
        """Take the next bytes, whose records start in one segment; the segment that became whole by that, if any."""
        closed = self.last() if offset // SEGMENT != self._number else ()
        if offset // SEGMENT != self._number:
            for segment in closed:
                self._whole.update(segment.digest)
            self._number, self._offset, self._size, self._hash = offset // SEGMENT, offset, 0, hashlib.sha256()
        assert offset == self._offset + self._size, "bytes must arrive in order, without a gap"
        self._size += len(data)
        self._hash.update(data)
        return closed

    def last(self) -> tuple[Segment, ...]:
        """The open segment as it stands."""
        return (Segment(self._number, self._offset, self._size, self._hash.digest()),) if self._size else ()

    def digest(self) -> bytes:
        """The digest of all bytes so far."""
        whole = self._whole.copy()
        for segment in self.last():
            whole.update(segment.digest)
        return whole.digest()
