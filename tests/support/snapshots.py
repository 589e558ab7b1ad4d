"""What a tree and a database are, to the last bit that a person would notice: for 'nothing was changed'."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import psycopg


def of_tree(root: Path) -> dict[str, tuple[Any, ...]]:
    """Every path below *root* and *root* itself, with everything that ``stat`` tells but the time of access, and its bytes."""
    found: dict[str, tuple[Any, ...]] = {}
    for path in (root, *sorted(root.rglob("*"))):
        status = path.lstat()
        content = path.readlink() if path.is_symlink() else path.read_bytes() if path.is_file() else None
        times = (status.st_mtime_ns, status.st_ctime_ns)
        found[os.fspath(path)] = (status.st_ino, status.st_mode, status.st_size, *times, content)
    return found


def of_database(connection: psycopg.Connection) -> dict[str, int]:
    """Every table that is not the server's own, with how many rows it has."""
    tables = connection.execute(
        "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables"
        " WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1"
    ).fetchall()
    schemas = connection.execute(
        "SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_(toast_)?temp' ORDER BY 1"
    ).fetchall()
    counts = {name: connection.execute(f"SELECT count(*) FROM {name}").fetchall()[0][0] for (name,) in tables}
    return counts | {f"schema {name}": 1 for (name,) in schemas}
