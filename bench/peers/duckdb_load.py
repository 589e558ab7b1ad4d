"""Load one file of JSON lines with DuckDB and its PostgreSQL extension, by the peers' own interpreter: each line as json."""

from __future__ import annotations

import sys

import duckdb


def main(extension: str, conninfo: str, file: str) -> None:
    """The extension comes from a package, so nothing is fetched."""
    connection = duckdb.connect(config={"autoinstall_known_extensions": False})
    connection.execute(f"LOAD '{extension}'")
    connection.execute(f"ATTACH '{conninfo}' AS pg (TYPE postgres)")
    connection.execute("CREATE SCHEMA pg.peers")
    connection.execute(f"CREATE TABLE pg.peers.lines AS SELECT json AS body FROM read_ndjson_objects('{file}')")


if __name__ == "__main__":
    main(*sys.argv[1:])
