"""Building the indexes that a first load left out, two at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

from crossfade.migrate.prepare import Run
from crossfade.store.backends.postgres.ledger import Ledger

_LANES = 2

_Work = Callable[[Ledger], object]


def build_indexes(run: Run) -> None:
    """Build them; nothing is done for kinds that have theirs.

    Those of a large table are built side by side, and then found by what finishes a kind.
    """
    kinds = run.layout.kinds
    long = [text for kind in kinds for text in run.ledger.long_builds(kind)]
    _side_by_side(run, (partial(Ledger.build_index, text=text) for text in long))
    if any(_side_by_side(run, (partial(Ledger.build_indexes, kind=kind) for kind in kinds))):
        run.ledger.analyze_entries()


def _side_by_side(run: Run, work: Iterable[_Work]) -> list[object]:
    """Do it, two at a time; what came of each."""
    left = deque(work)
    with ThreadPoolExecutor(_LANES, thread_name_prefix="index") as executor:
        futures = [executor.submit(_lane, run, left) for _ in range(min(_LANES, len(left)))]
        return [found for future in futures for found in future.result()]


def _lane(run: Run, left: deque[_Work]) -> list[object]:
    """Work off what is *left*, over one connection. Where it fails, the other lane begins nothing new."""
    ledger = Ledger(run.ledger.server, run.ledger.schema)
    ledger.patience_seconds = run.ledger.patience_seconds
    try:
        return [work(ledger) for work in _taken(left)]
    except BaseException:
        left.clear()
        raise
    finally:
        ledger.close()


def _taken(left: deque[_Work]) -> Iterator[_Work]:
    with suppress(IndexError):
        while True:
            yield left.popleft()
