"""Bringing over what lives: as copying does, but what is being written this moment waits for its turn."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain

import msgspec

from crossfade.migrate.carry import Carried, Carrier, Outcome
from crossfade.migrate.decide import Task
from crossfade.migrate.follow.stillness import Stillness
from crossfade.migrate.follow.tails import Tail, Tails, last_record
from crossfade.migrate.plan import Limits
from crossfade.model.changes import Block, Change, Move, Page, Put
from crossfade.model.digests import Digester, Growing, Segment
from crossfade.model.entries import Signature, altered
from crossfade.store.port import Applied, Reading, Store

TORN_SECONDS = 2.0
"""How long what looks half written, a document or a log's last line, must look the same before it is taken as it is."""

_BEING_WRITTEN = "it is being written"


@dataclass
class Brought:
    """What became of some tasks: paths to look at again because they *moved*, were *held* back, *torn* or *blurred*, and those not read.

    Held back is a torn line or a document that is half written; torn is a log of which whole lines were taken, though not the
    last. Blurred is a file that was touched in the very tick in which it was looked at, so that its signature would not show
    another change. ``stopped`` says that not all tasks were carried out. Of what is torn or blurred, all that was there until now
    is brought. *foreign* are tasks for what turned out to be somebody else's.
    """

    moved: list[bytes] = field(default_factory=list)
    held: list[bytes] = field(default_factory=list)
    torn: list[bytes] = field(default_factory=list)
    blurred: list[bytes] = field(default_factory=list)
    unreadable: list[tuple[bytes, str]] = field(default_factory=list)
    stopped: bool = False
    foreign: list[Task] = field(default_factory=list)


