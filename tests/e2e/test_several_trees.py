"""Several trees that came from one directory: what is printed about one of them leads to that one, and nothing is guessed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from support.person import Person, refused, words_of
from support.servers import Database


@pytest.fixture
def second(person: Person, tiny: Path, database: Database) -> tuple[object, ...]:
    """What means the second of two trees of *tiny*."""
    person.moves(tiny, database.url)
    person.moves(tiny, database.url, "--store-name", "twin")
    return (tiny, database.url, "--store-name", "twin")


def _damage(database: Database, name: str) -> None:
    """Somebody changes a mode in the tree *name*."""
    database.run(
        f"UPDATE entries SET mode = 384 WHERE type = 'file' AND store_id = (SELECT store_id FROM stores WHERE name = '{name}')"
    )


@pytest.mark.parametrize("name", ["twin", "tiny"])
def test_the_command_that_mends_one_of_several_mends_that_one(
    name: str, person: Person, second: tuple[object, ...], database: Database
):
    """Whichever was brought first, and whichever has the directory's own name."""
    _damage(database, name)
    words = (*second[:3], name, "--jobs", "1")
    found = person.types("validate", *words)
    assert found.status == 3, found
    (command,) = re.findall(r"^different: (crossfade .+)$", found.out, re.MULTILINE)

    assert person.types(*words_of(command), "--jobs", "1").status == 0
    assert person.types("validate", *words).status == 0
    assert database.one("SELECT count(*) FROM entries WHERE mode = 384") == 0


def test_the_end_of_a_copy_names_the_tree_as_well(
    person: Person, second: tuple[object, ...], database: Database, tiny: Path
):
    """The database makes something else of what comes to the second tree."""
    number = database.one("SELECT store_id FROM stores WHERE name = 'twin'")
    database.run(
        "CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" IF NEW.store_id = {number} AND NEW.type = 'file' THEN NEW.mode := 384; END IF; RETURN NEW; END $$",
        "CREATE TRIGGER meddle BEFORE UPDATE ON entries FOR EACH ROW EXECUTE FUNCTION meddle()",
    )
    (tiny / "sessions/one.json").write_text('{"id": "one", "status": "Completed"}\n')
    run = person.types("start", *second, "--once")
    assert run.status == 3, run
    database.run("DROP TRIGGER meddle ON entries")
    (command,) = re.findall(r"^  try: (crossfade validate .+)$", run.err, re.MULTILINE)

    assert person.types(*words_of(command), "--jobs", "1").status == 0
    assert person.types("validate", *second, "--jobs", "1").status == 0


def test_a_pair_that_could_mean_several_is_not_guessed_at(person: Person, second: tuple[object, ...], database: Database):
    """Equal would be said of one, and be taken for a word about the other."""
    _damage(database, "twin")
    sentence, hint = refused(person.types("validate", *second[:2], "--jobs", "1"), "CF201", 2)

    assert "tiny, twin" in sentence
    assert "--store-name" in hint


def test_a_tree_that_is_alone_needs_no_name(person: Person, tiny: Path, database: Database):
    """Though it is not the directory's."""
    person.moves(tiny, database.url, "--store-name", "twin")
    assert person.types("validate", tiny, database.url, "--jobs", "1").status == 0
    _damage(database, "twin")
    found = person.types("validate", tiny, database.url, "--jobs", "1")
    assert "--store-name" not in found.out
    assert "--repair" in found.out


def test_on_the_way_back_one_of_several_is_named_too(
    person: Person, second: tuple[object, ...], database: Database, tmp_path: Path
):
    """A database that holds several trees is refused as a source without a name."""
    back = tmp_path / "back"
    person.moves(database.url, back, "--store-name", "twin")
    (back / "sessions/one.json").chmod(0o600)
    found = person.types("validate", database.url, back, "--store-name", "twin", "--jobs", "1")
    assert found.status == 3, found
    (command,) = re.findall(r"^different: (crossfade .+)$", found.out, re.MULTILINE)
    assert person.types(*words_of(command), "--jobs", "1").status == 0


def test_a_restore_that_was_cut_short_is_offered_with_its_tree(
    person: Person, second: tuple[object, ...], database: Database, tmp_path: Path
):
    """By the status, whichever of the trees it is."""
    database.run("UPDATE migrations SET phase = 'restoring' WHERE plan ->> 'store' = 'tiny'")
    (migration,) = (row[0] for row in database.all("SELECT migration_id FROM migrations WHERE plan ->> 'store' = 'tiny'"))
    (step,) = person.asks("status", migration)["next_steps"]
    assert person.types(*words_of(step["command"])).status == 0
