"""What moves: blocks out of a store, changes and pages into one."""

from __future__ import annotations

import uuid

import msgspec

from crossfade.model.digests import Segment
from crossfade.model.entries import Entry, Signature


class Block(msgspec.Struct, frozen=True, gc=False):
    """Consecutive, verbatim bytes of one entry, all of whose records start in one segment.

    Whole records; or, where ``record`` is set, one piece of the long record that starts at that offset. ``last`` says
    that the entry ends here. ``entry`` is the entry as it was found when these bytes were read.
    """

    entry: Entry
    offset: int
    data: bytes
    record: int | None = None
    last: bool = False

    @property
    def end(self) -> int:
        """The offset after the last byte."""
        return self.offset + len(self.data)

    def __repr__(self) -> str:
        """Without the content, which must not get into a log."""
        return f"Block({self.entry.path!r}, {self.offset}, <{len(self.data)} bytes>, {self.record}, {self.last})"


class Put(msgspec.Struct, frozen=True, gc=False):
    """Bytes for an entry. Offset 0 begins a new generation; any other continues where the last put ended.

    ``segments`` are those that became whole with these bytes; ``digest`` is set with the last put of the entry. With ``onto``
    the bytes go to the end of a file where it is, as long as it still is what this signature says; each has its digest then.
    """

    block: Block
    segments: tuple[Segment, ...] = ()
    digest: bytes | None = None
    onto: Signature | None = None

    @property
    def entry(self) -> Entry:
        """The entry that the bytes belong to."""
        return self.block.entry


class Touch(msgspec.Struct, frozen=True, gc=False):
    """An entry without bytes: a directory or a link made, or mode and time changed."""

    entry: Entry


class Remove(msgspec.Struct, frozen=True, gc=False):
    """An entry that is no longer there."""

    entry: Entry


class Move(msgspec.Struct, frozen=True, gc=False):
    """An entry that stands elsewhere from now on, with all its bytes: *before* as it stood, *entry* as it stands.

    All moves of a page happen at once, so that a page may exchange two, or move a whole chain.
    """

    before: Entry
    entry: Entry


Change = Put | Touch | Remove | Move


class Page(msgspec.Struct, frozen=True):
    """A bounded list of changes that is applied as one. The unit of I/O, of marking, of throttling, of display.

    A path that is in ``seen`` is written only as long as it is what was seen there; None says that nothing was. Directories
    are not looked at: their times change with what is in them.
    """

    changes: tuple[Change, ...]
    name: uuid.UUID = msgspec.field(default_factory=uuid.uuid4)
    seen: dict[bytes, Entry | None] = {}

    @property
    def size(self) -> int:
        """Bytes of content."""
        return sum(len(change.block.data) for change in self.changes if isinstance(change, Put))
