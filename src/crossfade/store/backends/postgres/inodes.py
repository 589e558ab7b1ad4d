"""Which entries some files were, by the inodes that their marks have kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from crossfade.model.paths import path_of
from crossfade.store.backends.postgres.arrays import numbers
from crossfade.store.backends.postgres.server import Connection
from crossfade.store.backends.postgres.statements import statement


def paths_of(connection: Connection, schema: str, store_id: int, migration: str, inodes: Sequence[int]) -> list[bytes]:
    """The paths of those files of a tree, all there and whole, that had one of *inodes* when they were last in step."""
    values = {"store_id": store_id, "migration": migration, "inodes": numbers(inodes)}
    rows = connection.execute(statement("marks_of_inodes", schema), values).fetchall()
    return [path_of(cast("bytes", key)) for (key,) in rows]
