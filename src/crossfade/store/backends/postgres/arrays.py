"""Arrays of many values as the text that PostgreSQL reads: the driver would look at each value by itself."""

from __future__ import annotations

from collections.abc import Iterable


def numbers(values: Iterable[int]) -> str:
    """For ``::bigint[]``."""
    return "{" + ",".join(map(str, values)) + "}"


def octets(values: Iterable[bytes | None]) -> str:
    """For ``::bytea[]``; None is NULL."""
    return "{" + ",".join("NULL" if value is None else f'"\\\\x{value.hex()}"' for value in values) + "}"
