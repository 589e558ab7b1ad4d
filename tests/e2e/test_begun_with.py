"""What was said when a migration was begun holds for whoever goes on with it: strangers that stay, and what cannot be read."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from crossfade.migrate import prepare
from support.cluster import Cluster
from support.person import Person, commands_run, refused, said, words_of
from support.powerless import obey_permissions
from support.running import Run, Terminal, finish
from support.servers import Database


@pytest.fixture
def merged(person: Person, tiny: Path, database: Database, tmp_path: Path) -> Path:
    """A directory into which a tree was brought beside somebody else's files."""
    person.moves(tiny, database.url)
    target = tmp_path / "shared"
    target.mkdir()
    (target / "theirs.txt").write_text("mine")
    person.moves(database.url, target, "--merge")
    return target


def _status(person: Person, database: Database, target: Path) -> list[dict[str, str]]:
    return list(person.asks("status", database.url, target)["next_steps"])


def _in_phase(database: Database, target: Path, phase: str, more: str = "") -> None:
    """As a runner leaves it that was killed."""
    database.run(f"UPDATE migrations SET phase = '{phase}'{more} WHERE target = 'file://{target}'")


def test_what_a_copy_beside_strangers_says_to_type_runs(person: Person, merged: Path, database: Database):
    """The strangers stay where they are."""
    commands_run(person, _status(person, database, merged))
    assert (merged / "theirs.txt").read_text() == "mine"


def test_strangers_that_may_stay_take_no_proof_away(person: Person, merged: Path, database: Database):
    """By the ID and by the two ends: a proof that is too old to cut over on is renewed, as the gate says."""
    migration = person.asks("status", database.url, merged)["migration"]
    for words in ((migration,), (database.url, merged)):
        _in_phase(database, merged, "copied", ", proved_at = proved_at - interval '2 days'")
        done = person.types("validate", *words, "--jobs", "1")
        assert done.status == 0, done
        proved = f"SELECT proved_at > now() - interval '1 hour' FROM migrations WHERE migration_id = '{migration}'"
        assert database.one(proved) is True
    assert person.asks("status", migration)["state"] == "copied"


def test_only_what_was_never_brought_there_is_a_strangers(person: Person, tiny: Path, merged: Path, database: Database):
    """What stands at a path that the source has differs, and so does what was brought and is gone from the source; both are mended."""
    (tiny / "latest").unlink()
    person.moves(tiny, database.url)
    (merged / "sessions/one.json").write_text("theirs")
    found = person.asks("validate", database.url, merged)
    classes = {each["path"]: each["class"] for each in found["differences"] if each["class"] not in ("metadata", "query")}
    assert classes == {"latest": "extra", "sessions/one.json": "content"}

    done = person.types("validate", found["migration"], "--repair", "--delete-extra", "--jobs", "1")
    assert done.status == 0, done
    assert not (merged / "latest").is_symlink()
    assert (merged / "theirs.txt").read_text() == "mine"


@pytest.mark.parametrize("phase", ["copying", "planned"])
def test_a_copy_beside_strangers_that_was_interrupted_goes_on(phase: str, person: Person, merged: Path, database: Database):
    """By the command that the status names; and ends as it was begun, with a proof."""
    _in_phase(database, merged, phase)
    steps = _status(person, database, merged)
    assert [words_of(step["command"])[0] for step in steps] == ["resume"]
    commands_run(person, steps)
    assert (merged / "theirs.txt").read_text() == "mine"
    assert person.asks("status", database.url, merged)["state"] == "copied"


def test_a_run_that_was_to_follow_goes_on_as_that(person: Person, tiny: Path, database: Database):
    """Also where it has not come to its first page: ``start --once`` would be another wish."""
    person.moves(tiny, database.url)
    database.run("UPDATE migrations SET phase = 'planned', wanted = wanted || '{\"once\": false}'")
    (step,) = person.asks("status", tiny, database.url)["next_steps"]
    assert words_of(step["command"])[0] == "resume"


