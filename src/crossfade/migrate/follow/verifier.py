"""Verifying what was applied, where it is: a database computes, files are read back.

What differs is looked at again before anybody hears of it. Then it is brought anew, and if that does not help, the run ends.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import msgspec

from crossfade.errors import ContentDiffers
from crossfade.migrate.follow.doubts import Doubt, Doubts, Part
from crossfade.model.digests import digest_of
from crossfade.model.entries import SEGMENT, Entry
from crossfade.model.paths import text_of
from crossfade.store.port import Span, Store

_TOGETHER = 64
_BYTES = 2 * SEGMENT
_SLICE_SECONDS = 0.02
SHARE = 0.05
"""Of one core, for verifying while following; the database's, where it computes."""

_IDLE_SECONDS = 0.2
_AGAIN_SECONDS = 2.0
_ORDERED_SECONDS = 5.0


@dataclass(frozen=True)
class Wrong:
    """What the target has at a path, *there*, is not what was applied: what about it. *foreign*: somebody wrote it since."""

    doubt: Doubt
    detail: str
    there: Entry | None = None
    foreign: bool = False

    @property
    def path(self) -> bytes:
        """The path."""
        return self.doubt.entry.path

    @property
    def is_ours(self) -> bool:
        """True for what was written lately, and by nobody else since: it is brought anew."""
        return not self.foreign and not self.doubt.walked


class Verifier:
    """Verifies *doubts* in *target*. *books* is the side that is a database, whose entries say what they are.

    *lag* says how far behind following is; *pace*, for a piece of work that took so long, how long to rest after it.
    """

    def __init__(
        self,
        doubts: Doubts,
        *,
        target: Store,
        books: Store,
        migration: str,
        lag: Callable[[], float],
        pace: Callable[[float], float],
    ) -> None:
        self._doubts = doubts
        self._target = target
        self._books = books
        self._migration = migration
        self._lag = lag
        self._pace = pace
        self._due = 0.0
        self._walk: Iterator[Entry] | None = None
        self._wrong: list[Wrong] = []

    def slice(self, now: float) -> list[Wrong]:
        """Verify a little, if its turn has come; what was found to be wrong twice. Raises ContentDiffers for what stays so."""
        if now < self._due:
            return []
        began, self._wrong = time.monotonic(), []
        while time.monotonic() - began < _SLICE_SECONDS and self._look(now):
            pass
        spent = time.monotonic() - began
        self._due = now + max(spent / SHARE, self._pace(spent), _IDLE_SECONDS if spent < _SLICE_SECONDS else 0.0)
        return self._wrong

    def rush(self, until: float) -> list[Wrong]:
        """Verify all that is left, without a rest, up to *until* by the monotonic clock; what was found to be wrong twice."""
        self._wrong = []
        while not self._doubts.is_settled and time.monotonic() < until and not self._wrong:
            if not self._look(float("inf")):
                break
        return self._wrong

    def _look(self, now: float) -> bool:
        """Verify some doubts; False where there are none to look at."""
        if len(self._doubts) < _TOGETHER:
            self._meet()
        doubts = self._doubts.take(now, _TOGETHER, _BYTES)
        if not doubts:
            return False
        there = {entry.path: entry for entry in self._target.look([doubt.entry.path for doubt in doubts])}
        known = self._known(doubts, there)
        for doubt in doubts:
            if doubt.entry.path not in known:
                self._doubts.verified(doubt)  # of no use any more: it is out of step, and will be applied again
        self._weigh(list(known.values()), there)
        return True

    def _meet(self) -> None:
        """Take some more of the entries of kinds that are to be proved as a whole."""
        if self._walk is None and self._doubts.whole:
            kinds = self._doubts.walk()
            self._walk = (entry for entry in self._books.entries() if entry.type == "file" and entry.kind in kinds)
        if self._walk is None:
            return
        while len(self._doubts) < 2 * _TOGETHER and (entry := next(self._walk, None)) is not None:
            self._doubts.meet(entry)
        if entry is None and not any(doubt.walked for doubt in self._doubts):
            self._walk = None
            self._doubts.walked()

    # What is to be expected

    def _known(self, doubts: Sequence[Doubt], there: dict[bytes, Entry]) -> dict[bytes, Doubt]:
        """*doubts*, with what the books say where they did not pass by; without those that the books say are out of step."""
        asked = [doubt for doubt in doubts if doubt.parts is None]
        books = there if self._books is self._target else self._written(asked)
        known = {doubt.entry.path: doubt for doubt in doubts if doubt.parts is not None}
        for doubt in asked:
            entry = books.get(doubt.entry.path)
            if entry is not None and entry.complete and not self._is_behind(entry):
                known[entry.path] = self._as_written(doubt, entry)
        return known

    def _written(self, asked: Sequence[Doubt]) -> dict[bytes, Entry]:
        return {entry.path: entry for entry in self._books.look([doubt.entry.path for doubt in asked])} if asked else {}

    def _is_behind(self, entry: Entry) -> bool:
        """True for an entry of the source that was changed since it was in step."""
        if self._books is self._target:
            return False
        return entry.type == "file" and (entry.signature is None or entry.digest != entry.marked)

    def _as_written(self, doubt: Doubt, entry: Entry) -> Doubt:
        """*doubt* about an entry that has to be what the books say. A short one is its own digest, folded once."""
        if entry.type != "file":
            return msgspec.structs.replace(doubt, entry=entry, parts=())
        if entry.size > SEGMENT:
            segments = self._books.segments(entry)
            parts = tuple(Part(segment.offset, segment.size, segment.digest) for segment in segments)
            whole = digest_of(segments) == entry.digest
            return msgspec.structs.replace(doubt, entry=entry, parts=parts if whole else (_never(entry),))
        return msgspec.structs.replace(doubt, entry=entry, parts=None)

    # What is there

    def _weigh(self, doubts: Sequence[Doubt], there: dict[bytes, Entry]) -> None:
        standing: list[tuple[Doubt, list[Part], list[Span]]] = []
        for doubt in doubts:
            found = there.get(doubt.entry.path)
            if detail := wrong_about(doubt.entry, found, self._target.can.digests):
                self._doubt(doubt, detail, found)
                continue
            parts = _some(doubt)
            place = found if found is not None and found.type != "gone" else doubt.entry
            standing.append((doubt, parts, [_span(place, doubt.entry, part) for part in parts]))
        weights = iter(list(self._target.weigh([span for _, _, spans in standing for span in spans])))
        for doubt, parts, spans in standing:
            found = there.get(doubt.entry.path)
            wrong = [
                part
                for part, weight in zip(parts, [next(weights) for _ in spans], strict=True)
                if not _is(doubt, part, weight)
            ]
            if wrong:
                self._doubt(
                    doubt, f"bytes differ in segment {wrong[0].offset // SEGMENT}, from offset {wrong[0].offset} on", found
                )
            else:
                self._doubts.verified(doubt, (doubt.parts or ())[len(parts) :])

    def _doubt(self, doubt: Doubt, detail: str, found: Entry | None) -> None:
        """Something is wrong: another look first; then it is told, and if it was brought anew already, that is the end."""
        now, entry = time.monotonic(), doubt.entry
        foreign = not self._target.can.digests and found is not None and found.signature != entry.signature
        if not doubt.looks and not foreign:
            self._doubts.wrong(doubt, now + max(self._lag(), _AGAIN_SECONDS))
            return
        if doubt.anew and not foreign:
            raise ContentDiffers(
                f"{text_of(entry.path)}: {detail}, though it was brought anew",
                hint=f"crossfade validate {self._migration}",
            )
        self._wrong.append(Wrong(doubt, detail, found, foreign))
        if foreign or doubt.walked:
            self._doubts.verified(doubt)
        else:
            self._doubts.wrong(doubt, now + _ORDERED_SECONDS, ordered=True)


