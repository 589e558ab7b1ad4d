"""A store that tries again what may pass: with back-off and jitter, inside a deadline, telling each time.

A page is safe to repeat in every store: where a commit went unheard, the store below asks whether it happened. A read goes on
behind the last block that came through.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import stamina

from crossfade.model.changes import Block, Page
from crossfade.model.digests import Segment
from crossfade.model.entries import Entry
from crossfade.store.faults import passes
from crossfade.store.port import Applied, Reading, Store

T = TypeVar("T")


@dataclass(frozen=True)
class Patience:
    """How long to go on trying, and how long to wait between two tries at most. Seconds."""

    deadline_seconds: float = 300.0
    wait_seconds_max: float = 5.0


class Retrying:
    """*store*, patient. *tell* hears of every fault that is tried again, and may raise to end it."""

    def __init__(self, store: Store, patience: Patience, tell: Callable[[BaseException], None]) -> None:
        self._store = store
        self._patience = patience
        self._tell = tell
        self.location = store.location
        self.can = store.can
        self.layout = store.layout

    def entries(self, *, after: bytes | None = None, tombstones: bool = False) -> Iterator[Entry]:
        """As the store below, going on after a fault behind the last entry."""
        waits = _Waits(self._patience)
        while True:
            try:
                for entry in self._store.entries(after=after, tombstones=tombstones):
                    waits.begin()
                    after = entry.path
                    yield entry
            except Exception as error:
                if not self._is_passing(error) or not waits.wait():
                    raise
            else:
                return

    def look(self, paths: Sequence[bytes]) -> Iterator[Entry]:
        """As the store below; asked again as a whole."""
        yield from self._patiently(lambda: list(self._store.look(paths)))

    def read(self, readings: Sequence[Reading]) -> Iterator[Block]:
        """As the store below, going on after a fault where the last block ended."""
        left = list(readings)
        waits = _Waits(self._patience)
        while left:
            try:
                for block in self._store.read(tuple(left)):
                    waits.begin()
                    _advance(left, block)
                    yield block
            except Exception as error:
                if not self._is_passing(error) or not waits.wait():
                    raise

    def segments(self, entry: Entry) -> tuple[Segment, ...]:
        """As the store below."""
        return self._patiently(lambda: self._store.segments(entry))

    def apply(self, page: Page) -> Applied:
        """As the store below."""
        return self._patiently(lambda: self._store.apply(page))

    def digest(self, entries: Sequence[Entry]) -> Iterator[tuple[Entry, bytes]]:
        """As the store below, all of it at once."""
        return iter(self._patiently(lambda: list(self._store.digest(entries))))

    def close(self) -> None:
        """As the store below."""
        self._store.close()

    def _patiently(self, work: Callable[[], T]) -> T:
        for attempt in stamina.retry_context(
            on=self._is_passing,
            attempts=None,
            timeout=self._patience.deadline_seconds,
            wait_initial=0.1,
            wait_max=self._patience.wait_seconds_max,
            wait_jitter=0.5,
        ):
            with attempt:
                return work()
        raise AssertionError("stamina either returns or raises")

    def _is_passing(self, error: Exception) -> bool:
        if not passes(error):
            return False
        self._tell(error)
        return True


def _advance(left: list[Reading], block: Block) -> None:
    """What is left to read once *block* came through. A long line ends with its newline; behind that a record starts."""
    if block.last:
        left.pop(0)
    else:
        left[0] = Reading(left[0].entry, block.end, None if block.data.endswith(b"\n") else block.record)


class _Waits:
    """The pauses of a read that breaks again and again without a block in between."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self.begin()

    def begin(self) -> None:
        """Something came through: patience is whole again."""
        self._since: float | None = None
        self._seconds = 0.1

    def wait(self) -> bool:
        """Wait a little longer than the last time; False when patience has run out."""
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        if now - self._since > self._patience.deadline_seconds:
            return False
        time.sleep(self._seconds * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, no secret
        self._seconds = min(self._seconds * 2, self._patience.wait_seconds_max)
        return True