def test_strangers_that_may_stay_are_no_drift_without_a_runner_either(
    person: Person, tiny: Path, merged: Path, database: Database
):
    """A hand-over by a verb alone brings over what is left, as whoever follows would."""
    for words in (("cutover", tiny, database.url, "--writers-stopped"), ("finish", tiny, database.url)):
        assert person.types(*words).status == 0
    done = person.types("cutover", database.url, merged, "--writers-stopped")
    assert done.status == 0, done
    assert person.asks("drift", database.url, merged, "list")["items"] == []
    back = person.types("rollback", database.url, merged, "--writers-stopped")
    assert back.status == 0, back
    assert (merged / "theirs.txt").read_text() == "mine"


def _drifts(person: Person, source: object, target: object, path: str) -> None:
    """What somebody wrote at *path* keeps the authority from going back, and is shown."""
    sentence, _ = refused(person.types("rollback", source, target, "--writers-stopped", "--timeout", "5"), "CF709", 7)
    assert "1 paths drifted" in sentence
    assert [item["path"] for item in person.asks("drift", source, target, "list")["items"]] == [path]


def test_no_word_about_strangers_hides_what_is_written_into_retired_files(person: Person, tiny: Path, database: Database):
    """``--merge`` is about a directory that is filled; it says nothing of files that were the source."""
    person.moves(tiny, database.url, "--merge")
    done = person.types("cutover", tiny, database.url, "--writers-stopped")
    assert done.status == 0, done
    (tiny / "sessions/rogue.json").write_text("{}")
    _drifts(person, tiny, database.url, "sessions/rogue.json")


def test_no_word_about_strangers_hides_what_is_written_into_a_retired_database(
    person: Person, tiny: Path, merged: Path, database: Database
):
    """Once the directory decides, all that lies in it does, and strangers' files come along; in the database nobody is one."""
    for words in (("cutover", tiny, database.url, "--writers-stopped"), ("finish", tiny, database.url)):
        assert person.types(*words).status == 0
    done = person.types("cutover", database.url, merged, "--writers-stopped")
    assert done.status == 0, done
    database.run(
        "INSERT INTO entries (store_id, path, key, type, kind, form, generation, size, records, raws, mode, mtime_ns, link,"
        " complete, unstable) SELECT store_id, 'by-hand', 'by-hand', 'link', '', 'blob', 1, 0, 0, 0, 511, 0, 'x', true, false"
        " FROM stores"
    )
    _drifts(person, database.url, merged, "by-hand")
    assert database.one("SELECT type FROM entries WHERE path = 'theirs.txt'") == "file"


def test_strangers_are_deleted_again_only_where_that_is_said_again(
    person: Person, tiny: Path, database: Database, tmp_path: Path
):
    """A first copy that was to delete them, and was interrupted, is offered as it was begun; later ones without."""
    person.moves(tiny, database.url)
    target = tmp_path / "cleared"
    person.moves(database.url, target, "--delete-extra")
    assert all("--delete-extra" not in step["command"] for step in _status(person, database, target))
    _in_phase(database, target, "copying", ", report = NULL, proved_at = NULL")
    (target / "theirs.txt").write_text("mine")
    steps = _status(person, database, target)
    (migration,) = (row[0] for row in database.all("SELECT migration_id FROM migrations ORDER BY created_at DESC LIMIT 1"))

    assert [step["command"].endswith("--delete-extra --once") for step in steps] == [True]
    refused(person.types("resume", migration), "CF703", 7)
    assert (target / "theirs.txt").read_text() == "mine"
    assert _status(person, database, target) == steps, "a run that may not delete them does not forget that they were to go"
    commands_run(person, steps)
    assert not (target / "theirs.txt").exists()


def test_what_cannot_be_read_is_left_out_by_who_goes_on(terminal: Terminal, store: Path, cluster: Cluster):
    """As it was when the copy was begun; it is named again, and the exit says 4."""
    secret = next((store / "sessions").iterdir())
    secret.chmod(0)
    terminal.environment["PGPASSWORD"] = cluster.password
    url = cluster.url("begun_with")

    def types(*words: object) -> tuple[int, str, str]:
        run = finish(terminal.popen(*words, preexec_fn=obey_permissions))
        return run.status, run.out, run.err

    assert types("start", store, url, "--once", "--workers", "1", "--skip-unreadable")[0] == 4
    state = said(terminal.run("status", store, url, "--json"))
    (again, *_) = [words_of(step["command"]) for step in state["next_steps"]]
    assert types(*again, "--workers", "1")[0] == 4
    cluster.database("begun_with").run("UPDATE migrations SET phase = 'copying'")
    code, _, err = types("resume", state["migration"], "--workers", "1")
    assert (code, f"left out, could not be read: sessions/{secret.name}" in err) == (4, True), err


