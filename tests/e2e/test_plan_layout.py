"""``plan`` shows what ``start`` would do: of a tree that is there, with the layout that it was begun with."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.person import Person, refused
from support.servers import Database

LAYOUT = """
name = "notes"

[[exclude]]
match = ["drafts/**"]

[[kind]]
name = "papers"
form = "document"
match = ["**/*.json"]
"""


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """Papers, and a draft that a layout of one's own leaves out."""
    root = tmp_path / "notes"
    (root / "drafts").mkdir(parents=True)
    (root / "one.json").write_text('{"id": "one"}')
    (root / "drafts/two.json").write_text('{"id": "two"}')
    (tmp_path / "notes.toml").write_text(LAYOUT)
    return root


@pytest.mark.parametrize("words", [("plan",), ("start", "--once", "--dry-run")])
def test_a_tree_that_was_begun_with_a_layout_of_its_own_is_planned_with_that(
    words: tuple[str, ...], person: Person, notes: Path, database: Database
):
    """It need not be named again: not to start, and not to plan."""
    pair = (notes, database.url)
    assert person.asks(*words, *pair)["layout"] == "prodigy"
    person.moves(*pair, "--layout", notes.parent / "notes.toml", "--store-name", "papers")

    found = person.asks(*words, *pair, "--store-name", "papers")
    assert found["layout"] == "notes"
    assert [kind["kind"] for kind in found["kinds"]] == ["papers"]
    assert [(item["path"], item["fate"]) for item in found["excluded"]] == [("drafts", "exclude")]
    assert person.asks(*words, *pair)["layout"] == "prodigy", "another tree, which is not there yet"
    assert person.asks(*words, *pair, "--store-name", "papers", "--layout", "generic")["layout"] == "generic"
    assert person.asks(*words, notes, f"{database.url}&store=papers")["layout"] == "notes"


def test_a_kind_is_chosen_out_of_the_tree_s_own_layout(person: Person, notes: Path, database: Database):
    """And one that it has not is refused, with a hint that does not lead to another layout."""
    words = ("plan", notes, database.url, "--only")
    person.moves(notes, database.url, "--layout", notes.parent / "notes.toml", "--only", "papers")

    assert person.types(*words, "papers").status == 0
    sentence, hint = refused(person.types(*words, "sessions"), "CF103", 1)
    assert "papers" in sentence
    assert "layouts show" not in hint
