"""A container's volume comes and goes, and the migration stays: restore at the start, then follow as if nothing had been.

That nothing is moved again is read from the rows themselves (``xmin``), not from what we say or how long it took.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from crossfade.migrate import engine
from crossfade.migrate.validate import validator
from crossfade.migrate.validate.ending import validate_run
from crossfade.testing import prodigy
from support.person import Person, refused
from support.running import Terminal, compare, finish, kill_group, report, wait_for
from support.servers import NAMES, Database, Servers
from support.snapshots import of_tree

LOG = "events/prodigy/new/events-20261123_000000.jsonl"


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    return Terminal(tmp_path / "state")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "volume"
    prodigy.build(str(root), events=100)
    return root


@pytest.fixture
def saved(terminal: Terminal, root: Path, database: Database) -> Database:
    """A database that holds what is in the volume."""
    done = terminal.run("start", "--once", root, database.url, "--workers", 1)
    assert done.status == 0, done
    return database


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory, servers: Servers) -> Iterator[tuple[Path, Database]]:
    """A volume and the database that holds it, for tests that change neither."""
    home = tmp_path_factory.mktemp("still")
    prodigy.build(str(home / "volume"), events=50)
    with servers.database(NAMES[0]) as database:
        done = Terminal(home / "state").run("start", "--once", home / "volume", database.url, "--workers", 1)
        assert done.status == 0, done
        yield home / "volume", database


def vanish(root: Path) -> Path:
    """Another volume is mounted, an empty one; where the old one is now."""
    parked = root.with_name(f"parked-{len(list(root.parent.glob('parked-*')))}")
    root.rename(parked)
    root.mkdir()
    return parked


def rows(database: Database) -> dict[tuple, str]:
    """Every record with the transaction that wrote it."""
    schema = database.location.schema
    tables = [name for (name,) in database.all(f'SELECT name FROM "{schema}".kinds')]
    return {
        (table, entry, pos): xmin
        for table in tables
        for entry, pos, xmin in database.all(f'SELECT entry_id, pos, xmin::text FROM "{schema}"."{table}"')
    }


@contextmanager
def pod(terminal: Terminal, root: Path, database: Database) -> Iterator[subprocess.Popen[bytes]]:
    """A follower that has arrived; killed at the end, if it still runs."""
    query = f"""SELECT count(*) FROM "{database.location.schema}".journal WHERE event = 'following'"""
    before = database.one(query)
    process = terminal.popen("start", root, database.url, "--cpu-max", 100)

    def has_arrived() -> bool:
        assert process.poll() is None, finish(process)
        return database.one(query) != before

    try:
        wait_for("a follower", has_arrived, 60)
        yield process
    finally:
        kill_group(process)


def append(root: Path, database: Database, name: str) -> None:
    """One more event, and it arrives."""
    (root / LOG).parent.mkdir(parents=True, exist_ok=True)
    with (root / LOG).open("ab", 0) as log:
        log.write(b'{"id":"%s"}\n' % name.encode())
    query = f'SELECT count(*) FROM "{database.location.schema}".events WHERE id = %s'
    wait_for(name, lambda: database.one(query, name) == 1)


def test_a_new_pod_restores_its_empty_volume_and_follows_on(terminal: Terminal, root: Path, saved: Database):
    """The same migration, no record moved again; and an empty volume that nobody restored is not believed."""
    with pod(terminal, root, saved):
        append(root, saved, "first")
    before, parked = rows(saved), vanish(root)
    unbelieved = terminal.run("start", root, saved.url)
    restored = terminal.run("restore", saved.url, root, "--if-empty", "--workers", 1)

    assert (unbelieved.status, restored.status) == (7, 0), f"{unbelieved}\n{restored}"
    assert "error[CF707]" in unbelieved.err
    assert "crossfade restore" in unbelieved.err
    assert "a copy of its own" not in restored.err
    compare(parked, root)
    with pod(terminal, root, saved) as process:
        append(root, saved, "second")
        process.terminate()
        assert finish(process).status == 0
    after = rows(saved)
    assert len(after) == len(before) + 1
    assert before.items() <= after.items(), "a record was written again"
    assert saved.one(f'SELECT count(*) FROM "{saved.location.schema}".migrations') == 1


def test_a_volume_that_holds_something_is_left_alone(terminal: Terminal, still: tuple[Path, Database], tmp_path: Path):
    """A container that starts again has its volume still, with what the program wrote last; or a stranger's."""
    root, database = still
    stranger = tmp_path / "stranger"
    (stranger / "sessions").mkdir(parents=True)
    (stranger / "sessions/newer.json").write_bytes(b"{}")
    before = of_tree(root), of_tree(stranger)
    refused = terminal.run("restore", database.url, stranger)
    assert (refused.status, "error[CF703]" in refused.err) == (7, True), refused
    assert "sessions/newer.json" in refused.err
    for directory in (root, stranger):
        alone = terminal.run("restore", database.url, directory, "--if-empty", "--json")
        assert (alone.status, report(alone)["state"]) == (0, "left alone"), alone
        assert f"journal head {report(alone)['head']}" in alone.err
    assert (of_tree(root), of_tree(stranger)) == before