def wrong_about(entry: Entry, there: Entry | None, digests: bool) -> str:
    """What of *entry* is not so, going by the list alone; empty where it is. *digests*: the list has them."""
    if there is None or there.type == "gone":
        return "" if entry.type == "gone" else "it is not there"
    if entry.type != there.type:
        return "it was removed, and is there" if entry.type == "gone" else f"it is a {there.type}"
    if entry.type == "link":
        return "" if entry.link == there.link else "the link says something else"
    if entry.type == "dir" or not entry.complete:
        return ""
    if entry.size != there.size:
        return f"it has {there.size:,} bytes, not {entry.size:,}"
    if digests and entry.digest != there.digest:
        return "its books have another digest"
    return "" if (entry.mode, entry.mtime_ns) == (there.mode, there.mtime_ns) else "its mode or time is another"


def _some(doubt: Doubt) -> list[Part]:
    """As many of the parts that are in doubt as are looked at in one go."""
    if doubt.parts is None:
        return [Part(0, doubt.entry.size, doubt.entry.digest or b"")]
    parts: list[Part] = []
    for part in doubt.parts:
        if parts and sum(p.size for p in parts) + part.size > _BYTES:
            break
        parts.append(part)
    return parts


def _span(place: Entry, entry: Entry, part: Part) -> Span:
    """Where to weigh a part: the last one, up to wherever the entry ends."""
    last = part.end >= entry.size
    return Span(place, part.offset, None if last else part.size)


def _is(doubt: Doubt, part: Part, weight: tuple[int, bytes]) -> bool:
    """True where *part* is what was weighed. By the books, a short entry's digest is that of its only segment, folded."""
    size, digest = weight
    if doubt.parts is None:
        digest = hashlib.sha256(digest if size else b"").digest()
    return (size, digest) == (part.size, part.digest)


def _never(entry: Entry) -> Part:
    """What nothing is: the books of *entry* do not agree with themselves."""
    return Part(0, entry.size, b"")
