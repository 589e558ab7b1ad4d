"""``plan`` names what will not come back: owner, holes, extended attributes, hard links, special files."""

from __future__ import annotations

import json
import os
from pathlib import Path


def test_what_is_not_kept_is_said_with_its_path(person, tmp_path: Path) -> None:
    """An operator who learns it from a plan can still do something about it."""
    source = tmp_path / "source"
    source.mkdir()
    for name in ("sparse", "linked", "plain"):
        (source / name).write_bytes(b"x")
    os.truncate(source / "sparse", 1 << 20)
    os.link(source / "linked", source / "again")
    os.mkfifo(source / "pipe")

    done = person.types("plan", source, f"embedded://{tmp_path}/pg", "--json")
    hazards = {hazard["reason"]: hazard["paths"] for hazard in json.loads(done.out)["hazards"]}

    assert hazards["holes, not kept"] == ["sparse"]
    assert hazards["hard link, kept as a file of its own"] == ["again", "linked"]
    assert hazards["special file, not moved"] == ["pipe"]
    assert not [reason for reason in hazards if reason.startswith("owner")]
