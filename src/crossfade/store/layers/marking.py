"""A file target that leaves marks in a database: after a page is on disk, and never before.

A crash in between leaves files without marks. So what a page will have files hold is written down before it is written, and
whoever goes on knows those files for ours, even if the source has changed since.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from crossfade.model.changes import Block, Page, Put, Remove, Touch
from crossfade.model.digests import Segment
from crossfade.model.entries import Entry, content_of
from crossfade.store.port import Applied, Reading, Refusal, Span, Store

Mark = Callable[[list[Entry], list[Entry], list[Refusal]], None]
Intend = Callable[[list[tuple[bytes, bytes]]], None]


class Marking:
    """*store*, with every page's entries marked by *mark*, after *intend* has heard of them; *close* lets go of both."""

    def __init__(self, store: Store, intend: Intend, mark: Mark, close: Callable[[], None]) -> None:
        self._store = store
        self._intend = intend
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
        """What is intended, then as the store below, then the marks."""
        if coming := intents_of(page):
            self._intend(coming)
        applied = self._store.apply(page)
        removed = _removed(page, applied)
        if applied.entries or removed or applied.refusals:
            self._mark(list(applied.entries), removed, list(applied.refusals))
        return applied

    def digest(self, entries: Sequence[Entry]) -> Iterator[tuple[Entry, bytes]]:
        """As the store below."""
        return self._store.digest(entries)

    def weigh(self, spans: Sequence[Span]) -> Iterator[tuple[int, bytes]]:
        """As the store below."""
        return self._store.weigh(spans)

    def hides(self, path: bytes, *, looked: bool = False) -> bool:
        """As the store below."""
        return self._store.hides(path, looked=looked)

    def close(self) -> None:
        """As the store below, and what marks."""
        self._store.close()
        self._close()


def _removed(page: Page, applied: Applied) -> list[Entry]:
    """What went with *page*: not what was left or refused, and not where it has brought something else."""
    stands = {entry.path for entry in (*applied.entries, *(refusal.entry for refusal in applied.refusals))}
    stands.update(applied.left)
    return [c.entry for c in page.changes if isinstance(c, Remove) and c.entry.path not in stands]


def intents_of(page: Page) -> list[tuple[bytes, bytes]]:
    """The files and links that *page* brings, each with the digest of what it will hold."""
    found: dict[bytes, bytes] = {}
    for change in page.changes:
        digest = (
            change.digest if isinstance(change, Put) else content_of(change.entry) if isinstance(change, Touch) else None
        )
        if digest is not None:
            found[change.entry.path] = digest
    return list(found.items())
