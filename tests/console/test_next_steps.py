"""What is said to type next can be typed as it stands, wherever that was read."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from urllib.parse import quote

import pytest

from support.person import Person, bad, commands_run, refused, words_of
from support.running import Terminal, in_group, report, wait_for
from support.servers import Database

COMMAND = re.compile(r"crossfade (?:list|[a-z]+ [0-9a-f]{12})[^#;,\n]*")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Files in a place that a shell would take apart."""
    (tmp_path / "live & well").mkdir()
    (tmp_path / "live & well/one.json").write_text("{}")
    return tmp_path / "live & well"


@pytest.fixture
def owner(root: Path, database: Database, tmp_path: Path) -> Person:
    """Somebody who has brought the files to a database whose URL has several options."""
    assert "&" in database.url
    person = Person(tmp_path / "owner")
    person.moves(root, database.url)
    return person


@pytest.fixture
def other(tmp_path: Path) -> Person:
    """Somebody whose list of migrations is empty, as on another host."""
    return Person(tmp_path / "other")


@pytest.fixture
def forgetful(tmp_path: Path) -> Person:
    """Somebody whose list of migrations cannot be written."""
    (tmp_path / "forgetful/crossfade/migrations.json").mkdir(parents=True)
    return Person(tmp_path / "forgetful")


def test_a_command_names_the_database_where_the_migration_would_not_be_found(
    root: Path, database: Database, owner: Person, other: Person
):
    """For somebody else, or on another host; not where the user's own list has it, or the environment names it."""
    assert owner.types("cutover", root, database.url, "--writers-stopped").status == 0

    def step(person: Person, **environment: str) -> str:
        return str(person.asks("status", "--store", database.url, **environment)["next_steps"][0]["command"])

    assert "--store" not in step(owner)
    assert "--store" not in step(other, CROSSFADE_STORE=database.url)
    assert "--store" in step(owner, CROSSFADE_STORE=database.url + "x")
    assert "--store" in step(owner, CROSSFADE_STORE="mysql://x"), "which is no store at all"
    command = shlex.split(step(other))
    assert command[:2] == ["crossfade", "resume"]
    assert other.types("status", *command[2:]).status == 0


def _found(person: Person, text: str) -> None:
    """Every command in *text* that means a migration finds it, as *person*; there is one at least."""
    commands = COMMAND.findall(text)
    assert commands, text
    for command in commands:
        verb, *rest = words_of(command)
        place = rest[rest.index("--store") :][:2] if "--store" in rest else []
        words = [] if verb == "list" else rest[:1]
        assert person.types("status", *words, *place).status == 0, command


def test_what_a_refusal_says_to_try_finds_the_migration(root: Path, database: Database, owner: Person, other: Person):
    """Of verbs that look for it, of those that begin it, and of what a rehearsal shows."""
    for words in (("pause", root, database.url), ("pause", "--store", database.url)):
        _, hint = refused(other.types(*words), "CF708", 7)
        _found(other, hint)
    database.run("UPDATE entries SET mode = 384 WHERE type = 'file'")
    assert owner.types("validate", root, database.url, "--jobs", "1").status == 3
    _, hint = refused(other.types("cutover", root, database.url), "CF708", 7)
    assert words_of(hint)[0] == "validate"
    assert other.types(*words_of(hint)).status == 0

    database.run("UPDATE migrations SET proved_at = proved_at - interval '2 days', verified_at = NULL")
    _found(other, other.types("cutover", root, database.url, "--dry-run").out)
    (gate, *_) = [each for each in other.asks("cutover", root, database.url, "--dry-run")["gates"] if not each["met"]]
    assert other.types(*words_of(gate["hint"])).status == 0

    cut = other.types("cutover", root, database.url, "--writers-stopped")
    assert cut.status == 0, cut
    _found(other, cut.out)
    _, hint = refused(other.types("start", root, database.url, "--once"), "CF708", 7)
    _found(other, hint)
    _, hint = refused(owner.types("start", root, database.url, "--once"), "CF708", 7)
    assert "--store" not in hint


def test_what_a_validation_says_to_type_finds_the_migration(root: Path, database: Database, owner: Person, other: Person):
    """Of a pair that is named by its two ends."""
    del owner
    database.run("ALTER TABLE sessions ADD CONSTRAINT picky CHECK (id <> 'refuse-me')")
    (root / "sessions").mkdir()
    (root / "sessions/two.json").write_text('{"id": "refuse-me"}')
    Person(other.home).moves(root, database.url, status=4)
    (other.home / "crossfade/migrations.json").unlink()
    found = other.types("validate", root, database.url, "--jobs", "1")
    assert "equal, but for what is in quarantine" in found.out, found
    _found(other, found.out)


def test_what_a_copy_ends_with_is_found_though_no_list_could_be_written(root: Path, database: Database, forgetful: Person):
    """It is said where it can be found, and the commands say it as well."""
    run = forgetful.types("start", root, database.url, "--once", "--json")
    assert "not added to this user's list" in run.err
    (said,) = re.findall(r"find it again with (.+)$", run.err, re.MULTILINE)
    assert forgetful.types("status", *shlex.split(said)).status == 0
    steps = report(run)["next_steps"]
    assert isinstance(steps, list)
    commands_run(forgetful, steps)


def test_what_goes_on_in_the_background_is_found(root: Path, database: Database, forgetful: Person):
    """Its own next steps, too."""
    terminal = Terminal(forgetful.home)
    run = terminal.run("start", root, database.url, "--once", "--detach", "--workers", "1", "--json")
    assert run.status == 0, run
    steps = report(run)["next_steps"]
    assert isinstance(steps, list)
    for step in steps:
        _found(forgetful, step["command"])
    wait_for("its end", lambda: not in_group(int(str(report(run)["pid"]))))


def test_what_the_doctor_says_to_type_finds_the_migration(database: Database, owner: Person, other: Person):
    """What was interrupted, from another host."""
    database.run("UPDATE migrations SET phase = 'copying'")
    looked = other.types("doctor", "--store", database.url)
    assert not bad(looked)
    _found(other, looked.out)
    assert "--store" not in owner.types("doctor", "--store", database.url).out


def test_a_url_stands_in_a_hint_as_a_shell_takes_it(
    root: Path, database: Database, owner: Person, other: Person, tmp_path: Path
):
    """Cut at its first &, it would be half a command, which runs in the background."""
    del owner
    back = tmp_path / "back & forth"
    other.moves(database.url, back)
    for path in back.iterdir():
        path.unlink()
    back.rmdir()
    _, hint = refused(other.types("validate", database.url, back, "--jobs", "1"), "CF104", 1)
    assert other.types(*words_of(hint)).status == 0
    assert sorted(path.name for path in back.iterdir()) == sorted(path.name for path in root.iterdir())


def test_the_migrations_that_share_a_tree_are_listed_from_wherever_that_is_said(
    root: Path, database: Database, owner: Person, other: Person, tmp_path: Path
):
    """By a gate that keeps a tree from being handed over which follows somebody else."""
    owner.moves(database.url, tmp_path / "back")
    _, hint = refused(other.types("cutover", database.url, tmp_path / "back", "--writers-stopped"), "CF709", 7)
    assert words_of(hint)[0] == "list"
    assert f"file://{quote(str(root))}" in other.types(*words_of(hint)).out
    _, hint = refused(owner.types("cutover", database.url, tmp_path / "back", "--writers-stopped"), "CF709", 7)
    assert words_of(hint) == ["list"]
