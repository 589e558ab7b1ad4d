"""A live database is followed: programs write by its functions, and files, or another database, are in step.

Judged by what the programs say they wrote, by the independent comparer, and by SQL.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.running import Terminal, compare, kill_group, wait_for
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


def test_a_follower_of_a_database_that_was_killed_goes_on_from_its_cursor(
    follow: Callable, database: Database, tmp_path: Path
):
    new_tree(database)
    program = SqlProgram(database, seed=3)
    program.work(40)
    target = tmp_path / "files"
    for _ in range(3):
        process = follow(database.url, target, database)
        program.work(120)
        kill_group(process)
        program.work(40)
    process = follow(database.url, target, database)
    in_step(target, program)
    quiet(process)


def drifted(database: Database) -> list[str]:
    """The paths where somebody else has written, by the database's own word."""
    return [path for (path,) in database.all("SELECT path FROM drift WHERE state = 'open'")]


def test_a_log_grows_in_place_and_what_a_stranger_adds_to_it_stays(follow: Callable, database: Database, tmp_path: Path):
    """The same inode, the stranger's line not covered and nothing behind it; it is drift until the stranger takes it back."""
    new_tree(database)
    program = SqlProgram(database, seed=4)
    path, line = "events/a/j/events-1.jsonl", b'{"id":"%d"}\n'
    program.append(path, line % 1)
    program.append("events/a/j/events-2.jsonl", line % 1)
    target = tmp_path / "files"
    process = follow(database.url, target, database)
    in_step(target, program)
    inode = (target / path).stat().st_ino
    for number in range(2, 6):
        program.append(path, line % number)
        in_step(target, program)
    assert (target / path).stat().st_ino == inode

    with (target / path).open("ab") as file:
        file.write(b"a stranger's\n")
    kept = (target / path).read_bytes()
    program.append(path, line % 6)
    program.append("events/a/j/events-2.jsonl", line % 2)
    wait_for("the other log", lambda: (target / "events/a/j/events-2.jsonl").read_bytes() == line % 1 + line % 2)
    wait_for("the drift", lambda: drifted(database) == [path])
    assert (target / path).read_bytes() == kept

    (target / path).write_bytes(b"".join(line % number for number in range(1, 6)))  # the stranger takes it back
    program.append(path, line % 7)
    in_step(target, program)
    wait_for("the end of the drift", lambda: drifted(database) == [])
    quiet(process)


def test_a_directory_goes_with_all_that_is_below_but_not_with_what_is_somebody_elses(
    follow: Callable, database: Database, tmp_path: Path
):
    """More than is brought together, so that it is not empty at first; one that holds a stranger's file is told of, until that goes."""
    new_tree(database)
    program = SqlProgram(database, seed=5)
    program.append("events/a/j/events-1.jsonl", b'{"id":"1"}\n')
    for number in range(800):
        program.put(f"events/big/j/events-{number}.jsonl", b'{"id":"1"}\n')
    program.put("events/theirs/j/events-1.jsonl", b'{"id":"1"}\n')
    target = tmp_path / "files"
    process = follow(database.url, target, database)
    in_step(target, program)
    rogue = target / "events/theirs/j/events-2.jsonl"
    rogue.write_text('{"id":"theirs"}\n')
    wait_for("the drift", lambda: drifted(database) == ["events/theirs/j/events-2.jsonl"])

    gone = [path for path in program.files if not path.startswith("events/a/")]
    with program.sql.transaction():
        for path in (*gone, "events/big/j", "events/big", "events/theirs/j", "events/theirs"):
            program.call("remove", path)
            program.files.pop(path, None)
    wait_for("the directory to go", lambda: not (target / "events/big").exists(), 60)
    theirs = ["events/theirs", "events/theirs/j", "events/theirs/j/events-2.jsonl"]
    wait_for("what stays", lambda: sorted(drifted(database)) == theirs)
    assert rogue.read_text() == '{"id":"theirs"}\n'

    rogue.unlink()
    wait_for("what stayed to go", lambda: not (target / "events/theirs").exists(), 60)
    wait_for("the end of the drift", lambda: drifted(database) == [])
    in_step(target, program)
    assert not database.all("SELECT path FROM quarantine")
    quiet(process)
