"""Two inventories, side by side: sorted streams, merged; no set of paths in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from crossfade.migrate.decide import Task
from crossfade.model.entries import Entry
from crossfade.model.paths import key_of

Decide = Callable[[Entry | None, Entry | None], Task | None]


def merge(source: Iterable[Entry], target: Iterable[Entry]) -> Iterator[tuple[Entry | None, Entry | None]]:
    """Pairs of entries with the same path; None where one side has none. Both sides come ordered by key."""
    ones, others = iter(source), iter(target)
    one, other = next(ones, None), next(others, None)
    while one is not None or other is not None:
        order = _order(one, other)
        yield (one if order <= 0 else None), (other if order >= 0 else None)
        if order <= 0:
            one = _following(ones, one)
        if order >= 0:
            other = _following(others, other)


def _order(one: Entry | None, other: Entry | None) -> int:
    if one is None or other is None:
        return 1 if one is None else -1
    mine, theirs = key_of(one.path), key_of(other.path)
    return (mine > theirs) - (mine < theirs)


def _following(entries: Iterator[Entry], last: Entry | None) -> Entry | None:
    """The next entry; a store that does not keep the order would break everything built on it, so it is checked."""
    found = next(entries, None)
    if found is not None and last is not None:
        assert key_of(found.path) > key_of(last.path), "a store must list its entries in key order"
    return found


def tasks(source: Iterable[Entry], target: Iterable[Entry], decide: Decide, kinds: frozenset[str] | None) -> Iterator[Task]:
    """What there is to do, in key order. With *kinds*, only files of these; directories and links come along always."""
    for one, other in merge(source, target):
        entry = one or other
        if entry is None or (kinds is not None and entry.kind and entry.kind not in kinds):
            continue
        task = decide(one, other)
        if task is not None:
            yield task
