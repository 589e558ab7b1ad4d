"""The port: what a place has to be able to do. Open this first.

A store is a set of entries (``model.entries``). Everything above it, copying, following, validating, restoring, is written
once, against these members. Trying again, and keeping marks, are stores around a store (``layers``).

The port speaks in pages and blocks, never in single records, so that a call's cost does not matter.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from crossfade.model.answers import Passed
from crossfade.model.changes import Block, Page
from crossfade.model.digests import Segment
from crossfade.model.entries import Entry
from crossfade.model.layouts import Layout
from crossfade.store.location import Location


@dataclass(frozen=True)
class Capabilities:
    """What a store can do, honestly; the contract suite runs what is declared.

    ``atomic``: a page is applied whole or not at all. ``digests``: entries come with their digest. ``signatures``: entries
    come with a file system signature. ``any_path``: holds every path that is not empty and stays inside the root. ``moves``:
    takes a ``Move``.
    """

    atomic: bool
    digests: bool
    signatures: bool
    any_path: bool
    moves: bool


class Reading(msgspec.Struct, frozen=True, gc=False):
    """What to read: an entry, from a block's start on. ``within`` names the long record that the offset lies in."""

    entry: Entry
    offset: int = 0
    within: int | None = None


class Span(msgspec.Struct, frozen=True, gc=False):
    """The records of an entry that start in ``size`` bytes from *offset* on; in all that is behind, where that is None."""

    entry: Entry
    offset: int = 0
    size: int | None = None


@dataclass(frozen=True)
class Refusal:
    """One item that could not be placed, whose bytes are kept. ``pos`` is None for a whole entry.

    ``code`` is an SQLSTATE, an errno name, or one of ours (``escapes-root``, ``stranger``).
    """

    entry: Entry
    pos: int | None
    size: int
    code: str


@dataclass(frozen=True)
class Applied:
    """What one page did: the entries as they now stand, records written, those raw by (path, reason, count), items refused.

    ``passed`` is, by kind, what a store that promotes columns saw of the records; None for a kind of which it did not see all.
    ``left`` are paths where something was written by somebody else since they were looked at: it stands as it is.
    """

    entries: tuple[Entry, ...] = ()
    records: int = 0
    raws: tuple[tuple[bytes, str, int], ...] = ()
    refusals: tuple[Refusal, ...] = ()
    passed: dict[str, Passed | None] = field(default_factory=dict)
    left: tuple[bytes, ...] = ()


class Store(Protocol):
    """A place that holds entries. Blocking; one instance belongs to one thread."""

    location: Location
    can: Capabilities
    layout: Layout

    def entries(
        self, *, after: bytes | None = None, tombstones: bool = False, under: bytes = b"", directories: bool = False
    ) -> Iterator[Entry]:
        """Every entry of the moved set, ordered by key (``model.paths``), the root itself first.

        *after* goes on behind that path. *tombstones* shows what was removed too, as type ``gone``, where that is known.
        *under* shows only what lies below that directory, itself not among it. *directories* shows only directories, and
        tombstones, whatever they were.
        """

    def look(self, paths: Sequence[bytes]) -> Iterator[Entry]:
        """What stands at *paths* now, ordered by key; tombstones come too, what was never there does not."""

    def read(self, readings: Sequence[Reading]) -> Iterator[Block]:
        """The bytes of *readings*, in their order, each ending with a ``last`` block.

        Raises FileNotFoundError for an entry that is gone, and PermissionError or OSError for one that cannot be read.
        """

    def segments(self, entry: Entry) -> tuple[Segment, ...]:
        """The whole segments of an entry whose copy is under way, to go on from."""

    def apply(self, page: Page) -> Applied:
        """Make *page* true and durable. Atomic where the store can, idempotent everywhere."""

    def digest(self, entries: Sequence[Entry]) -> Iterator[tuple[Entry, bytes]]:
        """The digest of each entry, computed now, where its bytes are."""

    def weigh(self, spans: Sequence[Span]) -> Iterator[tuple[int, bytes]]:
        """How many bytes each span holds, and their SHA-256, computed now, where they are. Nothing, where the entry is gone."""

    def hides(self, path: bytes, *, looked: bool = False) -> bool:
        """True where the last list, or the last look if *looked*, could not see *path*: that it was not met says nothing."""

    def close(self) -> None:
        """Let go of files and connections. May be called twice."""


class Recipe(Protocol):
    """How to open a store, in whichever process. Picklable."""

    def open(self, worker: int) -> Store:
        """A store of that worker's own."""
