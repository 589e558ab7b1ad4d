"""Somebody who uses crossfade, and stores of theirs: tiny, small, and one that takes a few seconds to copy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from crossfade.testing import prodigy
from crossfade.testing.planting import Planter
from support.cluster import Cluster
from support.person import Person
from support.running import Terminal


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A server on TCP that asks for a password, one that is mangled by whoever puts it into a URL or a log without thought."""
    with Cluster() as running:
        running.changes_password("canary p@ss/word:%?#'\"$")
        yield running


@pytest.fixture
def person(tmp_path: Path) -> Person:
    """Somebody with a registry of their own, in this process."""
    return Person(tmp_path / "state")


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    """The same person, for commands in processes of their own."""
    return Terminal(tmp_path / "state")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """All kinds of both generations, few of each."""
    root = tmp_path / "prodigy"
    prodigy.build(str(root), events=120)
    return root


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """Two kinds, a directory, a link."""
    root = tmp_path / "tiny"
    (root / "sessions").mkdir(parents=True)
    (root / "sessions" / "one.json").write_text('{"id": "one", "status": "Running"}\n')
    log = root / "events" / "repo" / "job-1" / "events-20251116_101500.jsonl"
    log.parent.mkdir(parents=True)
    log.write_text('{"id": 1}\n{"id": 2}\n')
    (root / "latest").symlink_to("sessions/one.json")
    return root


@pytest.fixture(scope="session")
def long_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """About 11 MB, with a log of more than a segment."""
    root = tmp_path_factory.mktemp("long") / "prodigy"
    prodigy.build(str(root), events=2_000)
    tree = Planter(str(root))
    tree.file(b"events/prodigy/long/events-20251116_101500.jsonl", prodigy.event_lines(18_000, 7, 520, job="long"))
    tree.settle()
    return root
