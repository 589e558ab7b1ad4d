"""The proof at the end of a copy: both sides listed anew, and every digest computed where the target's bytes are.

One pass over two sorted streams does it all: the final re-stat (what moved under the copy), the path sets both ways, the
comparison of digests, and the roots of both sides.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from crossfade.migrate.inventory import Decide, merge
from crossfade.model.entries import Entry
from crossfade.model.roots import START, chained

_BATCH_ENTRIES = 1000
_BATCH_BYTES = 64 << 20
_NAMED = 1000

Digest = Callable[[Sequence[Entry]], list[bytes]]


@dataclass
class Proof:
    """What was found. ``moved``: the source differs from what was copied. ``wrong``: the target differs from what was copied.

    Lists name at most a thousand paths; counts are complete.
    """

    source_root: str = ""
    target_root: str = ""
    compared: int = 0
    moved: list[bytes] = field(default_factory=list)
    moved_count: int = 0
    wrong: list[bytes] = field(default_factory=list)
    wrong_count: int = 0

    @property
    def holds(self) -> bool:
        """True when both sides are the same."""
        return not self.moved_count and not self.wrong_count and self.source_root == self.target_root


@dataclass(frozen=True)
class Pair:
    """One path on both sides. ``digest`` is what its bytes were when they were read from the source."""

    source: Entry
    target: Entry
    digest: bytes | None


class Prover:
    """Compares two inventories. *digest* computes the digests of entries in the target; several calls run side by side."""

    def __init__(
        self,
        decide: Decide,
        digest: Digest,
        *,
        threads: int,
        passed_over: Callable[[Entry], bool],
        is_proved: Callable[[Entry], bool],
    ) -> None:
        self._decide = decide
        self._digest = digest
        self._threads = threads
        self._passed_over = passed_over
        self._is_proved = is_proved
        self._proof = Proof()
        self._source, self._target = START, START

    def prove(self, source: Iterable[Entry], target: Iterable[Entry], *, told: Callable[[int], None]) -> Proof:
        """Go through both sides; *told* hears how many entries were compared."""
        with ThreadPoolExecutor(self._threads, thread_name_prefix="proof") as executor:
            waiting: deque[tuple[list[Pair], Future[list[bytes]]]] = deque()
            for batch in _batches(self._pairs(source, target)):
                waiting.append((batch, executor.submit(self._digest, [p.target for p in batch if self._is_open(p)])))
                if len(waiting) > self._threads:
                    self._fold(*waiting.popleft())
                    told(self._proof.compared)
            for batch, future in waiting:
                self._fold(batch, future)
        self._proof.source_root, self._proof.target_root = self._source.hex(), self._target.hex()
        return self._proof

    def _pairs(self, source: Iterable[Entry], target: Iterable[Entry]) -> Iterator[Pair]:
        """Paths that are in step by their metadata; the others have moved."""
        for one, other in merge(source, target):
            if self._passed_over(one or other):  # type: ignore[arg-type]
                continue
            if self._decide(one, other) is not None:
                self._proof.moved_count += 1
                self._proof.moved += [(one or other).path] if len(self._proof.moved) < _NAMED else []  # type: ignore[union-attr]
            elif one is not None and other is not None and "gone" not in (one.type, other.type):
                yield Pair(one, other, one.digest if one.digest is not None else other.digest)

    def _is_open(self, pair: Pair) -> bool:
        return pair.source.type == "file" and not self._is_proved(pair.target)

    def _fold(self, batch: list[Pair], future: Future[list[bytes]]) -> None:
        digests = iter(future.result())
        for pair in batch:
            found = next(digests) if self._is_open(pair) else pair.digest
            self._source = chained(self._source, pair.source, _content(pair.source, pair.digest))
            self._target = chained(self._target, pair.target, _content(pair.target, found))
            self._proof.compared += 1
            if found != pair.digest:
                self._proof.wrong_count += 1
                self._proof.wrong += [pair.target.path] if len(self._proof.wrong) < _NAMED else []


def _content(entry: Entry, digest: bytes | None) -> bytes:
    return digest or b"" if entry.type == "file" else b""


def _batches(pairs: Iterator[Pair]) -> Iterator[list[Pair]]:
    batch: list[Pair] = []
    size = 0
    for pair in pairs:
        batch.append(pair)
        size += pair.source.size
        if len(batch) >= _BATCH_ENTRIES or size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
