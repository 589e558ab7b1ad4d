"""What a crash has left in files between a page and its marks: it was intended, so it is known for ours.

Without that, a file that we wrote, and whose source has changed since, would be taken for one that somebody else changed.
"""

from __future__ import annotations

from collections.abc import Iterator

from crossfade.migrate.prepare import Run
from crossfade.model.entries import Entry, altered, content_of
from crossfade.store.backends.postgres import marks
from crossfade.store.port import Store


def settle_intents(run: Run, source: Store, target: Store) -> int:
    """Mark the files of *target* that hold what a page of an earlier run meant them to; how many there were."""
    if not run.to_files:
        return 0
    ledger = run.ledger
    intended: dict[bytes, set[bytes]] = {}
    for path, digest in ledger.ask(lambda c: marks.intended(c, ledger.schema, run.migration)):
        intended.setdefault(path, set()).add(digest)
    if not intended:
        return 0
    found = list(_ours(intended, source, target))
    ledger.change(lambda c: marks.settle(c, schema=ledger.schema, migration=run.migration, epoch=run.epoch, entries=found))
    return len(found)


def _ours(intended: dict[bytes, set[bytes]], source: Store, target: Store) -> Iterator[Entry]:
    """Those that are not marked as they are, and hold what was intended. Each with what it holds."""
    sources = {entry.path: entry for entry in source.look(list(intended))}
    for entry in target.look(list(intended)):
        one = sources.get(entry.path)
        if one is None or entry.type == "dir" or one.signature == entry.signature:
            continue
        ((_, digest),) = target.digest([entry]) if entry.type == "file" else ((entry, content_of(entry)),)
        if digest in intended[entry.path]:
            yield altered(entry, row=one.row, digest=digest)