def test_a_restore_that_was_killed_goes_on_and_what_is_missing_is_not_taken_for_removed(
    terminal: Terminal, root: Path, saved: Database
):
    """Half a tree is no tree: neither --if-empty nor a follower takes it for one."""
    before, parked = rows(saved), vanish(root)
    restore = ("restore", saved.url, root, "--if-empty", "--workers", 1)
    killed = terminal.run(*restore, CROSSFADE_FAILPOINT="file.rename:after@40")
    assert killed.status == -9, killed
    for options in ((), ("--once",)):
        refused = terminal.run("start", root, saved.url, *options)
        assert (refused.status, "error[CF707]" in refused.err) == (7, True), refused
        assert "a restore of" in refused.err
    killed = terminal.run(*restore, CROSSFADE_FAILPOINT="postgres.marks:after")
    assert killed.status == -9, killed
    done = terminal.run(*restore)

    assert done.status == 0, done
    compare(parked, root)
    again = terminal.run("start", "--once", root, saved.url)
    assert (again.status, "already there" in again.out) == (0, True), again
    assert rows(saved) == before


def _entries(database: Database) -> list[tuple]:
    """Every path that the database holds, with its content's digest."""
    return database.all(f"""SELECT path, type, digest FROM "{database.location.schema}".entries ORDER BY key""")


def test_half_a_restore_mends_nothing(terminal: Terminal, root: Path, saved: Database):
    """What has not come back yet is in the store alone: --repair would take it for removed there. Nor does anything propose it."""
    before, parked = _entries(saved), vanish(root)
    killed = terminal.run("restore", saved.url, root, "--workers", 1, CROSSFADE_FAILPOINT="file.rename:after@40")
    found = terminal.run("validate", root, saved.url, "--jobs", 1)

    assert (killed.status, found.status) == (-9, 3), f"{killed}\n{found}"
    assert "--repair" not in found.out + found.err
    way_on = shlex.join(
        ["crossfade", "restore", saved.location.url, f"file://{root}", "--store-name", "volume", "--if-empty"]
    )
    assert [line.partition("   #")[0] for line in found.out.splitlines() if "different: " in line] == [
        f"different: {way_on}"
    ]
    for rehearsal in ((), ("--dry-run",)):
        kept = terminal.run("validate", root, saved.url, "--jobs", 1, "--repair", *rehearsal)
        assert (kept.status, "error[CF707]" in kept.err, "crossfade restore " in kept.err) == (7, True, True), kept
    turned = terminal.run("validate", saved.url, root, "--store-name", "volume", "--jobs", 1, "--repair")
    assert (turned.status, "error[CF708]" in turned.err) == (7, True), turned
    assert "crossfade restore " in turned.err
    assert _entries(saved) == before
    assert terminal.run("restore", saved.url, root, "--workers", 1).status == 0
    compare(parked, root)


