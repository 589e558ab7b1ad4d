"""Going through two trees, in key order, batch by batch; what is found adds up to a verdict.

The state after each folded batch is a value that can be written down, so that a validation that was interrupted goes on.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field

from crossfade.migrate.inventory import merge
from crossfade.migrate.validate.crew import Crew
from crossfade.migrate.validate.differences import Difference, held_back, of_metadata, of_presence
from crossfade.migrate.validate.measure import Measured, Pair
from crossfade.model.answers import KindAnswer, Passed
from crossfade.model.entries import Entry
from crossfade.model.paths import key_of
from crossfade.model.roots import START, Waypoints, chained

_BATCH_ENTRIES = 500
_BATCH_BYTES = 16 << 20
LASTING = ("quarantined", "query")
"""Classes of differences that another look does not take back."""

_HELD = 1000
"""Differences that are kept, at least: more than people want to see named, for a second look and for repair."""


@dataclass(frozen=True)
class Extent:
    """How much of the content is looked at: all of it, or a sample by *percentage*, the same for the same *seed*.

    Each path is drawn by itself, with the same probability, so that each kind has its share but for chance.
    """

    percentage: float = 100.0
    seed: int = 0

    @property
    def is_whole(self) -> bool:
        """True where nothing is left out."""
        return self.percentage >= 100

    def takes(self, path: bytes) -> bool:
        """True for entries in the sample."""
        if self.is_whole:
            return True
        number = int.from_bytes(hashlib.sha256(b"%d/" % self.seed + path).digest()[:8], "big")
        return number < self.percentage / 100 * 2**64


@dataclass
class Findings:
    """What was found so far. ``differences`` names at most so many; ``classes`` counts them all.

    ``inventory`` is a hash over what both inventories said up to ``after``: whether they still do tells if this is still of use.
    ``records`` and ``sizes`` are by kind, of what was compared; ``kinds`` counts entries, directories and links under ``-``.
    ``quarantined`` are the kinds of what is held back, named or not; ``ignored`` counts the entries of which somebody said that what
    is held back does not matter: they are no difference.
    ``unreadable`` names what could not be read or listed, as ``differences`` does; ``unread`` counts what could not be read, by kind,
    and ``unlisted`` what could not be listed. ``unseen`` says that there is something of the latter; ``sampled`` are the kinds of
    which something was compared.
    """

    after: bytes | None = None
    inventory: bytes = START
    entries: int = 0
    compared: int = 0
    size: int = 0
    directories: int = 0
    links: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    records: dict[str, int] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    classes: dict[str, int] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)
    quarantined: frozenset[str] = frozenset()
    ignored: int = 0
    answers: dict[str, KindAnswer] = field(default_factory=dict)
    moved: list[bytes] = field(default_factory=list)
    moved_count: int = 0
    unreadable: list[tuple[bytes, str]] = field(default_factory=list)
    unread: dict[str, int] = field(default_factory=dict)
    unlisted: int = 0
    unseen: bool = False
    left_out: dict[str, int] = field(default_factory=dict)
    sampled: frozenset[str] = frozenset()
    rooted: int = 0
    source_root: bytes = START
    target_root: bytes = START
    waypoints: list[tuple[int, bytes, bytes]] = field(default_factory=list)

    def note(self, difference: Difference, limit: int) -> None:
        """Count a difference, and name it while there is room. What is ignored is none."""
        if difference.klass in ("quarantined", "ignored"):
            self.quarantined |= {difference.kind}
        if difference.klass == "ignored":
            self.ignored += 1
            return
        self.classes[difference.klass] = self.classes.get(difference.klass, 0) + 1
        if len(self.differences) < max(limit, _HELD):
            self.differences.append(difference)

    @property
    def is_cut_short(self) -> bool:
        """True where all that was named turned out to be none, but not all was named."""
        is_named = any(difference.klass not in LASTING for difference in self.differences)
        return not is_named and any(count for klass, count in self.classes.items() if klass not in LASTING)

    def take(self, paths: Container[bytes]) -> list[Difference]:
        """Have the differences at *paths* back, as if they had not been noted."""
        taken, kept = list[Difference](), list[Difference]()
        for difference in self.differences:
            (taken if difference.path in paths and not difference.is_of_before else kept).append(difference)
        self.differences = kept
        for difference in taken:
            self.classes[difference.klass] -= 1
        return taken

    @property
    def unread_count(self) -> int:
        """How much could not be read or listed, named or not."""
        return self.unlisted + sum(self.unread.values())

    def see_not(self, unseen: Iterable[tuple[bytes, str]], known: Container[bytes] = ()) -> None:
        """Count what could not be listed, and name it while there is room. What is *known* is counted elsewhere."""
        found = dict(unseen)
        fresh = {path: why for path, why in found.items() if path not in known}
        self.unseen, self.unlisted = self.unseen or bool(found), len(fresh)
        named = {path for path, _ in self.unreadable}
        room = max(_HELD - len(named), 0)
        self.unreadable += [item for item in fresh.items() if item[0] not in named][:room]

    def read_not(
        self,
        unread: Iterable[tuple[bytes, str]],
        limit: int,
        kind_of: Callable[[bytes], str],
        *,
        again: Container[bytes] = (),
    ) -> None:
        """Count what could not be read, and name it while there is room; and what is looked at *again*, or it would count twice."""
        named = {path for path, _ in self.unreadable}
        for path, why in dict(unread).items():
            if path in named:
                continue
            kind = kind_of(path)
            self.unread[kind] = self.unread.get(kind, 0) + 1
            if len(self.unreadable) < max(limit, _HELD) or path in again:
                self.unreadable.append((path, why))

    def move(self, path: bytes) -> None:
        """Count a path that changed under a copy, and name it while there is room."""
        self.moved_count += 1
        if len(self.moved) < _HELD:
            self.moved.append(path)


@dataclass
class _Batch:
    """A stretch of both trees: what is told apart by looking, and the pairs whose content is compared."""

    pairs: list[Pair] = field(default_factory=list)
    seen: list[tuple[Entry | None, Entry | None]] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    moved: list[bytes] = field(default_factory=list)
    held: int = 0
    size: int = 0
    after: bytes | None = None
    inventory: bytes = START
    sampled: frozenset[str] = frozenset()


def _never(_one: Entry | None, _other: Entry | None) -> bool:
    return False


@dataclass(frozen=True)
class Scope:
    """What of two trees is compared, and how.

    ``held``: how a whole entry of that key stands in quarantine, None where it is not there. ``is_outside``: none of our business. ``has_moved``: the source
    changed under a copy. ``passed`` names the kinds whose records passed by in this run; ``at_least`` how much of a growing
    log has to have arrived, by path. ``is_remembered`` says that an interrupted validation is to go on.
    """

    reads_source: bool
    limit: int
    extent: Extent = field(default_factory=Extent)
    held: Callable[[bytes], str | None] = lambda _key: None
    is_outside: Callable[[Entry | None, Entry | None], bool] = _never
    has_moved: Callable[[Entry | None, Entry | None], bool] = _never
    passed: frozenset[str] = frozenset()
    at_least: dict[bytes, int] = field(default_factory=dict)
    is_remembered: bool = False


class Validator:
    """Compares two inventories; *crew* has the content of batches compared, several at a time."""

    def __init__(self, crew: Crew, scope: Scope, *, is_over: Callable[[], bool] = lambda: False) -> None:
        self._crew = crew
        self._scope = scope
        self._is_over = is_over
        self.passed: dict[str, Passed] = {}

    def run(
        self,
        source: Iterator[Entry],
        target: Iterator[Entry],
        findings: Findings,
        *,
        told: Callable[[Findings, Measured], None] = lambda _findings, _measured: None,
    ) -> Findings:
        """Go through both; *told* hears after each batch, and may raise to end it."""
        waypoints = Waypoints(findings.waypoints)
        waiting: deque[tuple[_Batch, Future[Measured]]] = deque()

        def fold() -> None:
            batch, future = waiting.popleft()
            measured = self._crew.hear(future, self._is_over)
            self._fold(batch, measured, findings, waypoints)
            told(findings, measured)

        for batch in self._batches(source, target, _Batch(inventory=findings.inventory, sampled=findings.sampled)):
            waiting.append((batch, self._crew.give(batch.pairs)))
            if len(waiting) > self._crew.jobs + 1:
                fold()
        while waiting:
            fold()
        return findings

    def _batches(self, source: Iterator[Entry], target: Iterator[Entry], batch: _Batch) -> Iterator[_Batch]:
        """The whole of both, from *batch* on, which is the first one and empty."""
        for one, other in merge(source, target):
            if self._scope.is_outside(one, other):
                continue
            if self._scope.is_remembered:
                batch.inventory = listed(batch.inventory, one, other)
            batch.after = (one or other or Entry(b"")).path
            if self._scope.has_moved(one, other):
                batch.moved += [entry.path for entry in (one or other,) if entry is not None]
                self._look_at_overtaken(one, other, batch)
            else:
                self._look(_present(one), _present(other), batch)
            if len(batch.seen) + len(batch.moved) + batch.held >= _BATCH_ENTRIES or batch.size >= _BATCH_BYTES:
                yield batch
                batch = _Batch(inventory=batch.inventory, sampled=batch.sampled)
        if batch.seen or batch.moved or batch.held:
            yield batch

    def _look(self, one: Entry | None, other: Entry | None, batch: _Batch) -> None:
        """What the two inventories say; and whether the content is to be compared."""
        if one is None and other is None:
            return
        if one is not None and (standing := self._scope.held(key_of(one.path))):
            batch.differences.append(held_back(one.path, one.kind, (standing,)))
            batch.held += 1
            return
        batch.seen.append((one, other))
        found = of_presence(one, other)
        if found is not None or one is None or other is None:
            batch.differences += [found] if found is not None else []
            return
        metadata = of_metadata(one, other)
        batch.differences += [metadata] if metadata else []
        if one.type == "file" and self._is_chosen(one, batch):
            here, there = (one, other) if self._scope.reads_source else (other, one)
            passed = one.kind in self._scope.passed
            batch.pairs.append(Pair(here, there, passed, at_least=self._scope.at_least.get(one.path)))
            batch.size += one.size
        elif one.type == "file" and one.size != other.size:
            batch.differences.append(Difference(one.path, one.kind, "content", f"{one.size} bytes, here {other.size}"))

    def _look_at_overtaken(self, source: Entry | None, target: Entry | None, batch: _Batch) -> None:
        """What a database was brought before its source went on has to stand there, and belongs to the sum over what passed by.

        Of a log that did not pass by, the beginning may still be in the source.
        """
        if target is None or target.type != "file" or not target.complete or not self._scope.reads_source:
            return
        passed = target.kind in self._scope.passed
        is_log = source is not None and source.type == "file" and source.form == target.form == "log"
        reads = source if source is not None and is_log and not passed else target
        batch.pairs.append(Pair(reads, target, passed, overtaken=True, at_least=target.size))
        batch.size += target.size

    def _is_chosen(self, entry: Entry, batch: _Batch) -> bool:
        """All, or the sample; of each kind the first one in any case."""
        if not self._scope.extent.takes(entry.path) and entry.kind in batch.sampled:
            return False
        batch.sampled |= {entry.kind}
        return True

    def _fold(self, batch: _Batch, measured: Measured, findings: Findings, waypoints: Waypoints) -> None:
        moved = set(measured.moved)
        for difference in sorted([*batch.differences, *measured.differences], key=lambda d: key_of(d.path)):
            findings.note(difference, self._scope.limit)
        for path in dict.fromkeys([*batch.moved, *moved]):
            findings.move(path)
        for kind, answer in measured.answers.items():
            findings.answers.setdefault(kind, KindAnswer()).merge(answer)
        for kind, passed in measured.passed.items():
            self.passed.setdefault(kind, Passed()).merge(passed)
        for kind, count in measured.records.items():
            findings.records[kind] = findings.records.get(kind, 0) + count
        findings.entries += len(batch.seen)
        findings.compared += measured.entries
        findings.size += measured.size
        if measured.unreadable:
            kinds = {pair.bytes.path: pair.server.kind for pair in batch.pairs}
            differing = {difference.path for difference in findings.differences}
            findings.read_not(measured.unreadable, self._scope.limit, kinds.__getitem__, again=differing)
        self._fold_roots(batch, measured, findings, waypoints)
        findings.inventory, findings.sampled = batch.inventory, batch.sampled
        findings.after = batch.after

    def _fold_roots(self, batch: _Batch, measured: Measured, findings: Findings, waypoints: Waypoints) -> None:
        left_out = {path for path, _ in measured.unreadable}
        for one, other in batch.seen:
            entry = one or other
            assert entry is not None
            _count(entry, findings)
            if entry.path in left_out:
                continue
            here, there = measured.digests.get(entry.path, (b"", b""))
            source, target = (here, there) if self._scope.reads_source else (there, here)
            findings.source_root = chained(findings.source_root, one, source)
            findings.target_root = chained(findings.target_root, other, target)
            findings.rooted += 1
            waypoints.pass_by(findings.rooted, entry.path, findings.source_root)


def _present(entry: Entry | None) -> Entry | None:
    """*entry*, unless it is a tombstone."""
    return None if entry is None or entry.type == "gone" else entry


def _count(entry: Entry, findings: Findings) -> None:
    name = entry.kind or "-"
    findings.kinds[name] = findings.kinds.get(name, 0) + 1
    findings.directories += entry.type == "dir"
    findings.links += entry.type == "link"
    if entry.type == "file":
        findings.sizes[name] = findings.sizes.get(name, 0) + entry.size


def listed(inventory: bytes, one: Entry | None, other: Entry | None) -> bytes:
    """The hash of two inventories with one more path: everything that tells, without reading, that it is as it was."""
    said = b"".join([_said(entry) for entry in (one, other) if entry is not None])
    return hashlib.sha256(inventory + said).digest()


def _said(e: Entry) -> bytes:
    s = e.signature
    numbers = (
        e.size,
        e.mode,
        e.mtime_ns,
        e.generation,
        e.row,
        e.complete,
        e.unstable,
        *((s.ctime_ns, s.inode, s.mtime_ns, s.size) if s else (0,) * 4),
    )
    words = b"%b\0%b\0%b\0%b\0" % (e.path, e.type.encode(), e.kind.encode(), e.link)
    return words + (e.digest or b"") + b"\0%d %d %d %d %d %d %d %d %d %d %d\0" % numbers
