"""Promoted columns: from a JSON value to a column's value, or None where it does not fit.

The rules are the same in every store: timestamps are truncated to microseconds, never rounded (the exact text stays in the
body); a text over 2,000 bytes is left out, so that index keys stay under the server's limit of 2,704; a value of an
unexpected type is left out, never coerced beyond integer to text.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from crossfade.model.kinds import Column

Convert = Callable[[Any], Any]

TEXT_BYTES_MAX = 2000
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_NAIVE_EPOCH = datetime(2000, 1, 1)  # noqa: DTZ001 - of texts that are UTC by our rule
_BIGINT_MAX = 2**63 - 1
_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ](?!24)\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:[0-5]\d)?", re.ASCII).fullmatch


def converter(column: Column) -> Convert:
    """The function that makes *column*'s value out of a JSON value or a capture."""
    if column.type == "text" and column.mapping:
        mapping = dict(column.mapping)
        return lambda value: None if (found := text(value)) is None else mapping.get(found, found)
    return {"text": text, "bigint": bigint, "boolean": boolean, "timestamp": timestamp}[column.type]


def text(value: Any) -> str | None:
    """A string that any server and index can hold; integers as their digits."""
    if type(value) is int:
        return str(value) if -(10**40) < value < 10**40 else None
    if type(value) is not str:
        return None
    if len(value) * 4 <= TEXT_BYTES_MAX and value.isascii():
        return value if "\0" not in value else None
    return value if _storable(value) else None


def _storable(value: str) -> bool:
    if "\0" in value:
        return False
    try:
        return len(value.encode()) <= TEXT_BYTES_MAX
    except UnicodeEncodeError:
        return False


def bigint(value: Any) -> int | None:
    """An integer that fits in 64 bits."""
    if type(value) is not int or not -_BIGINT_MAX - 1 <= value <= _BIGINT_MAX:
        return None
    return value


def boolean(value: Any) -> bool | None:
    """True or false, nothing that merely looks like it."""
    return value if type(value) is bool else None


def timestamp(value: Any) -> int | None:
    """Microseconds since 2000-01-01 UTC of an RFC 3339 text, truncated; a text without an offset is UTC.

    None for what PostgreSQL or the calendar cannot hold: a 60th second, a fifth digit in the year.
    """
    if type(value) is not str:
        return None
    if value[19:] == "Z":
        return second(value[:19])
    if value[19:20] == "." and value[-1] == "Z" and value.isascii() and (digits := value[20:-1]).isdigit():
        found = second(value[:19])
        return None if found is None else found + int(digits[:6] if len(digits) > 5 else digits.ljust(6, "0"))
    return _general(value)


@lru_cache(maxsize=4096)
def second(value: str) -> int | None:
    """As ``timestamp``, of a text that ends with its seconds: remembered, because a log has many of each."""
    if not _RFC_3339(value):
        return None
    try:
        delta = datetime.fromisoformat(value) - _NAIVE_EPOCH
    except ValueError:
        return None
    return (delta.days * 86_400 + delta.seconds) * 1_000_000


def _general(value: str) -> int | None:
    """Python's reader takes more than RFC 3339, and in each release something else."""
    if not _RFC_3339(value):
        return None
    try:
        moment = datetime.fromisoformat(value.upper())
    except ValueError:
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    delta = aware - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds
