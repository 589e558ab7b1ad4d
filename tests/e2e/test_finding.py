"""Which migration is meant, and where it is looked for, while a database is away."""

from __future__ import annotations

import json
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
