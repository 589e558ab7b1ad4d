"""Dying at what only a follower of a database does: to append to a file that is there, and to write down how far the feed is read."""

from __future__ import annotations

import signal
from pathlib import Path

from support.running import Terminal, compare, finish, wait_for
from support.servers import Database
from support.sql_programs import SqlProgram, follower, in_step, new_tree, quiet

PLACES = ("file.append:before", "file.append:after", "feed.cursor:before", "feed.cursor:after")


def test_dying_there_loses_nothing_and_repeats_nothing(terminal: Terminal, database: Database, tmp_path: Path):
    """A program writes all the while; whoever starts next has the files in step, and what is restored is the same."""
    new_tree(database)
    program = SqlProgram(database, seed=5)
    program.work(40)
    target, armed = tmp_path / "files", tmp_path / "armed"
    for place in PLACES:
        dies = {"CROSSFADE_FAILPOINT": f"{place}@2", "CROSSFADE_FAILPOINT_ARMED": str(armed)}
        process = follower(Terminal(terminal.home, dies), database.url, target, database)
        in_step(target, program)
        armed.touch()
        wait_for(place, lambda process=process: program.work(1) or process.poll() is not None, 60)
        armed.unlink()
        died = finish(process)
        assert died.status == -signal.SIGKILL, died
        program.work(10)

    last = follower(terminal, database.url, target, database)
    in_step(target, program)
    quiet(last)
    assert terminal.run("start", database.url, tmp_path / "back", "--once").status == 0
    compare(target, tmp_path / "back")
