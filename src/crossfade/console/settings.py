"""Options as values: sizes, rates, budgets. Each says what it takes when it gets something else."""

from __future__ import annotations

import os
import re

from crossfade.errors import OptionInvalid
from crossfade.migrate.plan import Budget, Limits, Manner

_UNITS = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30}


def size(text: str, option: str) -> int:
    """Bytes: ``8388608``, ``8MiB``, ``10MB``."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(?:(ki|mi|gi|k|m|g)?b?)", text.strip().lower())
    if match is None or float(match[1]) <= 0:
        raise OptionInvalid(f"{option} {text!r} is no size", hint=f"{option} 8MiB")
    return int(float(match[1]) * _UNITS[match[2] or ""])


def rate(text: str) -> tuple[float, float]:
    """(records a second, bytes a second): ``5000`` are records, ``10MB`` are bytes; zero where there is no limit."""
    if not text:
        return 0.0, 0.0
    value = text.strip().lower().removesuffix("/s")
    if re.fullmatch(r"\d+(\.\d+)?", value) and float(value) > 0:
        return float(value), 0.0
    if value.endswith("b"):
        return 0.0, float(size(value, "--rate-limit"))
    raise OptionInvalid(
        f"--rate-limit {text!r} is no rate", hint="--rate-limit 5000   # records a second; or 10MB, bytes a second"
    )


def budget(text: str, *, fail_fast: bool) -> Budget:
    """``0.1%``, ``100``, or both: ``0.1%,100``; whichever allows more."""
    items, share = (0, 0.0) if text else (100, 0.001)
    for part in filter(None, (part.strip() for part in text.split(","))):
        if re.fullmatch(r"\d+(\.\d+)?%", part):
            share = float(part[:-1]) / 100
        elif part.isdigit():
            items = int(part)
        else:
            raise OptionInvalid(f"--error-budget {text!r} is no budget", hint="--error-budget 0.1%,100")
    return Budget(items, share, fail_fast)


def positive(number: float, option: str) -> float:
    """A number above zero."""
    if number <= 0:
        raise OptionInvalid(f"{option} takes a number above zero", hint=f"{option} 2")
    return number


def manner(
    *,
    workers: int,
    rate_limit: str,
    batch_bytes: str,
    batch_records: int,
    mark_interval: float,
    fail_fast: bool,
    error_budget: str,
    merge: bool,
    delete_extra: bool,
    skip_unreadable: bool,
    allow_empty: bool,
) -> Manner:
    """How a run is carried out, from its options. Under a rate, pages are small enough to keep to it within a second."""
    records_rate, bytes_rate = rate(rate_limit)
    page_bytes, page_records = size(batch_bytes, "--batch-bytes"), int(positive(batch_records, "--batch-records"))
    if bytes_rate:
        page_bytes = min(page_bytes, max(int(bytes_rate / 8), 1))
    if records_rate:
        page_records = min(page_records, max(int(records_rate / 8), 1))
    return Manner(
        workers=int(positive(workers, "--workers")),
        limits=Limits(page_bytes, page_records, positive(mark_interval, "--mark-interval")),
        records_per_second=records_rate,
        bytes_per_second=bytes_rate,
        budget=budget(error_budget, fail_fast=fail_fast),
        merge=merge,
        delete_extra=delete_extra,
        skip_unreadable=skip_unreadable,
        allow_empty=allow_empty,
        patience_seconds=_patience(),
    )


def _patience() -> float:
    text = os.environ.get("CROSSFADE_PATIENCE_SECONDS", "300")
    try:
        return positive(float(text), "CROSSFADE_PATIENCE_SECONDS")
    except ValueError:
        raise OptionInvalid(
            f"CROSSFADE_PATIENCE_SECONDS is {text!r}, and should be a number of seconds",
            hint="CROSSFADE_PATIENCE_SECONDS=300",
        ) from None
