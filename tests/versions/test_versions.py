"""What a release left in a database is taken up by every later one: the schema is brought forward, the copy goes on."""

from __future__ import annotations

import gzip
import json
import subprocess
from importlib import metadata
from pathlib import Path

import pytest

from crossfade.migrate.plan import Plan
from crossfade.model import layouts
from crossfade.store.backends.embedded import majors
from crossfade.store.backends.postgres import schema
from crossfade.store.location import parse
from support.person import Person, bad
from support.running import Terminal, compare, finish, kill_group, wait_for
from support.servers import NAMES, Database, Servers
from versions.keep import AFTER, AFTER_TEXT, DUMPS, LIVE, MARKER, ROGUE, ROGUE_TEXT, build, build_live, go_rogue

KEPT = sorted(path.name.removesuffix(".sql.gz") for path in DUMPS.glob("*.sql.gz"))
KEPT_COPIES = [name for name in KEPT if not name.endswith(LIVE)]
KEPT_LIVE = [name for name in KEPT if name.endswith(LIVE)]


def restored(dump: Path, root: Path, database: Database) -> str:
    """Load *dump* as if it had been made here, and the marker beside *root* if there is one; the migration's id."""
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
    if marker := text.partition(MARKER)[2]:
        beside = root.with_name(f"{root.name}.crossfade")
        beside.mkdir(0o700)
        (beside / "route.json").write_text(marker)
    return plan.migration


def test_this_release_is_kept():
    """A release without its dumps could break the next one, and nobody would see."""
    release = metadata.version("crossfade")
    assert {release, release + LIVE} <= set(KEPT)


_MADE = """
    SELECT oid::regprocedure::text, pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = current_schema()::regnamespace
    UNION ALL
    SELECT tgname || ' on ' || tgrelid::regclass, pg_get_triggerdef(t.oid) FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = tgrelid
    WHERE NOT tgisinternal AND relnamespace = current_schema()::regnamespace
"""


def _functions(database: Database) -> dict[str, str]:
    """The schema's functions and triggers, each with its text."""
    name = database.location.schema
    return {made: text.replace(f'"{name}"', "HERE").replace(name, "HERE") for made, text in database.all(_MADE)}


def test_a_later_version_makes_all_functions_anew(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Those of each kind and of each layout as well: they would go on as an earlier release had them."""
    root, person = tmp_path / "tree", Person(tmp_path / "state")
    build_live(root)
    person.moves(root, database.url)
    before = _functions(database)
    with_its_table = {"refuse_journal_change()", "append_only on journal"}
    functions = [name for name in before if name.endswith(")") and name not in with_its_table]
    assert [name for name in functions if name.startswith("fill_events_")]
    database.run(*(f"DROP FUNCTION IF EXISTS {name} CASCADE" for name in functions))
    assert _functions(database).keys() == with_its_table
    monkeypatch.setattr(schema, "VERSION", schema.VERSION + 1)
    monkeypatch.setattr(schema, "version_text", lambda number: "SELECT 1")
    person.moves(root, database.url)

    assert _functions(database) == before
    assert database.one("SELECT max(version) FROM schema_versions") == schema.VERSION


@pytest.mark.parametrize("release", KEPT)
def test_a_function_that_changes_needs_a_new_version(release: str, servers: Servers, database: Database, tmp_path: Path):
    """Who has a schema of a version keeps the functions that it was made with, until there is a later one."""
    restored(DUMPS / f"{release}.sql.gz", tmp_path / "tree", database)
    version = database.one("SELECT max(version) FROM schema_versions")
    with servers.database(NAMES[0]) as fresh:
        build_live(tmp_path / "other")
        Person(tmp_path / "state").moves(tmp_path / "other", fresh.url)
        assert version != schema.VERSION or _functions(database) == _functions(fresh)


@pytest.mark.parametrize("release", KEPT_COPIES)
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


@pytest.mark.parametrize("release", KEPT_LIVE)
def test_an_interrupted_hand_over_of_a_release_is_completed_and_taken_back(release: str, database: Database, tmp_path: Path):
    """It was killed just behind the decision: the marker beside the files says so, or nothing, and a path has drifted."""
    root, terminal = tmp_path / "tree", Terminal(tmp_path / "state")
    build_live(root)
    before = (root / ROGUE).read_text()
    go_rogue(root)
    migration = restored(DUMPS / f"{release}.sql.gz", root, database)
    here = ("--store", f"{database.url}&store=tree")
    tables = ("routes", "cursors", "changes", "drift", "marks")
    assert [table for table in tables if not database.one(f"SELECT count(*) FROM {table}")] == []

    doctor = terminal.run("doctor", *here, "--json")
    (left,) = json.loads(doctor.out)["stores"][0]["half_done"]
    assert (doctor.status, left["migration"], left["name"]) == (2, migration, "marker")
    assert terminal.run("repair", migration, *here).status == 0
    assert not bad(terminal.run("doctor", *here))
    (item,) = json.loads(terminal.run("drift", migration, "list", *here, "--json").out)["items"]
    assert (item["path"], item["state"]) == (ROGUE, "open")

    process = terminal.popen("start", root, f"{database.url}&store=tree", "--cpu-max", "100")
    try:
        wait_for("what a program wrote", lambda: (root / AFTER).exists() and (root / AFTER).read_text() == AFTER_TEXT, 60)
        assert (root / ROGUE).read_text() == ROGUE_TEXT
        refused = terminal.run("rollback", migration, *here, "--writers-stopped", "--timeout", "1")
        assert (refused.status, "drift" in refused.err) == (7, True), refused
        assert terminal.run("drift", migration, "ignore", *here).status == 0
        assert (root / ROGUE).read_text() == before
        done = terminal.run("rollback", migration, *here, "--writers-stopped", "--hold-max", "5")
        assert done.status == 0, done
        (root / AFTER).write_text("{}")
        wait_for(
            "what is written in the files", lambda: database.one(f"SELECT size FROM entries WHERE path = '{AFTER}'") == 2
        )
        process.terminate()
        assert finish(process).status == 0
    finally:
        kill_group(process)
    assert terminal.run("start", f"{database.url}&store=tree", tmp_path / "back", "--once").status == 0
    compare(root, tmp_path / "back")
