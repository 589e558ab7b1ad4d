"""Carrying out tasks: read, digest, fill pages, apply. This is what a worker does, in whichever process it lives.

A position is recorded only by the page that brings what it stands for.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import msgspec

from crossfade.errors import ContentDiffers, TargetForeign, Unreadable
from crossfade.migrate.decide import Task
from crossfade.migrate.growth import Growth
from crossfade.migrate.guarding import Guards
from crossfade.migrate.parting import begins_with, lines_in, parts
from crossfade.migrate.placing import generation_of, is_ours, marked_by, row_of, source_of, target_of, touched
from crossfade.migrate.plan import Limits
from crossfade.model.answers import Passed, merge_passed
from crossfade.model.changes import Block, Change, Page, Put, Remove, Touch
from crossfade.model.digests import Digester, Growing, Segment
from crossfade.model.entries import SEGMENT, Entry, Signature, altered
from crossfade.model.paths import text_of
from crossfade.store.port import Applied, Reading, Store

_MOVED = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.ESPIPE)
"""What opening or reading a file says when something else, or nothing, stands there by now."""


@dataclass(frozen=True)
class Outcome:
    """What one applied page did, in numbers.

    So few bytes that a pipe takes them as a whole: a worker that is killed while it tells never leaves half a message.
    """

    kind: str
    files: int
    finished: int
    records: int
    raw: int
    refused: int
    bytes: int
    seconds: float


@dataclass
class Carried:
    """What became of a shard: paths that moved under the copy, paths that could not be read, whether it was cut short, pages applied.

    ``passed`` is what was seen of the records, by kind; None for a kind of which not all was seen.
    """

    moved: list[bytes] = field(default_factory=list)
    unreadable: list[tuple[bytes, str]] = field(default_factory=list)
    stopped: bool = False
    pages: int = 0
    passed: dict[str, Passed | None] = field(default_factory=dict)


class Carrier:
    """Carries tasks from *source* to *target*, page by page. *ready* waits for leave to apply a page, *done* hears of it."""

    def __init__(
        self,
        source: Store,
        target: Store,
        limits: Limits,
        *,
        ready: Callable[[Page, int], None],
        done: Callable[[Outcome], None],
        stop: Callable[[], bool],
        skip_unreadable: bool = False,
    ) -> None:
        self._source = source
        self._target = target
        self._limits = limits
        self._ready = ready
        self._done = done
        self._stop = stop
        self._skip_unreadable = skip_unreadable
        self._counted = b"", 0
        self._growth = Growth(source, target)
        self._guards = Guards(target)

    def carry(self, tasks: Sequence[Task]) -> Carried:
        """Carry out *tasks*, until done or told to stop; the page in hand is finished either way."""
        carried = Carried()
        self._guards.begin(tasks)
        for page, records in self._pages(self._changes(tasks, carried)):
            merge_passed(carried.passed, self._apply(page, records).passed)
            carried.pages += 1
            if self._stop():
                carried.stopped = True
                break
        return carried

    def _apply(self, page: Page, records: int) -> Applied:
        self._ready(page, records)
        began = time.monotonic()
        applied = self._target.apply(self._guards.on(page))
        self._guards.applied(page)
        self._done(_outcome(page, applied, time.monotonic() - began))
        if applied.left:
            self._overtaken(applied.left)
        return applied

    def _overtaken(self, paths: Sequence[bytes]) -> None:
        """Somebody else has written what stands at *paths* since they were looked at."""
        raise _changed(paths[0])

    def _pages(self, changes: Iterator[Change]) -> Iterator[tuple[Page, int]]:
        """Changes in pages: full by bytes, by records, or by the time since the first."""
        held: list[Change] = []
        size = records = 0
        since = time.monotonic()
        for change in changes:
            more, lines = (len(change.block.data), self._records_in(change.block)) if isinstance(change, Put) else (0, 0)
            if held and (size + more > self._limits.page_bytes or records + lines > self._limits.page_records):
                yield Page(tuple(held)), records
                held, size, records, since = [], 0, 0, time.monotonic()
            held.append(change)
            size, records = size + more, records + lines
            if len(held) >= 5000 or time.monotonic() - since >= self._limits.mark_seconds:
                yield Page(tuple(held)), records
                held, size, records, since = [], 0, 0, time.monotonic()
        if held:
            yield Page(tuple(held)), records

    def _changes(self, tasks: Sequence[Task], carried: Carried) -> Iterator[Change]:
        """The changes of *tasks*, in order; runs of plain puts share one read."""
        plain: list[Task] = []
        for task in tasks:
            if task.source is not None and not task.source.complete:
                self._leave_out(task, "its own copy is not finished", carried)
                continue
            if task.replaces:
                yield Remove(target_of(task))
            if task.verb == "put" and task.entry.size <= SEGMENT:
                plain.append(task)
                continue
            yield from self._guarded(plain, carried)
            plain = []
            yield from self._one(task, carried)
        yield from self._guarded(plain, carried)

    def _one(self, task: Task, carried: Carried) -> Iterator[Change]:
        match task.verb:
            case "touch":
                yield Touch(touched(task, row_of(task, self._target)))
            case "remove":
                yield Remove(target_of(task))
            case "adopt" if self._holds_the_same(task):
                yield Touch(touched(task, row_of(task, self._target)))
            case "adopt":
                self._not_the_same(task)
            case _:
                yield from self._guarded([task], carried)

    def _not_the_same(self, task: Task) -> None:
        """Something else stands where ours may have stood."""
        raise _changed(task.entry.path)

    def _holds_the_same(self, task: Task) -> bool:
        """True where the target's bytes are the source's: proven from the file itself, not by writing it again."""
        source = source_of(task)
        ((_, found),) = self._target.digest([target_of(task)])
        return source.type != "file" or found == source.digest

    def _guarded(self, tasks: list[Task], carried: Carried) -> Iterator[Change]:
        """The puts of *tasks*. What is gone meanwhile has moved; what cannot be read is named, or stops the run."""
        left = list(tasks)
        while left:
            try:
                yield from self._puts(left)
            except OSError as error:
                task = left.pop(0)
                if error.errno in _MOVED or isinstance(error, FileNotFoundError):
                    carried.moved.append(task.entry.path)
                else:
                    self._leave_out(task, error.strerror or str(error), carried)

    def _leave_out(self, task: Task, why: str, carried: Carried) -> None:
        if not self._skip_unreadable:
            raise _unreadable(task.entry, why)
        carried.unreadable.append((task.entry.path, why))

    def _puts(self, left: list[Task]) -> Iterator[Change]:
        """The puts of the tasks that are *left*; each leaves the list with its last block."""
        if left[0].verb in ("append", "refresh") and (changes := self._growth.of(left[0])) is not None:
            yield from changes
            left.pop(0)
            return
        if left[0].verb == "append" and not is_ours(left[0]):
            self._not_the_same(left.pop(0))
            return
        if left[0].verb == "append":
            left[0] = msgspec.structs.replace(left[0], verb="put")
            self._guards.add(left[0])
        if left[0].verb in ("resume", "refresh") or self._may_be_staged(left[0]):
            yield from self._continued(left)
            return
        readings = [Reading(source_of(task)) for task in left]
        digester = Digester()
        for block in self._blocks(readings):
            yield self._put(block, left[0], digester, fresh=True)
            if block.last:
                left.pop(0)
                digester = Digester()

    def _continued(self, left: list[Task]) -> Iterator[Change]:
        """One entry whose beginning may be there already."""
        task = left[0]
        if task.verb == "refresh" and (begun := self._begun(task)) is not None:
            yield from self._appended(left, *begun)
            return
        segments, within = self._known(task)
        signature = source_of(task).signature
        if task.verb == "refresh":
            segments, within, signature, same = self._compare(task, segments, within)
            if same:
                left.pop(0)
                yield Touch(marked_by(touched(task, row_of(task, self._target)), signature))
                return
        digester = Digester(segments)
        offset = segments[-1].offset + segments[-1].size if segments else 0
        for block in self._blocks([Reading(source_of(task), offset, within)]):
            seen = _as_seen(block, signature) if offset else block
            yield self._put(seen, task, digester, fresh=offset == 0 or task.verb == "put")
        left.pop(0)

    def _begun(self, task: Task) -> tuple[Growing, Signature | None] | None:
        """The digest of a log that begins with all that the target has of it, to go on from; and what it was when it was read."""
        source, target = source_of(task), target_of(task)
        if not (target.complete and target.form == source.form == "log" and 0 < target.size < source.size):
            return None
        return begins_with(target, self._read([Reading(source)]))

    def _appended(self, left: list[Task], growing: Growing, signature: Signature | None) -> Iterator[Change]:
        """What was appended to a log behind what *growing* has taken."""
        for block in self._blocks([Reading(source_of(left[0]), growing.size)]):
            yield self._grow(_as_seen(block, signature), left[0], growing)
        left.pop(0)

    def _grow(self, block: Block, task: Task, growing: Growing) -> Change:
        """*block*, which is appended to an entry whose bytes *growing* has taken so far."""
        seen = msgspec.structs.replace(task, source=block.entry)
        entry = altered(touched(seen, row_of(task, self._target)), unstable=block.entry.unstable)
        if not block.data and block.last and block.offset == target_of(task).size:
            return Touch(entry)
        segments = growing.add(block.offset, block.data) if block.data else ()
        whole = (*segments, *growing.last()) if block.last else segments
        digest = _checked(block, growing.digest()) if block.last else None
        return Put(msgspec.structs.replace(block, entry=entry), whole, digest)

    def _blocks(self, readings: list[Reading]) -> Iterator[Block]:
        for block in self._read(readings):
            yield from parts(block, self._limits, self._lines_in)

    def _read(self, readings: list[Reading]) -> Iterator[Block]:
        """What the source has. A read that broke went on in whatever file stood there by then, so an entry keeps its first mark."""
        first: Entry | None = None
        for block in self._source.read(readings):
            if first is None or first.path != block.entry.path:
                first = block.entry
            elif first.signature != block.entry.signature:
                self._was_reopened(first.path)
            yield _as_seen(block, first.signature)

    def _was_reopened(self, path: bytes) -> None:
        """What was read of *path* may be the beginning of one file, and the end of another."""

    def _records_in(self, block: Block) -> int:
        return self._lines_in(block.data) if block.entry.form == "log" else 1

    def _lines_in(self, data: bytes) -> int:
        """How many lines; of the same bytes asked twice, as whoever cuts a block and whoever fills a page do, counted once."""
        if self._counted[0] is not data:
            self._counted = data, lines_in(data)
        return self._counted[1]

    def _may_be_staged(self, task: Task) -> bool:
        """True for a long entry on its way to files: it grows under a temporary name, and may have begun in an earlier run."""
        return task.verb == "put" and task.entry.size > SEGMENT and not self._target.can.digests

    def _staged(self, task: Task) -> tuple[Segment, ...]:
        """What an earlier run left of a long entry, as far as its bytes are still the source's."""
        begun = altered(source_of(task), generation=generation_of(task, fresh=True))
        return _common(self._source.segments(source_of(task)), self._target.segments(begun))

    def _known(self, task: Task) -> tuple[tuple[Segment, ...], int | None]:
        """The whole segments that the target has of an entry, and the long record that they end in."""
        if task.verb == "put":
            return self._staged(task), None
        segments = self._target.segments(target_of(task))
        end = segments[-1].offset + segments[-1].size if segments else 0
        within = target_of(task).within
        return segments, within if within is not None and end > within else None

    def _compare(
        self, task: Task, known: tuple[Segment, ...], within: int | None
    ) -> tuple[tuple[Segment, ...], int | None, Signature | None, bool]:
        """How much of the source is what the target has: equal segments to go on from, the long record they end in, or all of it.

        Also the signature that the source had when it was read for this. An entry that ends within a long record is taken
        anew when it changed.
        """
        target = target_of(task)
        digester = Digester()
        last: Block | None = None
        going_on: dict[int, int] = {}
        for block in self._read([Reading(source_of(task))]):
            digester.add(block.offset, block.data)
            last = block
            if block.record is not None and block.record < block.offset:
                going_on[block.offset] = block.record
        digest = digester.finish()
        assert last is not None
        form = last.entry.form
        if target.complete and digest == target.digest and form == target.form:
            return (), None, last.entry.signature, True
        if form != "log" or within is not None or target.form != form:
            return (), None, None, False
        common = _common(known, tuple(digester.segments))
        within = going_on.get(common[-1].offset + common[-1].size) if common else None
        return common, within, last.entry.signature, False

    def _put(self, block: Block, task: Task, digester: Digester, *, fresh: bool) -> Put:
        """*block* for the target: digested, and named as the target names the entry."""
        assert block.entry.path == task.entry.path, "a store must read what it was asked for, in order"
        digester.add(block.offset, block.data)
        digest = _checked(block, digester.finish()) if block.last else None
        row, generation = row_of(task, self._target), generation_of(task, fresh=fresh)
        entry = altered(block.entry, generation=generation, row=row, records=0, raws=0)
        return Put(Block(entry, block.offset, block.data, block.record, block.last), digester.fresh(), digest)


