"""Keep this release's schema, with an interrupted migration in it, for the tests of every later one.

``python tests/versions/keep.py`` writes ``tests/data/versions/RELEASE.sql.gz``. What belongs to one machine (the places of
source and target, the schema's name, the migration's id, which is their hash) stands in it as ``@NAME@``. Run it once, when
a release is made; never again for that release.
"""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

from crossfade.store.backends.embedded import EmbeddedServer, majors
from crossfade.testing import prodigy

DUMPS = Path(__file__).parents[1] / "data/versions"
SCHEMA = "kept_at_release"
EVENTS = 3_000


def build(root: Path) -> None:
    """The tree that the migration in the dump copies; the same on every run."""
    prodigy.build(str(root), events=EVENTS)


def main() -> None:
    """Begin a copy, kill it in the middle, and dump what it leaves."""
    with tempfile.TemporaryDirectory() as place:
        root, target = Path(place) / "tree", f"embedded://{place}/database?schema={SCHEMA}&store=tree"
        build(root)
        environment = {**os.environ, "CROSSFADE_FAILPOINT": "postgres.page:after@9", "XDG_STATE_HOME": f"{place}/state"}
        command = [
            sys.executable,
            "-m",
            "crossfade",
            "start",
            str(root),
            target,
            "--once",
            "--batch-records",
            "300",
            "--workers",
            "1",
        ]
        done = subprocess.run(command, env=environment, start_new_session=True, check=False)
        assert done.returncode < 0, "it was to be killed"
        text = _dumped(f"{place}/database")
    migration = _migration_in(text)
    for name, value in {"SOURCE": f"file://{root}", "TARGET": target, "MIGRATION": migration, "SCHEMA": SCHEMA}.items():
        text = text.replace(value, f"@{name}@")
    assert place not in text, "a place of this machine is left"
    DUMPS.mkdir(parents=True, exist_ok=True)
    path = DUMPS / f"{metadata.version('crossfade')}.sql.gz"
    path.write_bytes(gzip.compress(text.encode(), mtime=0))
    print(path)


def _dumped(directory: str) -> str:
    server = EmbeddedServer(directory)
    try:
        program = majors()[max(majors())] / "pg_dump"
        options = ["--schema", SCHEMA, "--no-owner", "--no-privileges", "--no-comments", "--dbname", server.acquire()]
        return subprocess.run([str(program), *options], capture_output=True, text=True, check=True).stdout
    finally:
        server.release()


def _migration_in(dump: str) -> str:
    _, _, rows = dump.partition(f"COPY {SCHEMA}.migrations ")
    return rows.split("\n")[1].partition("\t")[0]


if __name__ == "__main__":
    main()
