"""Identifiers and texts inside SQL."""

from __future__ import annotations

from psycopg import sql


def within(text: str, schema: str) -> sql.Composed:
    """The statement *text*, with the name of *schema* in each of its ``{}``."""
    return sql.SQL(text).format(sql.Identifier(schema))


def quoted(name: str) -> str:
    """*name* as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """*text* as an SQL literal, whatever a session thinks of backslashes."""
    return "E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"
