"""There and back, as a person does it: copy, change, copy again, restore, move on. The independent comparer judges."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from crossfade.testing import hazards
from support.person import Person, refused, said
from support.running import ROOT, Run, compare
from support.servers import NAMES, Database, Servers

SAMPLES = ROOT / "tests" / "data" / "prodigy"


@pytest.fixture
def another(servers: Servers) -> Iterator[Database]:
    """A second schema beside ``database``."""
    with servers.database(NAMES[0]) as made:
        yield made


@pytest.fixture
def elsewhere(servers: Servers) -> Iterator[Database]:
    """A schema on a server of another major version, where there is one."""
    with servers.database(NAMES[1 % len(NAMES)]) as made:
        yield made


def plant(root: Path) -> None:
    """What ``change`` changes."""
    _write(root / "events/r/grows/events-1.jsonl", b'{"n":1}\n')
    _write(root / "events/r/torn/events-1.jsonl", b'{"n":1}\n{"n":')
    _write(root / "events/r/cut/events-1.jsonl", b'{"n":1}\n{"n":2}\n{"n":3}\n')
    _write(root / "sessions/swapped.json", b'{"id":"swapped"}')
    _write(root / "state/folder/deep/er/one.json", b"{}")
    _write(root / "state/folder/events.jsonl", b"{}\n")
    _write(root / "sessions/rewritten.json", b'{"id":"rewritten","status":"Running"}')
    _write(root / "sessions/mode.json", b"{}")
    _write(root / "sessions/time.json", b"{}")
    _write(root / "gone/with/all/below.json", b"{}")
    (root / "latest").symlink_to("sessions")
    (root / "was-a-link").symlink_to("nowhere")


def change(root: Path) -> None:
    """Everything that happens to a living tree."""
    _write(root / "sessions/rewritten.json", b'{"id":"rewritten","status":"Completed"}')
    _append(root / "events/r/grows/events-1.jsonl", b'{"n":2}\n')
    _append(root / "events/r/torn/events-1.jsonl", b"2}\n")
    _write(root / "events/r/cut/events-1.jsonl", b'{"other":1}\n')
    (root / "sessions/swapped.json").unlink()
    _write(root / "sessions/swapped.json/inner.json", b'{"id":"inner"}')
    shutil.rmtree(root / "state/folder")
    _write(root / "state/folder", b"a file now")
    (root / "was-a-link").unlink()
    _write(root / "was-a-link/deep/er.json", b"{}")
    (root / "sessions/mode.json").chmod(0o600)
    os.utime(root / "sessions/time.json", ns=(1, 1_500_000_000_123_456_789))
    _retarget(root / "latest", "events")
    shutil.rmtree(root / "gone")
    (root / "empty").mkdir(mode=0o750)
    _write(root / "new.json", b"{}")


def change_back(root: Path) -> None:
    """The other way round, once more."""
    shutil.rmtree(root / "sessions/swapped.json")
    _write(root / "sessions/swapped.json", b'{"id":"swapped again"}')
    (root / "state/folder").unlink()
    _write(root / "state/folder/deep/er/one.json", b'{"two":2}')
    shutil.rmtree(root / "was-a-link")
    (root / "was-a-link").symlink_to("elsewhere")
    _append(root / "events/r/cut/events-1.jsonl", b'{"other":2}\n{"torn')
    (root / "new.json").unlink()
    (root / "empty").rmdir()


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def _retarget(link: Path, target: str) -> None:
    link.unlink()
    link.symlink_to(target)


def test_changes_follow_in_both_directions(person: Person, store: Path, database: Database, tmp_path: Path):
    """A second run brings everything over that happened since, and says so when nothing did; so does a second restore."""
    plant(store)
    restored = tmp_path / "restored"
    assert "proven: " in person.moves(store, database.url).out
    assert "already there, proven at 20" in person.moves(store, database.url).out
    person.moves(database.url, restored)
    compare(store, restored)

    for happens in (change, change_back):
        happens(store)
        assert "proven: " in person.moves(store, database.url).out
        assert "already there" in person.moves(store, database.url).out
        assert "proven: " in person.moves(database.url, restored).out
        compare(store, restored)
        assert "already there" in person.moves(database.url, restored).out

    assert database.all("SELECT status FROM sessions WHERE id = 'rewritten'") == [("Completed",)]
    assert database.all("SELECT path FROM entries WHERE path LIKE 'gone/%%' AND type <> 'gone'") == []


def test_a_restore_that_nothing_hinders_leaves_nothing_of_its_own_behind(
    person: Person, tiny: Path, database: Database, tmp_path: Path
):
    """No temporary file, no directory of ours, in the target or beside it."""
    person.moves(tiny, database.url)
    person.moves(database.url, tmp_path / "new" / "restored")
    compare(tiny, tmp_path / "new" / "restored")

    assert os.listdir(tmp_path / "new") == ["restored"]


def test_from_database_to_database_to_another_major_version_to_files(
    person: Person, store: Path, database: Database, another: Database, elsewhere: Database, tmp_path: Path
):
    """Direction is free. Nothing is lost on the way, and the layout travels along."""
    person.moves(store, database.url)
    person.moves(database.url, another.url)
    person.moves(another.url, elsewhere.url)
    assert "already there" in person.moves(another.url, elsewhere.url).out
    person.moves(elsewhere.url, tmp_path / "restored")
    compare(store, tmp_path / "restored")

    assert elsewhere.all("SELECT layout_name FROM stores") == [("prodigy",)]
    _append(next(store.glob("events/**/*.jsonl")), b'{"late": true}\n')
    for source, target in (
        (store, database.url),
        (database.url, another.url),
        (another.url, elsewhere.url),
        (elsewhere.url, tmp_path / "restored"),
    ):
        assert "proven: " in person.moves(source, target).out
    compare(store, tmp_path / "restored")


@pytest.mark.timeout(600)
def test_every_hazard_comes_back_as_it_was(person: Person, database: Database, tmp_path: Path):
    """Promise 1 over everything that ever broke such a program; and no document in the database breaks a query."""
    hazards.build(str(tmp_path / "hazards"))
    made = _report(person.types("start", tmp_path / "hazards", database.url, "--once", "--json", "--workers", "2"))
    back = _report(person.types("start", database.url, tmp_path / "restored", "--once", "--json", "--workers", "2"))
    compare(tmp_path / "hazards", tmp_path / "restored")

    assert made["validation"]["source_root"] == back["validation"]["target_root"]
    assert 0 == made["quarantined"] == back["quarantined"]
    assert made["raw"] > 0
    for (kind,) in database.all("SELECT name FROM kinds"):
        database.all(f"SELECT count(body->>'x'), count(body->'a'->>'b') FROM {kind}")


def _report(run: Run) -> dict:
    assert run.status == 0, run
    return said(run)


def test_real_samples_go_there_and_come_back_with_their_columns_filled(person: Person, database: Database, tmp_path: Path):
    """The main job on real input: what a real Prodigy wrote."""
    source = tmp_path / "samples"
    shutil.copytree(SAMPLES / "local" / ".prodigy", source)
    shutil.copytree(SAMPLES / "jobs", source / "state/prodigy/mapreduce/jobs")
    person.moves(source, database.url)
    person.moves(database.url, tmp_path / "restored")
    compare(source, tmp_path / "restored")

    documents = [json.loads(path.read_bytes()) for path in (source / "checkpoints").glob("*.checkpoint.json")]
    filled = database.all("SELECT workflow_id FROM checkpoints ORDER BY 1")
    assert sorted(document["workflow_id"] for document in documents) == [value for (value,) in filled]
    jobs = {path.parent.name for path in source.glob("state/prodigy/mapreduce/jobs/*/checkpoint-v*.json")}
    assert {(job,) for job in jobs} == set(database.all("SELECT job_id FROM job_states"))


@pytest.mark.parametrize("sample", ["legacy", "local", "jobs"])
def test_every_sample_directory_is_a_tree_that_comes_back(person: Person, database: Database, tmp_path: Path, sample: str):
    """Whatever the layout makes of them: nothing is lost."""
    shutil.copytree(SAMPLES / sample, tmp_path / "source")
    person.moves(tmp_path / "source", database.url)
    person.moves(database.url, tmp_path / "restored")
    compare(tmp_path / "source", tmp_path / "restored")


def test_two_trees_live_in_one_schema_and_come_back_apart(
    person: Person, store: Path, tiny: Path, database: Database, tmp_path: Path
):
    """Several trees share a schema; each is found again by its name."""
    person.moves(store, database.url, "--store-name", "laptop")
    person.moves(tiny, database.url, "--store-name", "server")
    for name, tree in (("laptop", store), ("server", tiny)):
        person.moves(database.url, tmp_path / name, "--store-name", name)
        compare(tree, tmp_path / name)

    (tiny / "sessions" / "one.json").unlink()
    person.moves(tiny, database.url, "--store-name", "server")
    person.moves(f"{database.url}&store=server", tmp_path / "again")
    compare(tiny, tmp_path / "again")
    assert "already there" in person.moves(store, database.url, "--store-name", "laptop").out


def test_the_layout_of_another_application(person: Person, database: Database, tmp_path: Path):
    """A layout is data: what is no Prodigy at all gets tables, columns and indexes of its own."""
    source, layout = tmp_path / "notes-app", ROOT / "examples/layouts/notes.toml"
    _write(source / "notes/office/a.json", b'{"title":"A","state":"todo","flags":{"pinned":true},"stats":{"words":7}}')
    _write(source / "notes/office/b.json", b'{"title":"B","status":"done","modified":"2025-11-16T10:15:00Z"}')
    _write(source / "notes/office/files/pic.bin", bytes(range(256)))
    _write(source / "journal/2025/11.jsonl", b'{"note":"a","at":"2025-11-16T10:15:00Z"}\n{"note":"b"')
    _write(source / "cache/x", b"left out")
    _write(source / "trash/README.txt", b"kept")
    person.moves(source, database.url, "--layout", layout)

    assert database.all("SELECT title, state, pinned, words, notebook, id FROM notes ORDER BY title") == [
        ("A", "open", True, 7, "office", "a"),
        ("B", "done", None, None, "office", "b"),
    ]
    assert database.all("SELECT month, note FROM changes_made ORDER BY pos") == [("11", "a"), ("11", None)]
    (indexes,) = database.all("SELECT count(*) FROM pg_indexes WHERE schemaname = current_schema() AND tablename = 'notes'")
    assert indexes[0] >= 3

    assert "already there" in person.moves(source, database.url).out  # the layout is in the database
    person.moves(database.url, tmp_path / "restored")
    assert [name for name in ("cache", "trash") if (tmp_path / "restored" / name / "README.txt").exists()] == ["trash"]
    shutil.rmtree(source / "cache")
    shutil.rmtree(tmp_path / "restored" / "cache", ignore_errors=True)
    os.utime(tmp_path / "restored", ns=(0, source.stat().st_mtime_ns))
    compare(source, tmp_path / "restored")


def test_kinds_move_one_after_another(person: Person, store: Path, database: Database, tmp_path: Path):
    """--only begins with a few, --add lets the set grow, other kinds are not touched, and a restore brings what is there."""
    person.moves(store, database.url, "--only", "sessions")
    sessions = database.one("SELECT count(*) FROM sessions")
    assert sessions == len(list((store / "sessions").iterdir()))
    assert database.one("SELECT count(*) FROM events") == 0

    before = database.all("SELECT xmin::text, entry_id FROM sessions ORDER BY 2")
    person.moves(store, database.url, "--add", "events")
    assert before == database.all("SELECT xmin::text, entry_id FROM sessions ORDER BY 2")
    assert database.one("SELECT count(*) FROM events") > 0
    assert database.one("SELECT count(*) FROM checkpoints") == 0
    assert "already there" in person.moves(store, database.url).out

    person.moves(database.url, tmp_path / "restored")
    restored = {path.relative_to(tmp_path / "restored") for path in (tmp_path / "restored").rglob("*") if path.is_file()}
    expected = [path for top in ("sessions", "events") for path in (store / top).rglob("*") if path.is_file()]
    moved = {
        bytes(key).replace(b"\0", b"/").decode() for (key,) in database.all("SELECT key FROM entries WHERE type='file'")
    }
    assert {str(path) for path in restored} == moved
    assert moved <= {str(path.relative_to(store)) for path in expected}


def test_all_but_some_kinds(person: Person, store: Path, database: Database):
    """--except is the rest; with --add the set is whole, and says so."""
    person.moves(store, database.url, "--except", "events", "--except", "logs")
    assert database.one("SELECT count(*) FROM events") == 0
    assert database.one("SELECT count(*) FROM checkpoints") > 0

    person.moves(store, database.url, "--add", "events", "--add", "logs")
    assert database.one("SELECT kinds FROM migrations") is None
    assert database.one("SELECT count(*) FROM logs") > 0


@pytest.mark.parametrize("options", [("--only", "sessions", "--add", "events"), ("--except", "events", "--add", "events")])
def test_a_command_that_began_with_some_kinds_and_added_others_goes_on(
    person: Person, tiny: Path, database: Database, options: tuple[str, ...]
):
    """A supervisor gives the same words again. What began with some kinds alone would be another plan."""
    person.moves(tiny, database.url, *options)
    assert database.one("SELECT count(*) FROM events") == 2
    assert "already there" in person.moves(tiny, database.url, *options).out
    planned = person.types("plan", tiny, database.url, *options)
    assert planned.status == 0, planned

    refused(person.types("start", tiny, database.url, "--once", *options[:2]), "CF701", 7)


def test_transient_files_come_along_when_asked(person: Person, store: Path, database: Database, tmp_path: Path):
    """Locks and half-written files stay behind, or are part of the plan: both ways."""
    person.moves(store, f"{database.url}&store=without")
    person.moves(store, f"{database.url}&store=with", "--include-transient")
    person.moves(f"{database.url}&store=without", tmp_path / "without")
    person.moves(f"{database.url}&store=with", tmp_path / "with")

    lock = Path("resume_locks/session-abc123.lock")
    assert (store / lock).read_bytes() == (tmp_path / "with" / lock).read_bytes()
    assert not (tmp_path / "without" / lock).exists()


def test_the_generic_layout_takes_any_tree(person: Person, database: Database, tmp_path: Path):
    """JSON, JSON lines and the rest, for those who have no layout yet."""
    source = tmp_path / "any"
    _write(source / "a/b.json", b'{"x": 1}')
    _write(source / "a/c.jsonl", b'{"x": 2}\n\n{"x": 3}')
    _write(source / "d.png", b"\x89PNG\r\n")
    person.moves(source, database.url, "--layout", "generic")
    person.moves(database.url, tmp_path / "restored")
    compare(source, tmp_path / "restored")

    assert database.all("SELECT body->>'x' FROM documents") == [("1",)]
    assert database.all("SELECT body->>'x' FROM lines ORDER BY pos") == [("2",), (None,), ("3",)]


def test_two_workers_bring_what_one_does(person: Person, store: Path, database: Database, another: Database):
    """The number of processes is no part of the result, nor of the plan."""
    one = said(person.types("start", store, database.url, "--once", "--json", "--workers", "1"))
    two = said(person.apart("start", store, another.url, "--once", "--json", "--workers", "2"))

    assert one["validation"]["target_root"] == two["validation"]["target_root"]
    assert "already there" in person.apart("start", store, database.url, "--once", "--workers", "3").out
