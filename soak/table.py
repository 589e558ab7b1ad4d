"""Figures for people: a name and a value a line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def printed(figures: dict[str, Any]) -> str:
    """*figures* as a table; what is nested comes below its name."""
    rows = list(_rows("", figures))
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def _rows(prefix: str, figures: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in figures.items():
        if isinstance(value, dict):
            yield from _rows(f"{prefix}{name}.", value)
        else:
            yield prefix + name, f"{value:,}" if isinstance(value, (int, float)) else value
