"""Whose time is it? The time of code that is not ours, charged to the function of ours that called it. Plain functions on values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

Function = tuple[str, int, str]
Stats = Mapping[Function, tuple[int, int, float, float, Mapping[Function, tuple[int, int, float, float]]]]
"""As ``pstats.Stats.stats``: calls (twice), own and whole seconds; and by caller the same."""

_ROUNDS = 100  # deeper than any chain of foreign calls; what goes in circles stays where it is


def charged(stats: Stats, is_ours: Callable[[Function], bool]) -> Counter[Function]:
    """Seconds by function, together as many as were spent: own time, and that of foreign code that was called for it.

    Foreign code that nobody of ours called keeps its own.
    """
    settled: Counter[Function] = Counter()
    open_: Counter[Function] = Counter()
    for function, (_, _, own, _, callers) in stats.items():
        if is_ours(function) or not callers:
            settled[function] += own  # type: ignore[assignment]
        else:
            _share(open_, function, own, {caller: numbers[2] for caller, numbers in callers.items()})
    for _ in range(_ROUNDS):
        open_ = _one_up(stats, is_ours, open_, settled)
    settled.update(open_)
    return settled


def _one_up(
    stats: Stats, is_ours: Callable[[Function], bool], open_: Counter[Function], settled: Counter[Function]
) -> Counter[Function]:
    """Charge each foreign function's seconds to its callers, as they spent time in it."""
    rest: Counter[Function] = Counter()
    for function, seconds in open_.items():
        callers = stats[function][4] if function in stats else {}
        if is_ours(function) or not callers:
            settled[function] += seconds
        else:
            _share(rest, function, seconds, {caller: numbers[3] for caller, numbers in callers.items()})
    return rest


def _share(target: Counter[Function], function: Function, seconds: float, weights: dict[Function, float]) -> None:
    others = {caller: weight for caller, weight in weights.items() if caller != function} or {function: 1.0}
    total = sum(others.values())
    for caller, weight in others.items():
        target[caller] += seconds * (weight / total if total else 1 / len(others))  # type: ignore[assignment]
