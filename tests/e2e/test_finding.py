"""Which migration is meant, and where it is looked for, while a database is away."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from support.person import Person, refused
from support.servers import Database

AWAY = "postgresql://somebody@127.0.0.1:1/nowhere"
"""A database whose server does not answer."""


def known(person: Person, *places: str) -> None:
    """Have *person*'s list begin with a migration in each of *places*."""
    registry = person.home / "crossfade" / "migrations.json"
    registry.parent.mkdir(parents=True, exist_ok=True)
    lines = json.loads(registry.read_text())["migrations"] if registry.exists() else []
    first = [
        {"migration": f"{at:012}", "source": "file:///a", "target": place, "store": place} for at, place in enumerate(places)
    ]
    registry.write_text(json.dumps({"version": 1, "migrations": first + lines}))


@pytest.mark.parametrize(("place", "code"), [(AWAY, "CF203"), ("{url}_none", "CF201")], ids=["no server", "no schema"])
def test_no_list_is_empty_because_the_only_place_to_look_is_away(person: Person, database: Database, place: str, code: str):
    """The one that is named, the one of the environment, and the one in this user's list: nobody knows what is there."""
    place = place.format(url=database.url)
    for options in ((), ("--json",)):
        refused(person.types("list", *options, "--store", place), code, 2)
        refused(person.types("list", *options, CROSSFADE_STORE=place), code, 2)
    known(person, place)
    for options in ((), ("--json",)):
        refused(person.types("list", *options), code, 2)


CHANGING: dict[str, tuple[str, ...]] = {
    "pause": ("pause",),
    "resume": ("resume",),
    "throttle": ("throttle", "--rate-limit", "5000"),
    "cutover": ("cutover", "--writers-stopped"),
    "rollback": ("rollback",),
    "finish": ("finish",),
    "repair": ("repair",),
    "drift ignore": ("drift", "ignore"),
    "drift take": ("drift", "take"),
    "quarantine replay": ("quarantine", "replay"),
    "quarantine ignore": ("quarantine", "ignore"),
    "validate --repair": ("validate", "--repair"),
}


@pytest.mark.parametrize("verb", CHANGING)
def test_no_verb_changes_what_is_in_sight_while_another_one_may_be_meant(
    person: Person, tiny: Path, database: Database, verb: str
):
    """With both databases up it would have been refused: several are meant. Nothing is written down of the one that is up."""
    person.moves(tiny, database.url)
    known(person, AWAY)
    before = database.all("SELECT * FROM journal"), database.all("SELECT * FROM migrations")
    sentence, hint = refused(person.types(*CHANGING[verb]), "CF104", 1)

    assert sentence == f"which migration is meant cannot be told: {AWAY} could not be looked into"
    assert hint == "name one by its id"
    assert before == (database.all("SELECT * FROM journal"), database.all("SELECT * FROM migrations"))


def test_a_verb_that_looks_passes_over_what_is_away_and_an_id_is_enough_for_one_that_changes(
    person: Person, tiny: Path, database: Database
):
    """What is shown says of itself which one it is."""
    migration = person.asks("start", tiny, database.url, "--once")["migration"]
    known(person, AWAY)
    for words in (("status",), ("audit",), ("drift", "list"), ("validate",)):
        run = person.types(*words)
        assert run.status == 0, run
        assert f"passed over: {AWAY} does not answer" in run.err
    assert person.types("throttle", migration, "--rate-limit", "5000").status == 0


def test_what_is_no_more_is_in_nobody_s_way(person: Person, tiny: Path, database: Database):
    """A directory, a schema or a database that was removed: the list of a user grows old."""
    person.moves(tiny, database.url)
    absent = re.sub(r"^(\w+://[^/]*/)[^?]*", r"\1absent", database.url)
    known(person, "embedded:///gone", f"{database.url}_none", absent)
    run = person.types("throttle", "--rate-limit", "5000")

    assert run.status == 0, run
    assert run.err.count("passed over: ") == 3
