"""What a follower cannot look at for a while, or what left the tree and came back, is not lost on either side."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from support.cluster import Cluster
from support.following import following
from support.powerless import obey_permissions
from support.running import Terminal, finish, kill_group, wait_for
from support.servers import Database

_LOOKED_OVER_SECONDS = 8.0
"""Longer than a small tree is left without a look at everything."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("d/one", "d/two", "e"):
        path = tmp_path / f"tree/sessions/{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('{"n": 1}')
    return tmp_path / "tree"


def follows(process: subprocess.Popen[bytes], one: Callable[[str], object]) -> bool:
    """True once it does; whoever ended before says why."""
    assert process.poll() is None, finish(process)
    return one("SELECT count(*) FROM unseen_branch.journal WHERE event = 'following'") == 1


def test_what_cannot_be_looked_at_is_not_gone_and_nothing_is_handed_over(terminal: Terminal, cluster: Cluster, root: Path):
    """By somebody who is not above permission bits. Once it can be looked at again, all goes on."""
    terminal.environment["PGPASSWORD"] = cluster.password
    hidden, url = root / "sessions/d", cluster.url("unseen_branch")

    def one(query: str) -> object:
        with cluster.connect() as connection:
            row = connection.execute(query).fetchone()
            return row[0] if row else None

    def live() -> object:
        return one("SELECT count(*) FROM unseen_branch.entries WHERE starts_with(path, 'sessions/d/') AND type = 'file'")

    process = terminal.popen("start", root, url, "--cpu-max", "100", preexec_fn=obey_permissions)
    try:
        wait_for("the schema", lambda: one("SELECT to_regclass('unseen_branch.journal')") is not None, 60)
        wait_for("a follower", lambda: follows(process, one), 60)
        hidden.chmod(0)
        os.utime(root / "sessions")
        (root / "sessions/e.json").write_text('{"n": 22}')
        wait_for(
            "what can be read", lambda: one("SELECT size FROM unseen_branch.entries WHERE path = 'sessions/e.json'") == 9, 20
        )
        time.sleep(_LOOKED_OVER_SECONDS)
        assert live() == 2
        refused = terminal.run("cutover", "--store", url, "--writers-stopped", "--timeout", "5")
        assert refused.status == 7, refused
        assert "sessions/d" in refused.err

        hidden.chmod(0o755)
        (hidden / "one.json").unlink()
        wait_for("the removal", lambda: live() == 1, 60)
        wait_for("a hand-over", lambda: terminal.run("cutover", "--store", url, "--writers-stopped").status == 0, 60)
        process.terminate()
        assert finish(process).status == 0
    finally:
        kill_group(process)


def test_a_directory_that_left_the_tree_and_came_back_is_brought_again(terminal: Terminal, root: Path, database: Database):
    """Nothing in it changed meanwhile: its files look just as they did when they were brought the first time."""
    table = f'"{database.location.schema}".entries'
    query = f"SELECT count(*) FROM {table} WHERE starts_with(path, 'sessions/d/') AND type = 'file'"
    process = following(terminal, root, database)
    parked = root.with_name("parked")
    os.rename(root / "sessions/d", parked)
    wait_for("its removal", lambda: database.one(query) == 0, 60)
    os.rename(parked, root / "sessions/d")
    wait_for("its return", lambda: database.one(query) == 2, 60)

    assert terminal.run("drift", "list").status == 0
    process.terminate()
    assert finish(process).status == 0
    assert terminal.run("validate", root, database.url).status == 0
