"""A store that fails on purpose: the one that proves what the layers above do about it.

A store around a store, like any other layer. What fails, when, and whether the work was done before, is a list of
:class:`Fault`.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import psycopg

from crossfade.model.changes import Block, Page
from crossfade.model.digests import Segment
from crossfade.model.entries import Entry
from crossfade.store.port import Applied, Reading, Recipe, Span, Store

When = Literal["before", "after"]


def no_space() -> OSError:
    """A disk that is full."""
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def broken_connection() -> psycopg.OperationalError:
    """A server that went away: no SQLSTATE, as libpq says it."""
    return psycopg.OperationalError("consuming input failed: server closed the connection unexpectedly")


KINDS = {"no space": no_space, "broken connection": broken_connection}


@dataclass(frozen=True)
class Fault:
    """*count* calls of *member* (``apply``, ``read`` …) fail, *after* so many that did not.

    ``before`` the work is done, or ``after`` it: then nobody hears that it was. ``kind`` is a key of ``KINDS``.
    """

    member: str
    kind: str = "broken connection"
    count: int = 1
    after: int = 0
    when: When = "before"


class FaultyStore:
    """*store*, failing as *faults* say, and slow by *page_seconds* for each page."""

    def __init__(self, store: Store, faults: Sequence[Fault] = (), *, page_seconds: float = 0.0) -> None:
        self._store = store
        self._left = [[fault.after, fault.count] for fault in faults]
        self._faults = tuple(faults)
        self._page_seconds = page_seconds
        self.failed = 0
        self.location = store.location
        self.can = store.can
        self.layout = store.layout

    def entries(
        self, *, after: bytes | None = None, tombstones: bool = False, under: bytes = b"", directories: bool = False
    ) -> Iterator[Entry]:
        """As the store below."""
        self._fail("entries", "before")
        for entry in self._store.entries(after=after, tombstones=tombstones, under=under, directories=directories):
            yield entry
            self._fail("entries", "after")

    def look(self, paths: Sequence[bytes]) -> Iterator[Entry]:
        """As the store below, or not."""
        self._fail("look", "before")
        yield from self._store.look(paths)
        self._fail("look", "after")

    def read(self, readings: Sequence[Reading]) -> Iterator[Block]:
        """As the store below. ``after`` is after each block."""
        self._fail("read", "before")
        for block in self._store.read(readings):
            yield block
            self._fail("read", "after")

    def segments(self, entry: Entry) -> tuple[Segment, ...]:
        """As the store below."""
        self._fail("segments", "before")
        found = self._store.segments(entry)
        self._fail("segments", "after")
        return found

    def apply(self, page: Page) -> Applied:
        """As the store below."""
        self._fail("apply", "before")
        time.sleep(self._page_seconds)
        applied = self._store.apply(page)
        self._fail("apply", "after")
        return applied

    def digest(self, entries: Sequence[Entry]) -> Iterator[tuple[Entry, bytes]]:
        """As the store below."""
        self._fail("digest", "before")
        yield from self._store.digest(entries)
        self._fail("digest", "after")

    def weigh(self, spans: Sequence[Span]) -> Iterator[tuple[int, bytes]]:
        """As the store below."""
        self._fail("weigh", "before")
        yield from self._store.weigh(spans)
        self._fail("weigh", "after")

    def hides(self, path: bytes, *, looked: bool = False) -> bool:
        """As the store below."""
        return self._store.hides(path, looked=looked)

    def close(self) -> None:
        """As the store below; never fails."""
        self._store.close()

    def _fail(self, member: str, when: When) -> None:
        for fault, left in zip(self._faults, self._left, strict=True):
            if (fault.member, fault.when) != (member, when) or not left[1]:
                continue
            if left[0]:
                left[0] -= 1
                continue
            left[1] -= 1
            self.failed += 1
            fault_of_kind = KINDS[fault.kind]
            raise fault_of_kind()


@dataclass(frozen=True)
class FaultyRecipe:
    """How to open a faulty store, in whichever process; each store has all the faults before it."""

    recipe: Recipe
    faults: tuple[Fault, ...] = ()
    page_seconds: float = 0.0

    def open(self, worker: int) -> Store:
        """A store of the worker's own."""
        return FaultyStore(self.recipe.open(worker), self.faults, page_seconds=self.page_seconds)
