"""How an entry is numbered in the target, and what it is there once it was touched."""

from __future__ import annotations

from crossfade.migrate.decide import Task
from crossfade.model.entries import Entry, Signature, altered
from crossfade.store.port import Store


def source_of(task: Task) -> Entry:
    """What the source has; there is something."""
    assert task.source is not None
    return task.source


def target_of(task: Task) -> Entry:
    """What the target has; there is something."""
    assert task.target is not None
    return task.target


def row_of(task: Task, target: Store) -> int:
    """The row that the entry is marked under: a database's own, or, where the target is files, the source's."""
    entry = task.target if target.can.digests else task.source
    return entry.row if entry is not None else 0


def generation_of(task: Task, *, fresh: bool) -> int:
    """The generation of an entry that is written anew, with *fresh*, or goes on."""
    if task.target is None:
        return 1
    return task.target.generation + (1 if fresh else 0)


def is_ours(task: Task) -> bool:
    """True where the file at a path is as it was marked."""
    return task.source is not None and task.target is not None and task.source.signature == task.target.signature


def marked_by(entry: Entry, read: Signature | None) -> Entry:
    """*entry* as it was looked at; where what was *read* since may change in the same tick, marked so that no look finds it again."""
    return altered(entry, signature=read) if read is not None and not read.ctime_ns else entry


def touched(task: Task, row: int) -> Entry:
    """The entry for a touch: what the target has, with the source's metadata."""
    source = source_of(task)
    target = task.target
    if target is None or target.type != source.type:
        generation = 1 if target is None else target.generation + 1
        return altered(source, row=row, generation=generation, records=0, raws=0)
    return altered(
        target,
        mode=source.mode,
        mtime_ns=source.mtime_ns,
        link=source.link,
        signature=source.signature,
        unstable=False,
        digest=source.digest or target.digest,
        row=row,
        records=0,
        raws=0,
    )