def test_files_that_a_restore_made_wrong_are_not_put_over_the_store(
    person: Person, root: Path, saved: Database, monkeypatch: pytest.MonkeyPatch
):
    """It ends with 3, and says to give it again; until then its files mend nothing, unless somebody says that they are right."""
    path = next(root.rglob("sessions/*.json"))
    before, whole, _ = _entries(saved), path.read_bytes(), vanish(root)

    def spoilt(*of_run: Any, **more: Any) -> Any:
        path.write_bytes(b"wrong")
        return validate_run(*of_run, **more)

    monkeypatch.setattr(engine, "validate_run", spoilt)
    restore = person.types("restore", saved.url, root, "--workers", "1", "--json")
    monkeypatch.undo()
    assert (restore.status, "--repair" in restore.out + restore.err) == (3, False), restore
    assert restore.err.count("crossfade restore ") == restore.out.count("crossfade restore ") == 1, restore

    repair = ("validate", root, saved.url, "--jobs", "1", "--repair")
    _, hint = refused(person.types(*repair), "CF707", 7)
    assert _entries(saved) == before
    assert hint.endswith("--allow-removals if the files are right as they are")
    path.unlink()
    again = person.types(*shlex.split(hint.partition(";")[0])[1:])
    assert (again.status, path.read_bytes()) == (0, whole), again
    path.write_bytes(b"right")
    assert person.types(*repair, "--allow-removals").status == 0
    assert _entries(saved) != before


def test_a_volume_that_is_not_mounted_mends_nothing(
    person: Person, root: Path, saved: Database, monkeypatch: pytest.MonkeyPatch
):
    """Nor does one that lost most of what it held, though no round of mending would take more than three entries away."""
    monkeypatch.setattr(validator, "_HELD", 3)
    repair = ("validate", root, saved.url, "--jobs", "1", "--max-report", "3", "--repair")
    before, _ = _entries(saved), vanish(root)
    for rehearsal in ((), ("--dry-run",)):
        _, hint = refused(person.types(*repair, *rehearsal), "CF801", 8)
        assert "--allow-removals if it is meant" in hint
    (root / "sessions").mkdir()
    (root / "sessions" / "new.json").write_bytes(b"{}")
    for rehearsal in ((), ("--dry-run",)):
        _, hint = refused(person.types(*repair, *rehearsal), "CF707", 7)
        assert "--allow-removals if it is meant" in hint
    assert _entries(saved) == before

    monkeypatch.undo()
    meant = person.types(*repair, "--allow-removals")
    assert meant.status == 0, meant
    assert [path for path, kind, _ in _entries(saved) if kind == "file"] == ["sessions/new.json"]


def test_what_vanished_in_the_middle_comes_back_as_far_as_it_came_and_what_cannot_be_placed_stays_in_the_store(
    terminal: Terminal, root: Path, saved: Database
):
    """A log that was being appended to, page by page; and a name that no file system of ours holds."""
    path = max(root.rglob("events-*.jsonl"), key=lambda path: path.stat().st_size)
    schema = saved.location.schema
    entries, events = f'"{schema}".entries', f'"{schema}".events'
    row = saved.one(f"SELECT entry_id FROM {entries} WHERE path = %s", str(path.relative_to(root)))
    cut = saved.one(f"SELECT max(pos) FROM {events} WHERE entry_id = {row}")
    saved.run(
        f"DELETE FROM {events} WHERE entry_id = {row} AND pos = {cut}",
        f"UPDATE {entries} SET complete = false, digest = NULL, size = {cut}, records = records - 1 WHERE entry_id = {row}",
        f"""UPDATE {entries} SET key = convert_to('sessions', 'UTF8') || '\\x00' || convert_to(repeat('x', 300), 'UTF8'),
            path = 'sessions/' || repeat('x', 300)
            WHERE entry_id = (SELECT min(entry_id) FROM {entries} WHERE path LIKE 'sessions/%.json')""",
    )
    whole = path.read_bytes()
    vanish(root)
    restored = terminal.run("restore", saved.url, root, "--if-empty", "--workers", 1)
    saved_again = terminal.run("start", "--once", root, saved.url, "--workers", 1)

    assert (restored.status, saved_again.status) == (4, 4), f"{restored}\n{saved_again}"
    assert path.read_bytes() == whole[:cut]
    assert saved.one(f"SELECT type FROM {entries} WHERE octet_length(key) > 300") == "file"
    assert len(rows(saved)) == saved.one(f"SELECT sum(records) FROM {entries}")


@contextmanager
def held_elsewhere(database: Database, seconds: float, *, renewed: bool) -> Iterator[None]:
    """The lease of a runner on another machine."""
    table, over = f'"{database.location.schema}".leases', threading.Event()
    renew = f"UPDATE {table} SET expires_at = clock_timestamp() + interval '{seconds} seconds'"
    database.run(f"UPDATE {table} SET host = 'elsewhere', boot = 'another'", renew)

    def hold() -> None:
        while not over.wait(0.2):
            database.run(renew)

    holder = threading.Thread(target=hold if renewed else lambda: None)
    holder.start()
    try:
        yield
    finally:
        over.set()
        holder.join()


