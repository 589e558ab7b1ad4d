"""Load one file of JSON lines with dlt, by the peers' own interpreter: its filesystem source, nested values as jsonb, COPY."""

from __future__ import annotations

import os
import sys

import dlt
from dlt.destinations import postgres
from dlt.sources.filesystem import filesystem, read_jsonl


def main(host: str, user: str, database: str, file: str) -> None:
    """One pipeline, one run. Without *max_table_nesting* it would make a table for each list."""
    there = {"host": "localhost", "query": {"host": host}, "username": user, "password": "unused", "database": database}
    pipeline = dlt.pipeline("bench", destination=postgres(credentials=there), dataset_name="peers")
    files = filesystem(bucket_url=f"file://{os.path.dirname(file)}", file_glob=os.path.basename(file))
    lines = (files | read_jsonl()).with_name("lines")
    lines.max_table_nesting = 0
    pipeline.run(lines, loader_file_format="csv", write_disposition="replace").raise_on_failed_jobs()


if __name__ == "__main__":
    main(*sys.argv[1:])
