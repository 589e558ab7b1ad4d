"""Identifiers and texts inside SQL."""

from __future__ import annotations


def quoted(name: str) -> str:
    """*name* as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """*text* as an SQL literal, whatever a session thinks of backslashes."""
    return "E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"
