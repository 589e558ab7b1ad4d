"""A small store with hazards, a server of one's own, and somebody at the keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from crossfade.testing import hazard_contents, prodigy
from crossfade.testing.planting import Planter
from support.cluster import Cluster
from support.running import Terminal


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    """A person with a registry of their own."""
    return Terminal(tmp_path / "state")


@pytest.fixture(scope="session")
def small_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All kinds, 300 events, hazards in contents, and one log that takes pages to itself. Not to be changed."""
    root = tmp_path_factory.mktemp("small") / "prodigy"
    prodigy.build(str(root), events=300)
    tree = Planter(str(root))
    for path, body in (planted for table in hazard_contents.TABLES for planted in table()):
        if len(body) < 20_000:
            tree.file(path, body)
    tree.link(b"latest", b"sessions")
    lines = prodigy.event_lines(2_000, 7, 520, job="long")
    tree.file(b"events/prodigy/long/events-20251116_101500.jsonl", lines, mode=0o600)
    tree.settle()
    return root


@pytest.fixture(scope="session")
def one_cluster() -> Iterator[Cluster]:
    """One for all tests."""
    with Cluster() as running:
        yield running


@pytest.fixture
def cluster(one_cluster: Cluster) -> Cluster:
    """A server on TCP that tests may kill; whoever does starts it again. Nobody is left in it.

    What an earlier test cut off may still be in its transaction there, and holds back every change feed of the server.
    """
    others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> %s"
    with one_cluster.connect() as connection:
        connection.execute(others, [connection.info.backend_pid])
    return one_cluster
