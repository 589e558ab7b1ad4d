"""A disk that fills up while somebody follows: it is waited for, the reason is told, and with room it goes on."""

from __future__ import annotations

from pathlib import Path

from support.cluster import Cluster
from support.disks import Ballast, seen_by, small_database, start_on_a_small_disk
from support.following import stopped_at_the_end
from support.running import Terminal, once_each, wait_for
from support.servers import Database
from support.sql_programs import SqlProgram, in_step, new_tree

LINE = b'{"id":"%d","timestamp":"2026-11-23T00:00:00Z","pad":"%s"}\n'


def waits_for_room(said: Path, why: str) -> None:
    """It says so on its terminal."""
    try:
        wait_for(why, lambda: f"waiting: trying again after {why}" in said.read_text(), 60)
    except AssertionError as error:
        raise AssertionError(f"{error}; it said\n{said.read_text()}") from None


def status_says(terminal: Terminal, database: Database, why: str) -> None:
    """And the status on every other, where the database can still be written."""
    status = ("status", "--store", database.url)
    wait_for("the status", lambda: f"trying again after {why}" in terminal.run(*status).out, 30)


def test_a_disk_that_is_full_below_the_files(terminal: Terminal, cluster: Cluster, tmp_path: Path):
    """In the middle of a line that is appended, and of a document; what was begun is not there twice, and nothing is lost."""
    terminal.environment["PGPASSWORD"] = cluster.password
    database, said = cluster.database("full_files"), tmp_path / "said"
    new_tree(database)
    program = SqlProgram(database, seed=6)
    program.work(40)
    disk = tmp_path / "small"
    words = ("start", database.url, disk / "files", "--cpu-max", "100")
    process = start_on_a_small_disk(terminal, disk, "8m", said, *words)
    with stopped_at_the_end(process, said):
        files, ballast = seen_by(process, disk / "files"), Ballast(seen_by(process, disk))
        in_step(files, program)
        follows = f"""SELECT count(*) FROM "{database.location.schema}".journal WHERE event = 'following'"""
        wait_for("the end of its copy", lambda: database.one(follows) == 1, 60)
        ballast.fill()
        for number in range(4):
            program.append("events/a/j/events-1.jsonl", LINE % (number, b"x" * 100_000))
            program.put(f"sessions/large-{number}.json", b'{"id":"%s"}' % (b"y" * 100_000))
        waits_for_room(said, "OSError 28: No space left on device")
        status_says(terminal, database, "OSError 28: No space left on device")
        program.work(20)
        ballast.clear()
        in_step(files, program)


def test_a_disk_that_is_full_below_the_database(terminal: Terminal, cluster: Cluster, tmp_path: Path):
    """The program's files take no notice; what it wrote meanwhile is there once, counted by SQL."""
    terminal.environment["PGPASSWORD"] = cluster.password
    log, said = tmp_path / "live/events/r/j/events-1.jsonl", tmp_path / "said"
    log.parent.mkdir(parents=True)
    log.write_bytes(LINE % (0, b""))
    with small_database(cluster, "48m") as small, said.open("wb") as file:
        database = small.database
        words = ("start", tmp_path / "live", database.url, "--cpu-max", "100")
        process = terminal.popen(*words, stdout=file, stderr=file)
        with stopped_at_the_end(process, said):
            wait_for("following", lambda: "following" in said.read_text(), 60)
            small.fill()
            for number in range(1, 2_001):
                with log.open("ab", 0) as writing:
                    writing.write(LINE % (number, b"x" * 1_500))
            waits_for_room(said, "DiskFull 53100")
            small.clear()
            wait_for("every line", lambda: database.one("SELECT count(*) FROM events") == 2_001, 60)
        with database.connect() as connection:
            assert once_each(connection, database.location.schema, tmp_path / "live") == 2_001
