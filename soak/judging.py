"""Does the target hold what the source holds? Rows counted by SQL, lines by a plain loop; crossfade is not asked."""

from __future__ import annotations

import os
from pathlib import Path

from bench.server import Bench

_LOGS = (b".jsonl", b".jsonl.gz")


def lines_in(root: Path) -> dict[bytes, int]:
    """How many lines each log below *root* has, by its path. A last line without a newline is one, too."""
    found: dict[bytes, int] = {}
    top = os.fsencode(root)
    for directory, _, names in os.walk(top):
        for name in names:
            if name.endswith(_LOGS):
                with open(os.path.join(directory, name), "rb") as file:
                    found[os.path.relpath(os.path.join(directory, name), top)] = sum(1 for _ in file)
    return found


def rows_in(server: Bench, schema: str) -> dict[bytes, int]:
    """How many rows of the kind ``events`` each log has in *schema*, those with none included."""
    rows = server.run(
        f"""SELECT convert_from(replace(encode(entry.key, 'escape'), '\\000', '/')::bytea, 'UTF8'), count(event.pos)
            FROM {schema}.entries AS entry LEFT JOIN {schema}.events AS event USING (store_id, entry_id)
            WHERE entry.kind = 'events' AND entry.type = 'file' GROUP BY entry.entry_id"""
    )
    return {os.fsencode(str(path)): int(str(count)) for path, count in rows}


def first_difference(ones: dict[bytes, int], others: dict[bytes, int]) -> str:
    """A path at which two counts differ; empty where none does."""
    for path in sorted(ones.keys() | others.keys()):
        if ones.get(path) != others.get(path):
            return f"{os.fsdecode(path)}: {ones.get(path)} lines, {others.get(path)} rows"
    return ""
