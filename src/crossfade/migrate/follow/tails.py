"""Where logs ended when they were last read, so that what was appended since can be read without what was there before.

A log goes on where it ended if it is the same file (inode), is not shorter, and its last record still stands where it stood.
A change further up in place is not seen here: whoever proves a tree reads it all (``scrub``).
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from crossfade.model.digests import Segment
from crossfade.model.entries import SEGMENT, Signature

_KEPT = 4096
_LONGEST = 1 << 16


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


@dataclass(frozen=True)
class Tail:
    """How a log ended: its inode, its last whole record and where that starts, where it ends, and the digest up to there."""

    inode: int
    start: int
    record: bytes = field(repr=False)
    end: int
    growing: Growing = field(repr=False)

    def goes_on(self, signature: Signature | None) -> bool:
        """True where a file with this signature may be the same log, grown."""
        return signature is not None and signature.inode == self.inode and signature.size >= self.end


class Tails:
    """Those of the logs that were read last."""

    def __init__(self, kept: int = _KEPT) -> None:
        self._kept = kept
        self._tails: OrderedDict[bytes, Tail] = OrderedDict()

    def find(self, path: bytes) -> Tail | None:
        """How the log at *path* ended, if that is known."""
        if path in self._tails:
            self._tails.move_to_end(path)
        return self._tails.get(path)

    def keep(self, path: bytes, tail: Tail | None) -> None:
        """The log at *path* ends like this now; None: it is not known any more."""
        if tail is None:
            self._tails.pop(path, None)
            return
        self._tails[path] = tail
        self._tails.move_to_end(path)
        if len(self._tails) > self._kept:
            self._tails.popitem(last=False)


def last_record(data: bytes) -> bytes:
    """The last whole line of *data*, which ends with one; empty where it is too long to be remembered."""
    record = data[data.rfind(b"\n", 0, len(data) - 1) + 1 :]
    return record if len(record) <= _LONGEST else b""