def test_the_lease_of_a_pod_that_vanished_is_taken_over_at_its_end_and_a_living_ones_is_not(
    terminal: Terminal, root: Path, saved: Database
):
    epoch = f'SELECT epoch FROM "{saved.location.schema}".leases'
    vanish(root)
    before = saved.one(epoch)
    with held_elsewhere(saved, 10, renewed=True):
        second = terminal.run("restore", saved.url, root, "--if-empty")
    assert (second.status, "error[CF501]" in second.err) == (5, True), second
    assert "elsewhere" in second.err
    assert not list(root.iterdir())
    with held_elsewhere(saved, 2, renewed=False):
        done = terminal.run("restore", saved.url, root, "--if-empty", "--workers", 1)
    assert done.status == 0, done
    assert saved.one(epoch) == before + 1


def test_a_copy_that_was_never_finished_is_not_restored(terminal: Terminal, root: Path, database: Database):
    """What the program had beyond it is nowhere; a person decides, not a container that starts."""
    environment = {"CROSSFADE_FAILPOINT": "postgres.page:after@2"}
    options = ("--workers", 1, "--batch-records", 20)
    killed = terminal.run("start", "--once", root, database.url, *options, **environment)
    vanish(root)
    refused = terminal.run("restore", database.url, root, "--if-empty")

    assert killed.status == -9, killed
    assert (refused.status, "error[CF708]" in refused.err) == (7, True), refused
    assert not list(root.iterdir())


def test_the_first_time_there_is_nothing_to_restore(terminal: Terminal, tmp_path: Path, database: Database):
    """Which may also be a mistyped URL, so it has to be said."""
    refused = terminal.run("restore", database.url, tmp_path / "new", "--if-empty")
    allowed = terminal.run("restore", database.url, tmp_path / "new", "--if-empty", "--allow-empty")
    turned = terminal.run("restore", tmp_path / "new", database.url)

    assert (refused.status, "error[CF201]" in refused.err) == (2, True), refused
    assert allowed.status == 0, allowed
    assert (turned.status, "error[CF103]" in turned.err) == (1, True), turned


def test_a_directory_that_the_store_did_not_come_from_gets_a_copy(
    terminal: Terminal, still: tuple[Path, Database], tmp_path: Path
):
    """As by ``start STORE DIR --once``: a migration of its own. That is said: nothing is followed back from there, into this tree."""
    root, database = still
    elsewhere = tmp_path / "elsewhere" / root.name
    elsewhere.parent.mkdir()
    done = terminal.run("restore", database.url, elsewhere, "--if-empty", "--workers", 1)
    back = terminal.run("start", elsewhere, database.url)

    assert done.status == 0, done
    note = f"note: {database.location.url} came from file://{root}: file://{elsewhere} gets a copy of its own, "
    assert note in done.err
    compare(root, elsewhere)
    query = f"""SELECT count(*) FROM "{database.location.schema}".migrations WHERE phase = 'copied' AND target LIKE %s"""
    assert database.one(query, f"%/elsewhere/{root.name}") == 1
    assert (back.status, "error[CF702]" in back.err) == (7, True), back


@pytest.fixture
def other_device(tmp_path: Path) -> Iterator[Path]:
    """A directory on another file system."""
    made = Path(tempfile.mkdtemp(prefix="cf-", dir="/dev/shm"))
    assert made.stat().st_dev != tmp_path.stat().st_dev
    yield made
    shutil.rmtree(made)


def test_the_same_tree_on_another_volume_is_read_and_not_moved(
    terminal: Terminal, root: Path, saved: Database, other_device: Path
):
    """A snapshot, a ``cp -a``, an rsync: another device, other inodes, other times of change, the same content."""
    before = rows(saved)
    subprocess.run(["cp", "-a", root, other_device / "copy"], check=True)
    shutil.rmtree(root)
    root.symlink_to(other_device / "copy")
    again = terminal.run("start", "--once", root, saved.url, "--json", "--workers", 1)

    assert again.status == 0, again
    assert report(again)["brought"]["bytes"] == report(again)["brought"]["records"] == 0  # type: ignore[index]
    assert rows(saved) == before
    assert "already there" in terminal.run("start", "--once", root, saved.url).out
