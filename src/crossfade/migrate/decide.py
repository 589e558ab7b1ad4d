"""What has to be done for one path. Plain functions on values; nothing here touches a store.

Two directions, because what is known differs. Toward a database, the mark beside the target's entry is the signature that
the source's file had when it was taken. Toward files, the mark beside the source's entry is the signature that the target's
file had when we wrote it.
"""

from __future__ import annotations

from typing import Literal, TypeGuard

import msgspec

from crossfade.model.entries import Entry, altered, content_of, same_metadata

Verb = Literal["put", "resume", "refresh", "append", "touch", "adopt", "remove", "conflict", "stranger", "absent"]

FOREIGN = ("conflict", "stranger", "absent")
"""What somebody else did to the target: for people."""


class Task(msgspec.Struct, frozen=True, gc=False):
    """One thing to do for one path.

    ``put`` all of it; ``resume`` where the copy stopped; ``refresh``: look how much is new; ``append`` what a log has grown
    by to the file that is there; ``touch`` mode, time or link; ``adopt`` what is there, if its content is right; ``remove``;
    ``conflict``, ``stranger`` and ``absent``, which is what we wrote and somebody removed, are for people.
    """

    verb: Verb
    source: Entry | None
    target: Entry | None

    @property
    def entry(self) -> Entry:
        """The entry, as the side that has it shows it."""
        entry = self.source or self.target
        assert entry is not None
        return entry

    @property
    def replaces(self) -> bool:
        """True where something of another type is in the way."""
        if self.source is None or self.target is None:
            return False
        return self.target.type not in (self.source.type, "gone")


def toward_database(source: Entry | None, target: Entry | None) -> Task | None:
    """What brings *target*, an entry in a database, in step with *source*. None when it is."""
    if source is None:
        return Task("remove", None, target) if target and target.type != "gone" else None
    if target is None or target.type == "gone" or target.type != source.type:
        return Task("put" if source.type == "file" else "touch", source, target)
    if source.type != "file":
        return None if same_metadata(source, target) else Task("touch", source, target)
    return _file_toward_database(source, target)


def _file_toward_database(source: Entry, target: Entry) -> Task | None:
    if source.digest is not None:
        if not target.complete or source.digest != target.digest:
            return Task("refresh", source, target)
        return None if same_metadata(source, target) else Task("touch", source, target)
    untouched = source.signature is not None and source.signature == target.signature
    if not target.complete:
        return Task("resume" if untouched else "refresh", source, target)
    if not untouched or target.unstable:
        return Task("refresh", source, target)
    return None if same_metadata(source, target) else Task("touch", source, target)


def toward_files(source: Entry | None, target: Entry | None) -> Task | None:
    """What brings *target*, an entry in a directory, in step with *source*, an entry with its mark. None when it is."""
    if source is None or source.type == "gone":
        return _leftover(source, target)
    if target is None:
        return Task("put" if source.type == "file" else "touch", source, None)
    if source.type == "dir" and target.type == "dir":
        return None if same_metadata(source, target) else Task("touch", source, target)
    ours = source.signature is not None and source.signature == target.signature
    if source.type != target.type:
        return (
            Task("put" if source.type == "file" else "touch", source, target) if ours else Task("conflict", source, target)
        )
    if not ours:
        return _unmarked(source, target)
    if source.type == "file" and source.digest != source.marked:
        return Task("append" if source.form == "log" and source.size > target.size else "put", source, target)
    return None if same_metadata(source, target) else Task("touch", source, target)


def _leftover(source: Entry | None, target: Entry | None) -> Task | None:
    """Something that the source does not have: a stranger, or what we wrote and the source has removed since."""
    if target is None:
        return None
    if source is None or source.signature is None:
        return Task("stranger", None, target)
    if target.type == "dir" or source.signature == target.signature:
        return Task("remove", None, altered(target, row=source.row))
    return Task("conflict", None, target)


def _unmarked(source: Entry, target: Entry) -> Task:
    """Something is where ours belongs, and it is not known to be ours: it is, if it is the same in every respect."""
    if same_metadata(source, target) and source.size == target.size:
        return Task("adopt", source, target)
    return Task("append" if _may_be_half_appended(source, target) else "conflict", source, target)


def _may_be_half_appended(source: Entry, target: Entry) -> bool:
    """True for the file that was marked, grown: whoever appended to it last may have died before the mark."""
    mark = source.signature
    if mark is None or target.signature is None or source.form != "log":
        return False
    return mark.inode == target.signature.inode and mark.size <= target.size <= source.size > mark.size


def beside_files(source: Entry | None, target: Entry | None) -> Task | None:
    """As ``toward_files``, for following: what somebody removed since we wrote it is not written again.

    Unless the source holds something else by now: then what we wrote may have gone to make way for it.
    """
    is_marked = _is_live(source) and source.signature is not None and content_of(source) == source.marked
    if target is None and is_marked:
        return Task("absent", source, None)
    return toward_files(source, target)


def beside_database(source: Entry | None, target: Entry | None) -> Task | None:
    """As ``toward_database``, for following files: what somebody wrote into the database by hand is left alone.

    What came from the files has a mark, with the digest that it had then.
    """
    if not _is_live(target):
        signatures = {entry.signature for entry in (source, target) if entry is not None}
        removed = source is not None and target is not None and len(signatures) == 1 and None not in signatures
        return Task("absent", source, target) if removed else toward_database(source, target)
    if target.signature is None:
        return Task("stranger", None, target) if source is None else toward_database(source, target)
    if target.type == "file" and target.complete and target.digest != target.marked:
        return Task("conflict", source, target)
    return toward_database(source, target)


def _is_live(entry: Entry | None) -> TypeGuard[Entry]:
    return entry is not None and entry.type != "gone"
