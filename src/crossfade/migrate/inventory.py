"""Two inventories, side by side: sorted streams, merged; no set of paths in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from crossfade.migrate.decide import Task
from crossfade.model.entries import Entry
from crossfade.model.paths import key_of

Decide = Callable[[Entry | None, Entry | None], Task | None]


def merge(source: Iterable[Entry], target: Iterable[Entry]) -> Iterator[tuple[Entry | None, Entry | None]]:
    """Pairs of entries with the same path; None where one side has none. Both sides come ordered by key."""
    ones, others = _keyed(source), _keyed(target)
    (mine, one), (theirs, other) = next(ones, _END), next(others, _END)
    while one is not None or other is not None:
        if other is None or (one is not None and mine < theirs):
            yield one, None
            mine, one = next(ones, _END)
        elif one is None or theirs < mine:
            yield None, other
            theirs, other = next(others, _END)
        else:
            yield one, other
            mine, one = next(ones, _END)
            theirs, other = next(others, _END)


_END: tuple[bytes, None] = (b"", None)


def _keyed(entries: Iterable[Entry]) -> Iterator[tuple[bytes, Entry | None]]:
    """Entries with their keys; a store that does not keep the order would break everything built on it, so it is checked."""
    last: bytes | None = None
    for entry in entries:
        key = key_of(entry.path)
        assert last is None or key > last, "a store must list its entries in key order"
        yield key, entry
        last = key


def tasks(source: Iterable[Entry], target: Iterable[Entry], decide: Decide, kinds: frozenset[str] | None) -> Iterator[Task]:
    """What there is to do, in key order. With *kinds*, only files of these; directories and links come along always."""
    for one, other in merge(source, target):
        entry = one or other
        if entry is None or (kinds is not None and entry.kind and entry.kind not in kinds):
            continue
        task = decide(one, other)
        if task is not None:
            yield task
