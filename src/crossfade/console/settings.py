"""Options as values: sizes, rates, budgets. Each says what it takes when it gets something else."""

from __future__ import annotations

import os
import re
from typing import Any, TypeVar

from crossfade.console.talk import say
from crossfade.errors import OptionInvalid
from crossfade.migrate.plan import CPU_PERCENT, Budget, Limits, Manner
from crossfade.store.location import Location, parse

T = TypeVar("T")

_UNITS = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30}
_SECONDS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


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


def seconds(text: str | float) -> float:
    """A time in seconds: ``30``, ``30s``, ``5m``, ``2h``, ``500ms``."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|)", str(text).strip().lower())
    if match is None:
        raise OptionInvalid(f"{text!r} is no time", hint="30s, 5m or 2h")
    return float(match[1]) * _SECONDS[match[2]]


def positive(number: float, option: str) -> float:
    """A number above zero."""
    if not number > 0:  # nor is what is no number at all
        raise OptionInvalid(f"{option} takes a number above zero", hint=f"{option} 2")
    return number


def ceiling(percent: float | None, *, once: bool) -> float | None:
    """How much of the machine a run may use: all of it for a copy, a part while following, unless something else is said."""
    return share(percent) if percent is not None or once else CPU_PERCENT


def share(percent: float | None) -> float | None:
    """A share of the machine, in percent; None for what was not said."""
    if percent is not None and not 0 < percent <= 100:
        raise OptionInvalid("--cpu-max takes a number above 0, up to 100", hint=f"--cpu-max {CPU_PERCENT:g}")
    return percent


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
    allow_removals: bool,
    cpu_max: float | None = None,
    certificate: str = "",
) -> Manner:
    """How a run is carried out, from its options."""
    records_rate, bytes_rate = rate(rate_limit)
    page_bytes, page_records = size(batch_bytes, "--batch-bytes"), int(positive(batch_records, "--batch-records"))
    return Manner(
        workers=int(positive(workers, "--workers")),
        limits=Limits(page_bytes, page_records, positive(mark_interval, "--mark-interval")),
        records_per_second=records_rate,
        bytes_per_second=bytes_rate,
        cpu_max=cpu_max,
        budget=budget(error_budget, fail_fast=fail_fast),
        merge=merge,
        delete_extra=delete_extra,
        skip_unreadable=skip_unreadable,
        allow_empty=allow_empty,
        allow_removals=allow_removals,
        patience_seconds=patience_seconds(),
        certificate=certificate,
    )


def manner_of(**given: Any) -> Manner:
    """As :func:`manner`, with the defaults for all that is not *given*."""
    every: dict[str, Any] = {
        "workers": 2,
        "rate_limit": "",
        "batch_bytes": "8MiB",
        "batch_records": 50_000,
        "mark_interval": 5.0,
        "fail_fast": False,
        "error_budget": "",
        "merge": False,
        "delete_extra": False,
        "skip_unreadable": False,
        "allow_empty": False,
        "allow_removals": False,
    }
    return manner(**(every | given))


def check_repair(*, repair: bool, dry_run: bool, delete_extra: bool, allow_removals: bool) -> None:
    """Options that say how to mend say nothing where nothing is to be mended."""
    given = {"--dry-run": dry_run, "--delete-extra": delete_extra, "--allow-removals": allow_removals}
    for option, is_given in given.items():
        if is_given and not repair:
            raise OptionInvalid(f"{option} belongs to --repair", hint=f"crossfade validate SOURCE TARGET --repair {option}")


def with_once(certificate: str, *, once: bool) -> str:
    """The *certificate* that a run is to end with; what follows has no end."""
    if certificate and not once:
        raise OptionInvalid("--certificate belongs to --once", hint="--once, or crossfade validate ID --certificate FILE")
    return certificate


def location(text: str) -> Location:
    """A store's URL as a value; a password in it is warned about."""
    place = parse(text)
    if place.secret:
        say("warning: a password in a URL can be seen by others; PGPASSFILE or PGPASSWORD is safer")
    return place


def of_restore(source: Location, target: Location) -> tuple[Location, Location]:
    """The two, as restore takes them: a database, then a directory."""
    if not source.is_database or target.is_database or target.scheme != "file":
        raise OptionInvalid("restore wants a database, then a directory", hint="crossfade restore STORE DIR --if-empty")
    return source, target


def words_of(words: list[str] | None) -> tuple[str, ...]:
    """How a migration is named: by nothing, by its id, or by both its ends."""
    if words and len(words) > 2:
        raise OptionInvalid("a migration is named by its ID, or by SOURCE TARGET", hint="crossfade list")
    return tuple(words or ())


def items_of(words: list[str]) -> list[int]:
    """Numbers of items."""
    for word in words:
        if not word.isdigit():
            raise OptionInvalid(f"{word!r} is no item number", hint="it stands in the first column of the list")
    return [int(word) for word in words]


def one_item(items: list[T]) -> T:
    """The only one among *items*."""
    if len(items) != 1:
        raise OptionInvalid("show wants one item number", hint="it stands in the first column of the list")
    return items[0]


def patience_seconds() -> float:
    """How long a fault that may pass is tried again."""
    text = os.environ.get("CROSSFADE_PATIENCE_SECONDS", "300")
    try:
        return positive(float(text), "CROSSFADE_PATIENCE_SECONDS")
    except ValueError:
        raise OptionInvalid(
            f"CROSSFADE_PATIENCE_SECONDS is {text!r}, and should be a number of seconds",
            hint="CROSSFADE_PATIENCE_SECONDS=300",
        ) from None
