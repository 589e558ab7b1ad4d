"""From seconds to figures: medians and ranges of ratios within each run, never a time alone. Plain functions on values."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

Runs = dict[str, list[dict[str, float]]]
"""For each way, the seconds by step of each run."""


def ratios(times: Runs) -> dict[str, Any]:
    """The ratios to the limits, each of the same run's figures."""
    ours, plain = _column(times, "clean", "total"), _column(times, "psql", "total")
    validated = [r["total"] + r["validation"] for r in times["clean"]]
    figures: dict[str, Any] = {}
    figures |= spread("copy_index_ratio", _divided(ours, plain))
    figures |= spread("copy_index_ratio_parallel", _divided(ours, _column(times, "psql_parallel", "total")))
    figures |= spread("with_validation_ratio", _divided(validated, plain))
    figures |= spread("hazard_ratio", _divided(_column(times, "hazards", "total"), ours))
    return figures


def rates(times: Runs, events: int, documents: int) -> dict[str, Any]:
    """Lines and documents a second."""
    figures: dict[str, Any] = {}
    figures |= spread("restore_lines_per_second", _each(events, _column(times, "clean", "restore_copy")), digits=0)
    figures |= spread(
        "restore_documents_per_second", _each(documents, _column(times, "documents", "restore_copy")), digits=0
    )
    figures |= spread("documents_per_second", _each(documents, _column(times, "documents", "total")), digits=0)
    return figures


def spread(name: str, values: Sequence[float], digits: int = 3) -> dict[str, Any]:
    """The median of *values*, and their range beside it."""
    low, middle, high = (rounded(value, digits) for value in (min(values), statistics.median(values), max(values)))
    return {name: middle, f"{name}_range": [low, high]}


def rounded(value: float, digits: int) -> float:
    """A float with so many digits, an integer for none."""
    return round(value, digits) if digits else round(value)


def medians(times: Runs) -> dict[str, dict[str, float]]:
    """The median seconds of each way, by step."""
    return {
        name: {step: round(statistics.median(run[step] for run in runs), 3) for step in runs[0]}
        for name, runs in times.items()
    }


def slope(less: tuple[float, float], more: tuple[float, float]) -> float:
    """How much the second value of a pair grows for one more of the first."""
    return (more[1] - less[1]) / (more[0] - less[0])


def _column(times: Runs, way: str, step: str) -> list[float]:
    return [run[step] for run in times[way]]


def _divided(ones: Sequence[float], others: Sequence[float]) -> list[float]:
    return [one / other for one, other in zip(ones, others, strict=True)]


def _each(count: int, seconds: Sequence[float]) -> list[float]:
    return [count / value for value in seconds]
