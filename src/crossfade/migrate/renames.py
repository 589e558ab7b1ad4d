"""Files that moved: the same file under another name, so its entry goes there, and its rows stay as they are.

The inode is the guess: which entry was that file when it was last in step. Its content is the proof.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice

from crossfade.migrate.decide import Task
from crossfade.migrate.prepare import Run
from crossfade.model.changes import Move
from crossfade.model.digests import Growing
from crossfade.model.entries import Entry, Signature, altered
from crossfade.store.backends.postgres.inodes import paths_of
from crossfade.store.port import Reading, Store

_TOGETHER = 2000


class Renames:
    """Finds them for *run*, which copies files into a database. *source* and *target* are its two sides."""

    def __init__(self, run: Run, source: Store, target: Store) -> None:
        self._run = run
        self._source = source
        self._target = target

    def among(self, tasks: Sequence[Task]) -> list[Move]:
        """The moves that explain some of *tasks*: what they would bring stood elsewhere, and does not stand there any more."""
        came = [task.source for task in tasks if task.source is not None and _came(task)]
        known = self._left(came)
        found: dict[bytes, Move] = {}
        for entry in came:
            assert entry.signature is not None
            for before in known.get(entry.signature.inode, ()):
                if before.path not in found and (move := self._move(before, entry)) is not None:
                    found[before.path] = move
                    break
        return list(found.values())

    def _left(self, came: Sequence[Entry]) -> dict[int, list[Entry]]:
        """The entries whose files had the inodes of what *came*, and are not where they were; by inode."""
        inodes = [entry.signature.inode for entry in came if entry.signature is not None]
        if not inodes:
            return {}
        ledger = self._run.ledger
        paths = ledger.ask(lambda c: paths_of(c, ledger.schema, self._run.store_id, self._run.migration, inodes))
        there = {entry.path: entry.signature for entry in self._source.look(paths)}
        found: dict[int, list[Entry]] = {}
        for entry in self._target.look(paths):
            if entry.signature is not None and not _stays(entry.signature, there.get(entry.path)):
                found.setdefault(entry.signature.inode, []).append(entry)
        return found

    def _move(self, before: Entry, entry: Entry) -> Move | None:
        """*before*, moved to where *entry* is; None where its content is not what *entry* begins with, or would be read otherwise."""
        is_all = before.size == entry.size
        if not (is_all or (before.form == "log" and 0 < before.size < entry.size)) or not self._reads_alike(before, entry):
            return None
        seen = self._seen(before, entry)
        if seen is None:
            return None
        if seen.size != before.size:
            return Move(before, altered(before, path=entry.path))  # its mark shows that there is more to bring
        return Move(
            before,
            altered(
                before, path=entry.path, mode=seen.mode, mtime_ns=seen.mtime_ns, signature=seen.signature, unstable=False
            ),
        )

    def _seen(self, before: Entry, entry: Entry) -> Entry | None:
        """*entry* as it was read, where its bytes begin with those of *before*."""
        growing = Growing()
        with suppress(OSError):  # whoever brings it will say so
            for block in self._source.read([Reading(entry)]):
                growing.add(block.offset, block.data[: before.size - growing.size])
                if growing.size == before.size:
                    return block.entry if (growing.digest(), block.entry.form) == (before.digest, before.form) else None
        return None

    def _reads_alike(self, before: Entry, entry: Entry) -> bool:
        """True where the layout makes the same rows of a record there."""
        old, new = self._run.layout.place(before.path), self._run.layout.place(entry.path)
        return (old.kind.name, old.captures) == (new.kind.name, new.captures) and before.kind == entry.kind


def moves_among(tasks: Iterator[Task], renames: Renames) -> Iterator[list[Move]]:
    """The moves that explain some of *tasks*, a few at a time."""
    while some := list(islice(tasks, _TOGETHER)):
        if moves := renames.among(some):
            yield moves


def _came(task: Task) -> bool:
    """True where a file is to be brought that may have stood elsewhere."""
    source, target = task.source, task.target
    if source is None or source.type != "file" or source.signature is None or not source.size:
        return False
    if target is None or target.type == "gone":
        return task.verb == "put"
    return target.type == "file" and target.signature is not None and target.signature.inode != source.signature.inode


def _stays(mark: Signature, there: Signature | None) -> bool:
    """True where the file is still at its old place, or is a hard link to what is."""
    return there is not None and there.inode == mark.inode
