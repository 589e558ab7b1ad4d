"""A store that tries again what may pass: with back-off and jitter, inside a deadline, telling each time.

A page is safe to repeat in every store: where a commit went unheard, the store below asks whether it happened. A read goes on
behind the last block that came through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from crossfade.model.changes import Block, Page
from crossfade.model.digests import Segment
from crossfade.model.entries import Entry
from crossfade.store.faults import passes
from crossfade.store.patience import Patience, Waits, patiently
from crossfade.store.port import Applied, Reading, Span, Store

__all__ = ["Patience", "Retrying", "patiently"]

T = TypeVar("T")


class Retrying:
    """*store*, patient. *tell* hears of every fault that is tried again, and may raise to end it."""

    def __init__(self, store: Store, patience: Patience, tell: Callable[[BaseException], None]) -> None:
        self._store = store
        self._patience = patience
        self._tell = tell
        self.location = store.location
        self.can = store.can
        self.layout = store.layout

    def entries(
        self, *, after: bytes | None = None, tombstones: bool = False, under: bytes = b"", directories: bool = False
    ) -> Iterator[Entry]:
        """As the store below, going on after a fault behind the last entry."""
        which: dict[str, Any] = {"tombstones": tombstones, "under": under, "directories": directories}
        waits = Waits(self._patience)
        while True:
            try:
                for entry in self._store.entries(after=after, **which):
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
        return iter(self._patiently(lambda: list(self._store.look(paths))))

    def read(self, readings: Sequence[Reading]) -> Iterator[Block]:
        """As the store below, going on after a fault where the last block ended."""
        left = list(readings)
        waits = Waits(self._patience)
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

    def weigh(self, spans: Sequence[Span]) -> Iterator[tuple[int, bytes]]:
        """As the store below, all of it at once."""
        return iter(self._patiently(lambda: list(self._store.weigh(spans))))

    def hides(self, path: bytes, *, looked: bool = False) -> bool:
        """As the store below."""
        return self._store.hides(path, looked=looked)

    def close(self) -> None:
        """As the store below."""
        self._store.close()

    def _patiently(self, work: Callable[[], T]) -> T:
        return patiently(work, self._patience, self._tell)

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
