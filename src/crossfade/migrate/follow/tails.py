"""Where logs ended when they were last read, so that what was appended since can be read without what was there before.

A log goes on where it ended if it is the same file (inode), is longer, and its last record still stands where it stood. One
that was touched and is no longer is read as a whole. A change further up in a log that grew as well is not seen here:
``rereading`` finds it.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from crossfade.model.digests import Growing
from crossfade.model.entries import Signature

_KEPT = 4096
_LONGEST = 1 << 16


@dataclass(frozen=True)
class Tail:
    """How a log ended: its inode and time, its last whole record and where that starts, where it ends, and the digest up to there."""

    inode: int
    mtime_ns: int
    start: int
    record: bytes = field(repr=False)
    end: int
    growing: Growing = field(repr=False)

    def goes_on(self, signature: Signature | None) -> bool:
        """True where a file with this signature may be the same log, grown."""
        if signature is None or signature.inode != self.inode:
            return False
        return signature.size > self.end or (signature.size, signature.mtime_ns) == (self.end, self.mtime_ns)


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

    def move(self, moved: dict[bytes, bytes]) -> None:
        """Logs stand elsewhere now: their new paths by the old ones."""
        held = {new: self._tails.pop(old, None) for old, new in moved.items()}
        for path, tail in held.items():
            self.keep(path, tail)

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
