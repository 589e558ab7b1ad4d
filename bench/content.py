"""Is what arrived what was sent? Judged without crossfade: by SQL, by hashes made here, and by the independent comparer.

A fast wrong copy must not count, so a difference ends a benchmark.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.server import Bench

_COMPARER = Path(__file__).parents[1] / "scripts" / "compare_trees.py"
_MODULUS = 1 << 64


@dataclass(frozen=True)
class Content:
    """Records, bytes, and a digest that knows no order: the sum of 64 bits of each record's MD5, modulo 2^64."""

    records: int
    size: int
    digest: int


def of_records(records: Iterable[bytes]) -> Content:
    """The content of *records*."""
    count = size = digest = 0
    for record in records:
        count, size = count + 1, size + len(record)
        digest += int.from_bytes(hashlib.md5(record, usedforsecurity=False).digest()[:8], "big")
    return Content(count, size, digest % _MODULUS)


def of_tree(root: Path) -> Content:
    """The content of a tree: a record for each line of a ``.jsonl``, line ending included, and for each other file."""
    return of_records(record for path in files_of(root) for record in _records(path))


def files_of(root: Path) -> Iterator[Path]:
    """All files below *root*."""
    for directory, _, names in os.walk(root):
        yield from (Path(directory, name) for name in names)


def _records(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        if path.suffix == ".jsonl":
            yield from file
        else:
            yield file.read()


def of_tables(server: Bench, tables: Iterable[str]) -> Content:
    """The content of tables with a *body* or a *raw* in each row, computed by the server."""
    parts = " UNION ALL ".join(f"SELECT body, raw FROM {table}" for table in tables)
    ((records, size, digest),) = server.run(
        f"""SELECT count(*), coalesce(sum(octet_length(data)), 0)::bigint,
                   mod(coalesce(sum(('x' || left(md5(data), 16))::bit(64)::bigint::numeric), 0), {_MODULUS})
            FROM (SELECT coalesce(raw, convert_to(body::text, 'UTF8')) AS data FROM ({parts}) AS part) AS record"""
    )
    return Content(int(str(records)), int(str(size)), int(str(digest)) % _MODULUS)


def of_schema(server: Bench, schema: str) -> Content:
    """The content of all kinds of a schema of crossfade's."""
    kinds = [str(name) for (name,) in server.run(f"SELECT name FROM {schema}.kinds ORDER BY 1")]
    return of_tables(server, [f'{schema}."{kind}"' for kind in kinds])


def bytes_stored(server: Bench, schema: str) -> int:
    """How many bytes of content a schema holds, pieces of long records included."""
    ((pieces,),) = server.run(f"SELECT coalesce(sum(octet_length(data)), 0)::bigint FROM {schema}.chunks")
    return of_schema(server, schema).size + int(str(pieces))


def expect(what: str, found: object, wanted: object) -> None:
    """End the benchmark where *found* is not what was *wanted*."""
    if found != wanted:
        raise SystemExit(f"{what}: the content is wrong, so its time means nothing\n  wanted {wanted}\n  found  {found}")


def expect_same_trees(what: str, one: Path, other: Path) -> None:
    """End the benchmark where the independent comparer sees a difference: bytes, modes, times, names."""
    done = subprocess.run(
        [sys.executable, str(_COMPARER), str(one), str(other)], capture_output=True, check=False, text=True
    )
    if done.returncode != 0:
        raise SystemExit(f"{what}: the trees differ, so its time means nothing\n{(done.stdout + done.stderr)[-2000:]}")
