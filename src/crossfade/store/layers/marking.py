"""A file target that leaves marks in a database: after a page is on disk, and never before.

A crash in between leaves files without marks; they are adopted by content on the next run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from crossfade.model.changes import Block, Page, Remove
from crossfade.model.digests import Segment
from crossfade.model.entries import Entry
from crossfade.store.port import Applied, Reading, Refusal, Span, Store

Mark = Callable[[list[Entry], list[Entry], list[Refusal]], None]


class Marking:
    """*store*, with every page's entries marked by *mark*; *close* lets go of what marks."""

    def __init__(self, store: Store, mark: Mark, close: Callable[[], None]) -> None:
        self._store = store
        self._mark = mark
        self._close = close
        self.location = store.location
        self.can = store.can
        self.layout = store.layout

    def entries(
        self, *, after: bytes | None = None, tombstones: bool = False, under: bytes = b"", directories: bool = False
    ) -> Iterator[Entry]:
        """As the store below."""
        return self._store.entries(after=after, tombstones=tombstones, under=under, directories=directories)

    def look(self, paths: Sequence[bytes]) -> Iterator[Entry]:
        """As the store below."""
        return self._store.look(paths)

    def read(self, readings: Sequence[Reading]) -> Iterator[Block]:
        """As the store below."""
        return self._store.read(readings)

    def segments(self, entry: Entry) -> tuple[Segment, ...]:
        """As the store below."""
        return self._store.segments(entry)

    def apply(self, page: Page) -> Applied:
        """As the store below, then the marks."""
        applied = self._store.apply(page)
        removed = [change.entry for change in page.changes if isinstance(change, Remove)]
        if applied.entries or removed or applied.refusals:
            self._mark(list(applied.entries), removed, list(applied.refusals))
        return applied

    def digest(self, entries: Sequence[Entry]) -> Iterator[tuple[Entry, bytes]]:
        """As the store below."""
        return self._store.digest(entries)

    def weigh(self, spans: Sequence[Span]) -> Iterator[tuple[int, bytes]]:
        """As the store below."""
        return self._store.weigh(spans)

    def close(self) -> None:
        """As the store below, and what marks."""
        self._store.close()
        self._close()
