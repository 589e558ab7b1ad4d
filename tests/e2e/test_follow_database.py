"""A live database is followed: programs write by its functions, and files, or another database, are in step.

Judged by what the programs say they wrote, by the independent comparer, and by SQL.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.running import Terminal, compare, kill_group
from support.servers import NAMES, Database, Servers
from support.sql_programs import SqlProgram, follower, in_step, new_tree, quiet, same_trees


@pytest.fixture
def follow(terminal: Terminal) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts followers that have arrived; whichever still runs at the end is killed."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*words: object) -> subprocess.Popen[bytes]:
        started.append(follower(terminal, *words))  # type: ignore[arg-type]
        return started[-1]

    yield start
    for process in started:
        kill_group(process)
        process.communicate()


@pytest.fixture
def other(servers: Servers) -> Iterator[Database]:
    """A second database, on the same server."""
    with servers.database(NAMES[0]) as made:
        yield made


def test_what_programs_write_by_sql_reaches_the_files(
    follow: Callable, terminal: Terminal, database: Database, tmp_path: Path
):
    """From before the copy, under it, and while following; then it is what a restore brings."""
    new_tree(database)
    program = SqlProgram(database, seed=1)
    program.work(60)
    target = tmp_path / "files"
    process = follow(database.url, target, database)
    for _ in range(3):
        program.work(80)
        in_step(target, program)
    quiet(process)
    back = tmp_path / "back"
    assert terminal.run("start", database.url, back, "--once").status == 0
    compare(target, back)


def test_what_programs_write_by_sql_reaches_another_database(
    follow: Callable, terminal: Terminal, database: Database, other: Database, tmp_path: Path
):
    new_tree(database)
    program = SqlProgram(database, seed=2)
    program.work(60)
    process = follow(database.url, other.url, other)
    for _ in range(3):
        program.work(80)
        same_trees(database, other)
    quiet(process)
    for name, place in (("one", database), ("two", other)):
        assert terminal.run("start", place.url, tmp_path / name, "--once").status == 0
    compare(tmp_path / "one", tmp_path / "two")
    in_step(tmp_path / "two", program)
