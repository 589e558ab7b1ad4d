"""What whoever asks for a hand-over is told, and whoever runs the migration ends with."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.following import following
from support.running import Terminal, finish, kill_group, wait_for
from support.servers import Database


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    return Terminal(tmp_path / "state")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "live"
    (root / "sessions").mkdir(parents=True)
    (root / "sessions/s1.json").write_bytes(b'{"id":"s1","status":"running"}')
    return root


@pytest.fixture
def runner(terminal: Terminal, root: Path, database: Database) -> Iterator[subprocess.Popen[bytes]]:
    """A follower that has arrived, and is gone at the end."""
    process = following(terminal, root, database)
    yield process
    kill_group(process)


def phase(database: Database) -> object:
    return database.one("SELECT max(phase) FROM migrations")


def ordered(database: Database) -> object:
    """The order that stands."""
    return database.one("SELECT max(wanted ->> 'switch') FROM migrations")


def test_a_runner_whose_migration_is_finished_has_done_what_it_was_told(
    terminal: Terminal, runner: subprocess.Popen[bytes], root: Path, database: Database
):
    assert terminal.run("cutover", root, database.url, "--writers-stopped").status == 0
    done = terminal.run("finish", root, database.url)
    assert done.status == 0, done

    ended = finish(runner, 30)
    assert ended.status == 0, ended
    assert "finished" in ended.err
    assert "give the same command again" not in ended.err


def test_a_supervisor_does_not_follow_again_what_a_person_rolled_back(
    terminal: Terminal, runner: subprocess.Popen[bytes], root: Path, database: Database
):
    """``start`` is what a supervisor gives again and again; ``resume`` is a person's word."""
    assert terminal.run("rollback", root, database.url).status == 0
    ended = finish(runner, 30)
    assert ended.status == 0, ended
    again = terminal.run("start", root, database.url, seconds=30)

    assert again.status == 7, again
    assert "crossfade resume" in again.err
    assert phase(database) == "rolled-back"
    resumed = terminal.popen("resume", root, database.url)
    wait_for("following", lambda: phase(database) == "following", 40)
    resumed.send_signal(signal.SIGTERM)
    done = finish(resumed, 30)
    assert done.status == 0, done