class Bringer(Carrier):
    """A carrier for a source that is being written. *patient* says of a path whether it may be held back once more; *took* hears of each page.

    *grew* hears of each log of which only the end is read, and says whether that may be.
    """

    def __init__(
        self,
        source: Store,
        target: Store,
        limits: Limits,
        *,
        tails: Tails,
        ready: Callable[[Page, int], None],
        done: Callable[[Outcome], None],
        stop: Callable[[], bool],
        patient: Callable[[bytes], bool],
        took: Callable[[Page, Applied], None],
        grew: Callable[[bytes], bool],
    ) -> None:
        super().__init__(source, target, limits, ready=ready, done=done, stop=stop, skip_unreadable=True)
        self._tails = tails
        self._patient = patient
        self.is_final = False
        self._took = took
        self._grew = grew
        self._brought = Brought()
        self._growing: dict[bytes, Growing] = {}
        self._reopened: set[bytes] = set()
        self._stillness = Stillness()

    def bring(self, tasks: list[Task]) -> Brought:
        """Carry out *tasks*."""
        self._brought, self._growing, self._reopened = Brought(), {}, set()
        carried: Carried = self.carry(tasks)
        self._brought.moved += carried.moved
        self._brought.unreadable += carried.unreadable
        self._brought.stopped = carried.stopped
        return self._brought

    def move(self, moves: list[Move]) -> None:
        """Carry out *moves*, at once."""
        self._apply(Page(tuple(moves)), 0)
        self._tails.move({move.before.path: move.entry.path for move in moves})

    def _apply(self, page: Page, records: int) -> Applied:
        applied = super()._apply(page, records)
        self._took(page, applied)
        return applied

    def _not_the_same(self, task: Task) -> None:
        self._brought.foreign.append(Task("conflict", task.source, task.target))

    def _overtaken(self, paths: Sequence[bytes]) -> None:
        self._brought.moved += paths

    def _leave_out(self, task: Task, why: str, carried: Carried) -> None:
        if why == _BEING_WRITTEN:
            self._brought.held.append(task.entry.path)
        else:
            super()._leave_out(task, why, carried)

    def _blocks(self, readings: list[Reading]) -> Iterator[Block]:
        for block in super()._blocks(readings):
            if block.entry.signature is not None and not block.entry.signature.ctime_ns:
                self._brought.blurred.append(block.entry.path)
            yield self._whole(block)

    def _whole(self, block: Block) -> Block:
        """*block*, or as much of it as is whole. Raises BlockingIOError while it is to be waited for."""
        if block.entry.form == "log":
            return self._whole_lines(block) if block.last else block
        if block.entry.unstable:
            return self._whole_document(block)
        self._stillness.forget(block.entry.path)
        return block

    @contextmanager
    def final(self) -> Iterator[None]:
        """Nobody writes meanwhile: a torn line is as whole as it will be."""
        self.is_final = True
        try:
            yield
        finally:
            self.is_final = False

    def _whole_document(self, block: Block) -> Block:
        """*block*, which may be half written. Raises BlockingIOError while it is to be waited for; what never holds still is taken."""
        if self._is_still(block):
            self._stillness.forget(block.entry.path)
            return msgspec.structs.replace(block, entry=altered(block.entry, unstable=False))
        if self._patient(block.entry.path) and not self.is_final:
            raise BlockingIOError(errno.EAGAIN, _BEING_WRITTEN)
        return block

    def _whole_lines(self, block: Block) -> Block:
        """*block* up to its last newline, while whoever writes may be about to go on."""
        torn = bool(block.data) and not block.data.endswith(b"\n") and block.record is None
        if self.is_final or not torn or self._is_still(block):
            self._stillness.forget(block.entry.path)
            return block
        whole = block.data[: block.data.rfind(b"\n") + 1]
        (self._brought.torn if whole else self._brought.held).append(block.entry.path)
        return msgspec.structs.replace(block, entry=altered(block.entry, unstable=True), data=whole)

    def _is_still(self, block: Block) -> bool:
        """True for what has looked the same for so long that its writer has crashed, or is done."""
        signature = block.entry.signature
        return signature is None or self._stillness.seconds(block.entry.path, signature) >= TORN_SECONDS

    def _puts(self, left: list[Task]) -> Iterator[Change]:
        tail = self._tails.find(left[0].entry.path) if left[0].verb == "refresh" else None
        if tail is None or not tail.goes_on(left[0].entry.signature):
            yield from super()._puts(left)
        else:
            yield from self._behind(left, tail)

    def _behind(self, left: list[Task], tail: Tail) -> Iterator[Change]:
        """What a log has behind its tail; all of it where the tail does not stand there any more."""
        task, source, target = left[0], left[0].source, left[0].target
        assert source is not None
        assert target is not None
        blocks = self._blocks([Reading(source, tail.start)])
        first = next(blocks)
        if not (_stands(tail, first) and target.size == tail.end and self._grew(source.path)):
            self._tails.keep(source.path, None)
            yield from super()._puts(left)
            return
        growing = tail.growing.fork()
        behind = msgspec.structs.replace(first, offset=tail.end, data=first.data[len(tail.record) :])
        for block in chain([behind], blocks):
            yield self._grow(block, task, growing)
        left.pop(0)

    def _compare(
        self, task: Task, known: tuple[Segment, ...], within: int | None
    ) -> tuple[tuple[Segment, ...], int | None, Signature | None, bool]:
        found = super()._compare(task, known, within)
        if found[2] is not None and not found[2].ctime_ns:
            self._brought.blurred.append(task.entry.path)
        return found

    def _begun(self, task: Task) -> tuple[Growing, Signature | None] | None:
        found = super()._begun(task)
        if found is not None and found[1] is not None and not found[1].ctime_ns:
            self._brought.blurred.append(task.entry.path)
        return found

    def _grow(self, block: Block, task: Task, growing: Growing) -> Change:
        change = super()._grow(block, task, growing)
        if block.data and block.entry.signature is not None:
            self._keep_tail(block, growing)
        return change

    def _put(self, block: Block, task: Task, digester: Digester, *, fresh: bool) -> Put:
        self._remember(block, digester)
        return super()._put(block, task, digester, fresh=fresh)

    def _remember(self, block: Block, digester: Digester) -> None:
        """Keep how a log ends, for the next time that it grows."""
        path = block.entry.path
        if block.entry.form != "log" or block.entry.signature is None:
            return
        growing = self._growing.get(path)
        if growing is None or not block.offset:
            growing = self._growing[path] = Growing.after(digester.segments)
        if block.data:
            growing.add(block.offset, block.data)
        if block.last:
            del self._growing[path]
            self._keep_tail(block, growing)

    def _keep_tail(self, block: Block, growing: Growing) -> None:
        path, tail = block.entry.path, _tail_after(block, growing)
        self._tails.keep(path, tail if tail.record and path not in self._reopened else None)

    def _was_reopened(self, path: bytes) -> None:
        self._reopened.add(path)


def _stands(tail: Tail, block: Block) -> bool:
    """True where *block*, read from the tail's start on, begins with the tail's record."""
    return block.entry.form == "log" and tail.goes_on(block.entry.signature) and block.data.startswith(tail.record)


def _tail_after(block: Block, growing: Growing) -> Tail:
    """How a log ends that ends with *block*; with no record where it cannot be gone on from there."""
    signature = block.entry.signature
    assert signature is not None
    whole = block.data.endswith(b"\n") and block.record is None
    record = last_record(block.data) if whole else b""
    return Tail(signature.inode, signature.mtime_ns, block.end - len(record), record, block.end, growing)
