"""``crossfade layouts``: what a person sees who writes a layout."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from crossfade.console.commands import layouts
from crossfade.errors import SourceMissing


def _tree(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"")


def test_each_path_is_shown_once_in_order_with_the_rule_that_took_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Writing a layout is trying it: this is the loop. A pruned directory is one line, not a million."""
    _tree(tmp_path, "sessions/b.json", "sessions/a.json", "sessions.txt", "worktrees/r/s/src/main.rs", "resume_locks/x.lock")
    os.symlink("nowhere", tmp_path / "link")
    layouts.test(str(tmp_path), "prodigy", as_json=False)
    output = capsys.readouterr()

    assert output.out.splitlines() == [
        "link               link",
        "dir                resume_locks/",
        "transient          resume_locks/x.lock  <- resume_locks/*.lock",
        "dir                sessions/",
        "sessions           sessions/a.json  <- sessions/**/{id}.json  id=a",
        "sessions           sessions/b.json  <- sessions/**/{id}.json  id=b",
        "other              sessions.txt",
        "dir                worktrees/",
        "dir                worktrees/r/",
        "exclude            worktrees/r/s/  <- worktrees/*/*/**",
    ]
    assert [line.split() for line in output.err.splitlines()] == [
        ["dir", "4"],
        ["exclude", "1"],
        ["link", "1"],
        ["other", "1"],
        ["sessions", "2"],
        ["transient", "1"],
    ]


def test_json_is_one_object_a_path(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """A program may ask too, and the tree may be larger than memory."""
    _tree(tmp_path, "a.json")
    os.mkdir(os.fsencode(tmp_path) + b"/\xff\n")
    layouts.test(str(tmp_path), "generic", as_json=True)

    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [
        {"path": "a.json", "type": "file", "fate": "keep", "kind": "documents", "rule": "**/*.json", "captures": {}},
        {"path": r"\xff\x0a", "type": "dir", "fate": "keep", "kind": None, "rule": None, "captures": {}},
    ]


def test_a_directory_that_is_not_there_is_refused(tmp_path: Path):
    """An empty list would look like a layout that takes nothing."""
    with pytest.raises(SourceMissing, match="missing is no directory"):
        layouts.test(str(tmp_path / "missing"), "generic", as_json=False)


def test_list_and_show(capsys: pytest.CaptureFixture[str]):
    """What show prints is a layout again: something to begin one's own with."""
    layouts.list_layouts(as_json=False)
    layouts.list_layouts(as_json=True)
    plain, described = capsys.readouterr().out.rsplit("\n", 2)[:2]
    layouts.show("generic")

    assert [line.split()[0] for line in plain.splitlines()] == ["generic", "prodigy"]
    assert [layout["name"] for layout in json.loads(described)["layouts"]] == ["generic", "prodigy"]
    assert "[[kind]]" in capsys.readouterr().out
