"""What a release left in a database is taken up by every later one: the schema is brought forward, the copy goes on."""

from __future__ import annotations

import gzip
import subprocess
from importlib import metadata
from pathlib import Path

import pytest

from crossfade.migrate.plan import Plan
from crossfade.model import layouts
from crossfade.store.backends.embedded import majors
from crossfade.store.location import parse
from support.running import Terminal, finish, kill_group, wait_for
from support.servers import Database
from versions.keep import DUMPS, build

KEPT = sorted(path.name.removesuffix(".sql.gz") for path in DUMPS.glob("*.sql.gz"))


def restored(dump: Path, root: Path, database: Database) -> str:
    """Load *dump* as if it had been made here; the migration's id."""
    target = parse(f"{database.url}&store=tree").url
    layout = layouts.load("prodigy")
    plan = Plan(f"file://{root}", target, "tree", layout.name, layout.fingerprint)
    text = gzip.decompress(dump.read_bytes()).decode()
    here = {"SOURCE": plan.source, "TARGET": target, "MIGRATION": plan.migration, "SCHEMA": database.location.schema}
    for name, value in here.items():
        text = text.replace(f"@{name}@", value)
    program = majors()[max(majors())] / "psql"
    options = ["--quiet", "--set", "ON_ERROR_STOP=1", "--dbname", database.server.conninfo]
    done = subprocess.run([str(program), *options], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return plan.migration


def test_this_release_is_kept():
    """A release without its dump could break the next one, and nobody would see."""
    assert metadata.version("crossfade") in KEPT


@pytest.mark.parametrize("release", KEPT)
def test_an_interrupted_copy_of_a_release_goes_on(release: str, database: Database, tmp_path: Path):
    """Not one record that it had brought is brought again; and then it is followed."""
    root, terminal = tmp_path / "tree", Terminal(tmp_path / "state")
    build(root)
    migration = restored(DUMPS / f"{release}.sql.gz", root, database)
    rows = f'SELECT entry_id, pos, xmin::text FROM "{database.location.schema}".events'
    before = set(database.all(rows))
    done = terminal.run("start", root, f"{database.url}&store=tree", "--once")

    assert before
    assert done.status == 0, done
    assert f"migration {migration}" in done.err
    assert before < set(database.all(rows))

    process = terminal.popen("start", root, f"{database.url}&store=tree", "--cpu-max", "100")
    try:
        wait_for("following", lambda: database.one("SELECT count(*) FROM journal WHERE event = 'following'") == 1)
        process.terminate()
        done = finish(process)
    finally:
        kill_group(process)
    assert done.status == 0, done
    assert database.one("SELECT reread_at IS NOT NULL AND verified_at IS NOT NULL FROM migrations")