def test_what_cannot_be_read_is_left_out_by_whoever_validates_it_again(terminal: Terminal, store: Path, cluster: Cluster):
    """As the copy was begun, by its ID; and as it was said, in the command that a validation ends with."""
    secret = next((store / "sessions").iterdir())
    terminal.environment["PGPASSWORD"] = cluster.password
    url, database = cluster.url("begun_readable"), cluster.database("begun_readable")

    def types(*words: object) -> Run:
        return finish(terminal.popen(*words, preexec_fn=obey_permissions))

    assert types("start", store, url, "--once", "--workers", "1", "--skip-unreadable").status == 0
    secret.chmod(0)
    found = types("validate", store, url, "--skip-unreadable", "--json")
    assert found.status == 3, found
    (step,) = said(terminal.run("status", store, url, "--json"))["next_steps"]
    done = types(*words_of(step["command"]))
    assert done.status == 4, done

    database.run("UPDATE entries SET mode = 384 WHERE path = 'sessions'")
    (step,) = said(types("validate", store, url, "--skip-unreadable", "--json"))["next_steps"]
    done = types(*words_of(step["command"]))
    assert done.status == 4, done


def test_a_restore_of_files_that_followed_leaves_what_was_wished_of_them(person: Person, merged: Path, database: Database):
    """A container's files follow a database, beside strangers, and vanish: whoever goes on with a restore brings what is missing."""
    mine = f"FROM migrations WHERE target = 'file://{merged}'"
    database.run("UPDATE migrations SET wanted = wanted || '{\"once\": false}'")
    shutil.rmtree(merged)
    restored = person.types("restore", database.url, merged, "--if-empty", "--workers", "1", "--rate-limit", "5MB")
    assert restored.status == 0, restored
    kept = "wanted ->> 'once', wanted ->> 'merge', (wanted ->> 'bytes_per_second')::float"
    assert database.all(f"SELECT {kept} {mine}") == [("true", "true", 5_000_000.0)]
    _in_phase(database, merged, "copying")
    (merged / "theirs.txt").write_text("mine")
    (merged / "sessions" / "one.json").unlink()
    commands_run(person, _status(person, database, merged))
    assert (merged / "theirs.txt").read_text() == "mine"
    assert (merged / "sessions" / "one.json").exists()
    assert person.asks("status", database.url, merged)["state"] == "copied"


def test_what_is_refused_once_the_lease_is_had_is_told_once_and_nobodys_wish(
    person: Person, tiny: Path, database: Database, monkeypatch: pytest.MonkeyPatch
):
    """Another runner has added a kind while the lease was waited for: what was typed meets another migration than was looked at."""
    person.moves(tiny, database.url, "--only", "sessions")
    claim = prepare.claim

    def claimed_late(*arguments: Any) -> int:
        epoch = claim(*arguments)
        database.run("""UPDATE migrations SET kinds = '["events", "sessions"]'""")
        return epoch

    monkeypatch.setattr(prepare, "claim", claimed_late)
    before = database.all("SELECT wanted FROM migrations")
    refused(person.types("start", tiny, database.url, "--only", "sessions", "--merge", "--rate-limit", "5MB"), "CF701", 7)

    assert before == database.all("SELECT wanted FROM migrations")
    assert database.one("SELECT count(*) FROM journal WHERE event = 'refused'") == 1


def test_a_restore_that_was_interrupted_ends_with_its_proof(person: Person, tiny: Path, database: Database, tmp_path: Path):
    """Into a directory that was never brought from there, too: whoever goes on with it does not follow from then on."""
    person.moves(tiny, database.url)
    target = tmp_path / "elsewhere"
    target.mkdir()
    (target / "theirs.txt").write_text("mine")
    assert person.types("restore", database.url, target, "--merge", "--workers", "1").status == 0
    assert database.one("SELECT wanted ->> 'once' FROM migrations ORDER BY created_at DESC LIMIT 1") == "true"
    _in_phase(database, target, "copying")
    commands_run(person, _status(person, database, target))
    assert person.asks("status", database.url, target)["state"] == "copied"
