"""What was applied and is not verified yet: a queue of paths, each with what it has to be in the target, as it passed by.

Of a log that grows only what was appended is in doubt. The queue is bounded: when it would overflow, the kind that fills it
most is remembered as one that is to be proved as a whole. Nothing is ever forgotten.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

import msgspec

from crossfade.model.changes import Block, Move, Page, Put, Remove
from crossfade.model.digests import EMPTY
from crossfade.model.entries import SEGMENT, Entry, altered
from crossfade.store.port import Applied

_MOST = 50_000
_SETTLE_SECONDS = 1.0
"""A log that is being written is looked at once a second, not once a page."""

_NEVER = float("inf")


class Part(msgspec.Struct, frozen=True, gc=False):
    """A stretch of an entry that was written: where, and the SHA-256 of its bytes. No longer than what starts in one segment.

    ``hash`` is open for what is appended next.
    """

    offset: int
    size: int
    digest: bytes
    hash: Any = None

    @property
    def end(self) -> int:
        """The offset after the last byte."""
        return self.offset + self.size

    def goes_on(self, block: Block) -> bool:
        """True where *block* is the next of the same segment."""
        return self.hash is not None and self.end == block.offset and self.offset // SEGMENT == block.offset // SEGMENT

    def with_more(self, data: bytes) -> Part:
        """The same with *data* behind it."""
        grown = self.hash.copy()
        grown.update(data)
        return Part(self.offset, self.size + len(data), grown.digest(), grown)


NOTHING = Part(0, 0, EMPTY)


class Doubt(msgspec.Struct, frozen=True, gc=False):
    """One path: the *entry* as it was applied, and the *parts* that were written, up to its end. These are None where the
    content did not pass by; then the database's own record says what the entry must be.

    *changes* is how many changes it stands for, *at* when the first of them was not applied yet, by the server's clock.
    *due* is when to look, by ``time.monotonic()``; *looks* how often it was found to be wrong since it was applied.
    *ordered* says that it is to be brought anew, *anew* that it was; *walked* that a walk over all of its kind met it.
    """

    entry: Entry
    parts: tuple[Part, ...] | None
    changes: int = 0
    at: datetime | None = None
    due: float = 0.0
    looks: int = 0
    ordered: bool = False
    anew: bool = False
    walked: bool = False

    @property
    def cost(self) -> int:
        """How much room it takes. A walk has few at a time, whose segments do not count."""
        return 1 + len(self.parts or ()) if self.changes else 1

    @property
    def size(self) -> int:
        """How many bytes are in doubt, as far as that is known."""
        return self.entry.size if self.parts is None else sum(part.size for part in self.parts)


class Whole(msgspec.Struct, frozen=True):
    """A kind that is to be proved as a whole: for how many changes, and since when; for none, if nothing overflowed."""

    changes: int = 0
    at: datetime | None = None


class Doubts:
    """The queue. For one thread, the one that applies."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._found: dict[bytes, Doubt] = {}
        self._room: Counter[str] = Counter()
        self._changes = self._size = 0
        self._whole: dict[str, Whole] = {}
        self._walking: dict[str, Whole] = {}
        self.applied = 0

    # What is in it

    def __len__(self) -> int:
        return len(self._found)

    def __iter__(self) -> Iterator[Doubt]:
        return iter(self._found.values())

    def find(self, path: bytes) -> Doubt | None:
        """The doubt about *path*."""
        return self._found.get(path)

    @property
    def changes(self) -> int:
        """How many changes are not verified."""
        return self._changes + sum(whole.changes for whole in self._owed())

    @property
    def size(self) -> int:
        """How many bytes of them, of those that are in the queue."""
        return self._size

    @property
    def whole(self) -> frozenset[str]:
        """The kinds that are to be proved as a whole, or are just now."""
        return frozenset(self._whole) | frozenset(self._walking)

    @property
    def at(self) -> datetime | None:
        """Since when, by the server's clock, something is not verified; None where all that was applied is."""
        oldest = next((doubt.at for doubt in self._found.values() if doubt.changes), None)
        times = [oldest, *(whole.at for whole in self._owed() if whole.changes)]
        return min((time for time in times if time is not None), default=None)

    @property
    def is_settled(self) -> bool:
        """True where everything that was applied is verified."""
        return not self.changes

    def _owed(self) -> list[Whole]:
        return [*self._whole.values(), *self._walking.values()]

    # Into it

    def took(self, page: Page, applied: Applied, now: float, at: datetime | None) -> None:
        """*page* was applied, at *at* or later."""
        self.applied += len({change.entry.path for change in page.changes})
        standing = {entry.path: entry for entry in applied.entries}
        refused = {refusal.entry.path for refusal in applied.refusals if refusal.pos is None}
        puts: dict[bytes, list[Put]] = {}
        at = self._moved([change for change in page.changes if isinstance(change, Move)], now, at)
        for change in page.changes:
            if isinstance(change, Put):
                puts.setdefault(change.entry.path, []).append(change)
        for path, change in {change.entry.path: change for change in page.changes}.items():
            if path in refused or path in applied.left:
                self._drop(path)
            elif isinstance(change, Move):
                self._expect(standing[path], None, now, at)
            elif isinstance(change, Remove):
                self._expect(_gone(change.entry), (NOTHING,), now, at)
            else:
                entry = standing.get(path, altered(change.entry, complete=False))
                self._expect(entry, self._parts(entry, puts.get(path, [])), now, at)

    def _moved(self, moves: Sequence[Move], now: float, at: datetime | None) -> datetime | None:
        """What was in doubt about entries that moved is so about where they stand now: since when, with *at*."""
        drawn = {move.before.path: self._drop(move.before.path) for move in moves}
        taken = {move.entry.path for move in moves}
        for move in moves:
            if move.before.path not in taken:
                self._expect(_gone(move.before), (NOTHING,), now, at)
        since = [doubt.at for doubt in drawn.values() if doubt.changes and doubt.at is not None]
        return min([*since, at] if at is not None else since, default=None)

    def recall(self, entries: Iterable[Entry], now: float, at: datetime | None) -> None:
        """*entries* were applied by somebody else, at *at* or later: they have to be what the books say."""
        for entry in entries:
            self._add(Doubt(entry, None, 1, at, now))

    def prove(self, kinds: Iterable[str], whole: Whole) -> None:
        """Have *kinds* proved as a whole."""
        for kind in kinds:
            there = self._whole.get(kind, Whole())
            times = [time for time in (there.at, whole.at) if time is not None]
            self._whole[kind] = Whole(there.changes + whole.changes, min(times, default=None))

    def _parts(self, entry: Entry, puts: Sequence[Put]) -> tuple[Part, ...] | None:
        """What of *entry* is in doubt, once *puts* are written: what was before them, and they."""
        there = self._found.get(entry.path)
        parts = there.parts if there is not None and there.entry.generation == entry.generation else ()
        for put in puts:
            parts = written(parts, put.block)
        if parts is None or not entry.complete or entry.type != "file" or (there is None and not puts):
            return parts
        return parts if parts and parts[-1].end >= entry.size else (*parts, Part(entry.size, 0, EMPTY))

    def _expect(self, entry: Entry, parts: tuple[Part, ...] | None, now: float, at: datetime | None) -> None:
        there = self._found.get(entry.path)
        due = now + _SETTLE_SECONDS if entry.complete else _NEVER
        if there is None:
            self._add(Doubt(entry, parts, 1, at, due))
            return
        if there.entry.complete and there.changes and not there.looks:
            due = min(due, there.due)
        anew = there.anew or there.ordered
        since = there.at if there.changes else at
        self._replace(Doubt(entry, parts, there.changes + 1, since, due, anew=anew, walked=there.walked))

    def _add(self, doubt: Doubt) -> None:
        kind = doubt.entry.kind
        if kind in self._whole and doubt.changes:
            self.prove([kind], Whole(doubt.changes, doubt.at))
            return
        self._replace(doubt)

    def _replace(self, doubt: Doubt) -> None:
        """Have *doubt* in the place of an earlier one about its path, which keeps its turn."""
        there = self._found.get(doubt.entry.path)
        if there is not None:
            self._count(there, -1)
        self._found[doubt.entry.path] = doubt
        self._count(doubt, 1)
        while self._room.total() > self._most:
            self._overflow()

    def _overflow(self) -> None:
        """Remember the kind that takes most room as a whole."""
        ((kind, _),) = self._room.most_common(1)
        for path in [path for path, doubt in self._found.items() if doubt.entry.kind == kind]:
            doubt = self._drop(path)
            self.prove([kind], Whole(doubt.changes, doubt.at))

    def _drop(self, path: bytes) -> Doubt:
        doubt = self._found.pop(path, None)
        if doubt is None:
            return Doubt(Entry(path), ())
        self._count(doubt, -1)
        return doubt

    def _count(self, doubt: Doubt, sign: int) -> None:
        self._room[doubt.entry.kind] += sign * doubt.cost
        self._changes += sign * doubt.changes
        self._size += sign * doubt.size if doubt.changes else 0

    # Out of it

    def take(self, now: float, most: int, most_bytes: int) -> list[Doubt]:
        """Up to *most* that are due, the oldest first; they stay in the queue until something is said of them."""
        taken: list[Doubt] = []
        size = 0
        for doubt in self._found.values():
            if doubt.due > now or not doubt.entry.complete:
                continue
            taken.append(doubt)
            size += min(doubt.size, most_bytes)
            if len(taken) >= most or size >= most_bytes:
                break
        return taken

    def verified(self, doubt: Doubt, left: tuple[Part, ...] = ()) -> None:
        """*doubt* is none any more; but for what is *left* of it."""
        if left:
            self._replace(msgspec.structs.replace(doubt, parts=left))
        else:
            self._drop(doubt.entry.path)

    def wrong(self, doubt: Doubt, due: float, *, ordered: bool = False) -> None:
        """*doubt* holds: look again, from *due* on; *ordered*: once it was brought anew."""
        looks = doubt.looks + 1
        self._replace(msgspec.structs.replace(doubt, due=due, looks=looks, ordered=ordered))

    # Whole kinds

    def walk(self) -> frozenset[str]:
        """A walk over the kinds that are to be proved as a whole begins: which. What is applied from now on is in the queue."""
        self._walking, self._whole = self._whole, {}
        return frozenset(self._walking)

    def meet(self, entry: Entry) -> None:
        """The walk met *entry*, which has to be what the books say, unless it is in doubt for better reasons."""
        if entry.path not in self._found:
            self._add(Doubt(entry, None, walked=True))

    def walked(self) -> None:
        """The walk is over, and everything that it met was verified."""
        self._walking = {}


def written(parts: tuple[Part, ...] | None, block: Block) -> tuple[Part, ...] | None:
    """*parts* once *block* was written, which replaces all that was behind its beginning. None: the books have to tell."""
    if parts is None and block.offset:
        return None
    kept = tuple(part for part in parts or () if part.offset < block.offset)
    if kept and kept[-1].end > block.offset:
        return None
    if kept and kept[-1].goes_on(block):
        return (*kept[:-1], kept[-1].with_more(block.data))
    if not block.data:
        return kept
    taken = hashlib.sha256(block.data)
    return (*kept, Part(block.offset, len(block.data), taken.digest(), taken))


def _gone(entry: Entry) -> Entry:
    return altered(entry, type="gone", size=0, complete=True)
