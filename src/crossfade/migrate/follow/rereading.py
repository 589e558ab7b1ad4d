"""Reading logs again from their beginning that were followed by their ends alone: an edit further up shows nowhere else."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from crossfade.errors import GateShut
from crossfade.migrate.follow.earlier import Earlier
from crossfade.model.digests import Segment
from crossfade.model.entries import SEGMENT, Entry
from crossfade.store.port import Span, Store

SHARE = 0.05
"""Of the processors' share of following."""

_STILL_SECONDS = 10.0
_LONG_SECONDS = 600.0
"""After so long a log is read that is never still."""

_FRESH_SECONDS = 60.0
"""For how long a log that goes on growing need not be read again before a hand-over."""

_MOST = 50_000

_SLICE_SECONDS = 0.02
_TOGETHER = 4


@dataclass(frozen=True)
class _Log:
    """One that is being read: as *source* and *target* have it, and the segments by the target's books that are left."""

    source: Entry
    target: Entry
    left: Iterator[Segment]
    grew: _Grew


@dataclass(frozen=True)
class _Grew:
    """When a log grew that was read whole until then: by a clock that nobody sets, and by the server's."""

    at: float
    since: datetime


class Rereading:
    """Knows which logs of *source*, files, grew by their ends, and compares them with what *target*, a database, says they are.

    *pace* says, for a piece of work that took so long, how long to rest after it; *clock* what time it is at the server. For
    the thread that brings.
    """

    def __init__(self, source: Store, target: Store, pace: Callable[[float], float], clock: Callable[[], datetime]) -> None:
        self._source = source
        self._target = target
        self._pace = pace
        self._clock = clock
        self._grown: OrderedDict[bytes, float] = OrderedDict()
        self._since: dict[bytes, _Grew] = {}
        self._earlier: Earlier | None = None
        self._read_at: dict[bytes, float] = {}
        self._log: _Log | None = None
        self._due = 0.0

    def grew(self, path: bytes) -> bool:
        """The log at *path* grew, and only what is new will be read. False where too many wait: then it must be read whole."""
        if path not in self._grown and len(self._grown) >= _MOST:
            return False
        self._owe(path, _Grew(time.monotonic(), self._clock()))
        return True

    def recall(self, earlier: Earlier | None) -> None:
        """Also read whole what an earlier run may not have."""
        self._earlier = earlier

    @property
    def position(self) -> datetime:
        """What logs had before then, by the server's clock, was read whole."""
        grew = [*self._since.values(), *([self._log.grew] if self._log is not None else [])]
        since = [self._earlier.since] if self._earlier is not None else []
        return min((*since, *(each.since for each in grew)), default=self._clock())

    def _next_earlier(self) -> bytes | None:
        """One more of those; None where there is none left."""
        if self._earlier is None:
            return None
        path = self._earlier.next()
        if path is not None and path in self._grown:
            self._since[path] = replace(self._since[path], since=self._earlier.since)
        elif path is not None:
            self._owe(path, _Grew(time.monotonic(), self._earlier.since))
        self._earlier = None if self._earlier.is_over() else self._earlier
        return path

    def _owe(self, path: bytes, grew: _Grew) -> None:
        self._since.setdefault(path, grew)
        self._grown[path] = time.monotonic()
        self._grown.move_to_end(path)

    def turn(self, now: float) -> list[bytes]:
        """Read on a little of what has been still for a while; the paths of logs that are not what they were."""
        if now < self._due:
            return []
        found = self._read_until(now + _SLICE_SECONDS, lambda: self._first(now))
        self._due = time.monotonic() + self._pace(time.monotonic() - now)
        return found

    def rush(self, until: float) -> tuple[list[bytes], bool]:
        """The same for all of them, without a rest; with whether none is left that was not read lately."""
        found = self._read_until(until, self._stalest)
        return found, self._log is None and self._earlier is None and self._stalest() is None

    def settle(self, until: float) -> tuple[list[bytes], bool]:
        """The same for the last time, with those that were read lately: between two runs nobody looks."""
        found = self._read_until(until, lambda: self._next_earlier() or next(iter(self._grown), None))
        return found, not self.owed

    @property
    def owed(self) -> int:
        """How many logs grew since they were read."""
        return len(self._grown) + (self._log is not None) + (self._earlier is not None)

    def _read_until(self, until: float, choose: Callable[[], bytes | None]) -> list[bytes]:
        """Read what *choose* names, until that is nothing, or cannot be read; the paths of logs that are not what they were.

        What cannot be read just now holds up no other one: it ends this where it is named for the second time.
        """
        found: list[bytes] = []
        passed: set[bytes] = set()
        while time.monotonic() < until and (self._log is not None or self._take(choose(), passed)):
            try:
                found += self._read_on()
            except OSError:
                passed.add(self._put_off())
        return found

    def _put_off(self) -> bytes:
        """The log, whose path this gives, cannot be read just now: it is owed, and a hand-over waits for it."""
        log, self._log = self._log, None
        assert log is not None
        self._since.pop(log.source.path, None)
        self._owe(log.source.path, log.grew)
        return log.source.path

    def _first(self, now: float) -> bytes | None:
        """One of an earlier run; or the log that has been still for the longest time, if it has for a while; or one not read for long."""
        if (path := self._next_earlier()) is not None:
            return path
        path = next(iter(self._grown), None)
        if path is None or self._grown[path] <= now - _STILL_SECONDS:
            return path
        path = next(iter(self._since))
        return path if self._since[path].at <= now - _LONG_SECONDS else None

    def _stalest(self) -> bytes | None:
        """One of an earlier run, or that was not read for a while."""
        if (path := self._next_earlier()) is not None:
            return path
        stale = time.monotonic() - _FRESH_SECONDS
        return next((path for path in self._grown if self._read_at.get(path, stale) <= stale), None)

    def _take(self, path: bytes | None, passed: set[bytes]) -> bool:
        """Begin with the log at *path*; where it cannot be looked at just now, it is *passed*, and owed. False for none, or one of those.

        What is out of step, or no log any more, will be looked at anyway.
        """
        if path is None or path in passed:
            return False
        del self._grown[path]
        grew = self._since.pop(path)
        source = next(iter(self._source.look([path])), None)
        if source is None and self._source.hides(path, looked=True):
            self._owe(path, grew)
            passed.add(path)
            return True
        target = next(iter(self._target.look([path])), None)
        if source is not None and target is not None and _is_comparable(source, target):
            self._log = _Log(source, target, iter(self._books(target)), grew)
        return True

    def _books(self, target: Entry) -> Sequence[Segment]:
        return self._target.segments(target) if target.size > SEGMENT else [Segment(0, 0, target.size, b"")]

    def _read_on(self) -> list[bytes]:
        """Compare some more segments; the path, if one differs, and the books say what they said before."""
        log = self._log
        if log is None:
            return []
        some = [segment for _, segment in zip(range(_TOGETHER), log.left, strict=False)]
        weights = self._source.weigh([Span(log.source, segment.offset, segment.size) for segment in some])
        same = all(_is(segment, weight, log.target) for segment, weight in zip(some, weights, strict=True))
        if same and some:
            return []
        self._log = None
        self._read_at = {**self._fresh(), log.source.path: time.monotonic()}
        return [] if same or self._moved_on(log.target) else [log.source.path]

    def _fresh(self) -> dict[bytes, float]:
        stale = time.monotonic() - _FRESH_SECONDS
        return {path: at for path, at in self._read_at.items() if at > stale}

    def _moved_on(self, target: Entry) -> bool:
        now = next(iter(self._target.look([target.path])), None)
        return now is None or now.generation != target.generation


def check_reread(*, is_whole: bool) -> None:
    """Raises GateShut while some are still to be read."""
    if not is_whole:
        raise GateShut("logs that grew are being read again, from their beginnings; nothing was handed over", hint="wait")


def _is_comparable(source: Entry, target: Entry) -> bool:
    are_logs = source.type == target.type == "file" and target.form == "log" and target.complete
    return are_logs and target.digest is not None and source.size >= target.size


def _is(segment: Segment, weight: tuple[int, bytes], target: Entry) -> bool:
    """True where *segment* is what was weighed. A short entry's digest is that of its only segment, folded."""
    size, digest = weight
    if segment.digest:
        return (size, digest) == (segment.size, segment.digest)
    folded = hashlib.sha256(digest if size else b"").digest()
    return (size, folded) == (target.size, target.digest)
