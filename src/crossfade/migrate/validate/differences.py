"""Differences: how they are classed, and how two entries or their figures are told apart. Plain functions on values."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Literal

from crossfade.migrate.decide import Task
from crossfade.model.entries import Entry
from crossfade.model.figures import Figure

Class = Literal["missing", "extra", "content", "metadata", "column", "query", "quarantined", "ignored"]


@dataclass(frozen=True)
class Difference:
    """One path that differs. ``segment`` and ``offset`` say where first, for content and columns. Never what.

    ``is_of_before``: it is in what the target was brought before its source went on, so that no change of that explains it.
    """

    path: bytes
    kind: str
    klass: Class
    detail: str
    segment: int | None = None
    offset: int | None = None
    is_of_before: bool = False


def of_presence(source: Entry | None, target: Entry | None) -> Difference | None:
    """A path that only one side has, or that is of another type there."""
    if source is None or target is None:
        present = source or target
        assert present is not None
        klass: Class = "missing" if target is None else "extra"
        return Difference(
            present.path, present.kind, klass, f"a {present.type} that only the {'source' if source else 'target'} has"
        )
    if source.type != target.type:
        return Difference(source.path, source.kind or target.kind, "content", f"a {source.type} there, a {target.type} here")
    return None


def held_back(path: bytes, kind: str, standing: Container[str]) -> Difference:
    """What lacks something that is in quarantine: held there, or ignored by somebody who looked at it, which is no difference."""
    if "held" in standing:
        return Difference(path, kind, "quarantined", "held in quarantine")
    return Difference(path, kind, "ignored", "ignored in quarantine")


def of_metadata(source: Entry, target: Entry) -> Difference | None:
    """Mode, time and link text."""
    parts = []
    if source.type == "link":
        parts += ["link text"] if source.link != target.link else []
    elif source.mode != target.mode:
        parts.append(f"mode {source.mode:o}, here {target.mode:o}")
    if source.mtime_ns != target.mtime_ns:
        parts.append("mtime")
    if not parts:
        return None
    return Difference(source.path, source.kind, "metadata", " and ".join(parts))


def of_figures(entry: Entry, source: Sequence[Figure], target: Sequence[Figure]) -> Difference | None:
    """Content first, then columns; the first segment that differs."""
    for one, other in zip(source, target, strict=False):
        if one.segment != other.segment:
            offset = min(one.segment.offset, other.segment.offset)
            return Difference(entry.path, entry.kind, "content", "bytes differ", one.segment.number, offset)
    if len(source) != len(target):
        longer = max(source, target, key=len)
        first = longer[min(len(source), len(target))].segment
        detail = "the target ends early" if len(source) > len(target) else "the target goes on"
        return Difference(entry.path, entry.kind, "content", detail, first.number, first.offset)
    for one, other in zip(source, target, strict=True):
        if (one.records, one.columns) != (other.records, other.columns):
            detail = f"{one.records} records, here {other.records}" if one.records != other.records else "promoted columns"
            return Difference(entry.path, entry.kind, "column", detail, one.segment.number, one.segment.offset)
    return None


def source_moved(task: Task | None, *, to_files: bool) -> bool:
    """True where *task*, which is still to be done after a copy, is there because the source changed under it.

    Everything else that would be done differs because of the target. An entry that only the source has is counted as new:
    whether it was there when the source was listed, nobody knows any more.
    """
    if task is None:
        return False
    return _moved_from_database(task) if to_files else _moved_from_files(task)


def _moved_from_files(task: Task) -> bool:
    """Toward a database. The mark beside the target's entry is what the source's file was when it was taken."""
    source, target = task.source, task.target
    if source is None:
        return target is not None and target.signature is not None
    if target is None or target.type == "gone":
        return True
    untouched = source.signature is not None and source.signature == target.signature
    return not untouched or not target.complete or target.unstable


def _moved_from_database(task: Task) -> bool:
    """Toward files. The mark beside the source's entry is what the target's file was when it was written."""
    source, target = task.source, task.target
    if source is None or source.type == "gone":
        return task.verb == "remove"
    if target is None:
        return source.signature is None
    ours = source.signature is not None and source.signature == target.signature
    return ours and task.verb in ("put", "append", "touch")
