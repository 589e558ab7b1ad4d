"""Going through two trees, in key order, batch by batch; what is found adds up to a verdict.

The state after each folded batch is a value that can be written down, so that a validation that was interrupted goes on.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

from crossfade.migrate.inventory import merge
from crossfade.migrate.validate.crew import Submit
from crossfade.migrate.validate.differences import Difference, of_metadata, of_presence
from crossfade.migrate.validate.measure import Measured, Pair
from crossfade.migrate.validate.queries import KindAnswer
from crossfade.model.entries import Entry
from crossfade.model.paths import key_of
from crossfade.model.roots import START, chained

_BATCH_ENTRIES = 500
_BATCH_BYTES = 16 << 20


@dataclass(frozen=True)
class Extent:
    """How much of the content is looked at: all of it, or a sample by *percentage*, the same for the same *seed*."""

    percentage: float = 100.0
    seed: int = 0

    def takes(self, path: bytes) -> bool:
        """True for entries in the sample."""
        if self.percentage >= 100:
            return True
        number = int.from_bytes(hashlib.sha256(b"%d/" % self.seed + path).digest()[:8], "big")
        return number < self.percentage / 100 * 2**64


@dataclass
class Findings:
    """What was found so far. ``differences`` names at most so many; ``classes`` counts them all."""

    after: bytes | None = None
    entries: int = 0
    compared: int = 0
    size: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    classes: dict[str, int] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)
    answers: dict[str, KindAnswer] = field(default_factory=dict)
    source_root: bytes = START
    target_root: bytes = START

    def note(self, difference: Difference, limit: int) -> None:
        """Count a difference, and name it while there is room."""
        self.classes[difference.klass] = self.classes.get(difference.klass, 0) + 1
        if len(self.differences) < limit:
            self.differences.append(difference)


@dataclass
class _Batch:
    """A stretch of both trees: what is told apart by looking, and the pairs whose content is compared."""

    pairs: list[Pair] = field(default_factory=list)
    seen: list[tuple[Entry | None, Entry | None]] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    size: int = 0


class Validator:
    """Compares two inventories; *submit* has the content of batches compared, several at a time."""

    def __init__(
        self,
        submit: Submit,
        *,
        reads_source: bool,
        extent: Extent,
        limit: int,
        is_held: Callable[[bytes], bool],
        is_outside: Callable[[Entry], bool],
    ) -> None:
        self._submit = submit
        self._reads_source = reads_source
        self._extent = extent
        self._limit = limit
        self._is_held = is_held
        self._is_outside = is_outside
        self._sampled: set[str] = set()

    def run(
        self,
        source: Iterator[Entry],
        target: Iterator[Entry],
        findings: Findings,
        *,
        told: Callable[[Findings], None],
        ahead: int,
    ) -> Findings:
        """Go through both; *told* hears after each batch, and may raise to end it."""
        waiting: deque[tuple[_Batch, Future[Measured]]] = deque()
        for batch in self._batches(source, target):
            waiting.append((batch, self._submit(batch.pairs)))
            if len(waiting) > ahead:
                self._fold(*waiting.popleft(), findings)
                told(findings)
        for batch, future in waiting:
            self._fold(batch, future, findings)
            told(findings)
        return findings

    def _batches(self, source: Iterator[Entry], target: Iterator[Entry]) -> Iterator[_Batch]:
        batch = _Batch()
        for one, other in merge(source, target):
            entry = one or other
            if entry is None or self._is_outside(entry):
                continue
            self._look(one, other, batch)
            if len(batch.seen) >= _BATCH_ENTRIES or batch.size >= _BATCH_BYTES:
                yield batch
                batch = _Batch()
        if batch.seen:
            yield batch

    def _look(self, one: Entry | None, other: Entry | None, batch: _Batch) -> None:
        """What the two inventories say; and whether the content is to be compared."""
        batch.seen.append((one, other))
        found = of_presence(one, other)
        if found is not None:
            held = found.klass == "missing" and self._is_held(key_of(found.path))
            batch.differences.append(replace(found, klass="quarantined") if held else found)
            return
        assert one is not None
        assert other is not None
        metadata = of_metadata(one, other)
        batch.differences += [metadata] if metadata else []
        if one.type == "file" and self._is_chosen(one):
            here, there = (one, other) if self._reads_source else (other, one)
            batch.pairs.append(Pair(here, there))
            batch.size += one.size

    def _is_chosen(self, entry: Entry) -> bool:
        """All, or the sample; of each kind at least one."""
        if self._extent.takes(entry.path) or entry.kind not in self._sampled:
            self._sampled.add(entry.kind)
            return True
        return False

    def _fold(self, batch: _Batch, future: Future[Measured], findings: Findings) -> None:
        measured = future.result()
        for difference in sorted([*batch.differences, *measured.differences], key=lambda d: key_of(d.path)):
            findings.note(difference, self._limit)
        for kind, answer in measured.answers.items():
            findings.answers.setdefault(kind, KindAnswer()).merge(answer)
        findings.entries += len(batch.seen)
        findings.compared += measured.entries
        findings.size += measured.size
        for one, other in batch.seen:
            entry = one or other
            assert entry is not None
            findings.kinds[entry.kind or "-"] = findings.kinds.get(entry.kind or "-", 0) + 1
            here, there = measured.digests.get(entry.path, (b"", b""))
            source, target = (here, there) if self._reads_source else (there, here)
            findings.source_root = chained(findings.source_root, one, source)
            findings.target_root = chained(findings.target_root, other, target)
        last = batch.seen[-1][0] or batch.seen[-1][1]
        findings.after = last.path if last else findings.after