def _outcome(page: Page, applied: Applied, seconds: float) -> Outcome:
    files = [entry for entry in applied.entries if entry.type == "file"]
    removed = sum(1 for change in page.changes if isinstance(change, Remove))
    return Outcome(
        kind=files[0].kind if files else "-",
        files=len(files),
        finished=sum(1 for entry in applied.entries if entry.complete) + removed,
        records=applied.records,
        raw=sum(count for _, _, count in applied.raws),
        refused=len(applied.refusals),
        bytes=page.size,
        seconds=seconds,
    )


def _common(known: tuple[Segment, ...], found: tuple[Segment, ...]) -> tuple[Segment, ...]:
    """The leading segments that are equal. The last one of an entry may have grown, so it is equal only if it is whole."""
    equal: list[Segment] = []
    for one, other in zip(known, found, strict=False):
        if one != other:
            break
        equal.append(one)
    return tuple(equal)


def _checked(block: Block, digest: bytes) -> bytes:
    """*digest*, which was computed of an entry that ends with *block*. Raises ContentDiffers where its books say another."""
    if block.entry.digest not in (None, digest):
        raise ContentDiffers(
            f"{text_of(block.entry.path)}: what was read is not what its digest says",
            hint="the source's records were changed by hand: compare it with what it was copied from, by crossfade validate",
        )
    return digest


def _as_seen(block: Block, signature: Signature | None) -> Block:
    """*block* of a file that was opened again, marked with what the file was when its beginning was looked at.

    Whatever happened in between, the beginning's change among it, then shows at the next look.
    """
    if block.entry.signature == signature:
        return block
    return msgspec.structs.replace(block, entry=altered(block.entry, signature=signature))


def _changed(path: bytes) -> TargetForeign:
    return TargetForeign(
        f"the target's {text_of(path)} was changed since it was written",
        hint="move it away, then repeat the command",
    )


def _unreadable(entry: Entry, why: str) -> Unreadable:
    return Unreadable(
        f"cannot read {text_of(entry.path)}: {why}",
        hint="mend it and repeat the command, or leave it out with --skip-unreadable",
    )
