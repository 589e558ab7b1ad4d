"""A layout's rules as plain expressions say of every path what the layout says."""

from __future__ import annotations

import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfade.model import layouts
from crossfade.model.layouts import Layout
from crossfade.model.portable import portable
from crossfade.testing import prodigy

OWN = """
under = ["", "**/.app", "homes/*"]
[[exclude]]
match = ["cache/**", "logs/*/**", "**/old/**"]
keep  = ["cache/index.json", "logs/*/.kept/**"]
[[kind]]
name  = "notes"
form  = "document"
match = ["notes/{book}/{id}.json", "cache/deep/*.json", "**/old/kept.json"]
[[transient]]
match = ["tmp/**", "**/*.lock"]
[[kind]]
name  = "events"
form  = "log"
match = ["**/{day}-{id}.jsonl"]
[[exclude]]
match = ["**/secret", "vault/**"]
"""
LAYOUTS = {name: layouts.load(name) for name in layouts.builtin()} | {"own": layouts.parse(OWN, source="own.toml")}

_WORDS = (
    *(
        "events",
        "notes",
        "cache",
        "logs",
        "old",
        "tmp",
        "vault",
        "secret",
        ".app",
        "homes",
        ".prodigy",
        "worktrees",
        ".metadata",
    ),
    *("a", "b", "one.json", "1-2.jsonl", "x.lock", "kept.json", "index.json", ".kept", "deep", "sessions", "dlq", "locks"),
    *("events-1.jsonl", "x.checkpoint.tmp", ".gitignore", "state.json", "mapreduce", "jobs", "\n", "\udcff", "*"),
)
PATHS = st.lists(st.sampled_from(_WORDS), min_size=1, max_size=6).map(lambda names: os.fsencode("/".join(names)))


def _full(expression: str | None, path: bytes) -> bool:
    return expression is not None and re.compile(expression.encode(), re.DOTALL).fullmatch(path) is not None


def _agrees(layout: Layout, rules: list[dict[str, object]], path: bytes) -> None:
    rest = {"fate": "keep", "kind": "other", "form": "blob"}
    found = next((rule for rule in rules if _full(rule["files"], path)), rest)  # type: ignore[arg-type]
    placed = layout.place(path)
    assert (found["fate"], found["kind"] or "other", found["form"]) == (placed.fate, placed.kind.name, placed.kind.form)

    tree = next((rule for rule in rules if _full(rule["trees"], path)), None)  # type: ignore[arg-type]
    pruned = None if tree is None or _full(tree["unless"], path) else tree["fate"]  # type: ignore[arg-type]
    wanted = layout.prunes(path)
    assert pruned == (wanted.fate if wanted else None)


@pytest.mark.parametrize("name", LAYOUTS)
@given(path=PATHS)
def test_every_path_has_the_same_fate(name: str, path: bytes):
    """As a file, whose kind says where its records end, and as a directory, which is looked into or not."""
    _agrees(LAYOUTS[name], _RULES[name], path)


_RULES = {name: portable(layout) for name, layout in LAYOUTS.items()}


def test_every_path_of_a_real_store_has_the_same_fate(tmp_path):
    """Both generations of Prodigy, and what lies below places that patterns are relative to."""
    prodigy.build(str(tmp_path), events=200)
    base = os.fsencode(tmp_path)
    paths = [os.path.relpath(os.path.join(top, n), base) for top, dirs, names in os.walk(base) for n in (*dirs, *names)]

    assert len(paths) > 100
    for path in paths:
        _agrees(LAYOUTS["prodigy"], _RULES["prodigy"], path)
        _agrees(LAYOUTS["prodigy"], _RULES["prodigy"], b"work/.prodigy/" + path)
