"""Followers to test with: started, and arrived."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.running import Terminal, finish, kill_group, wait_for
from support.servers import Database


def following(
    terminal: Terminal, source: object, database: Database, *options: str, target: object = None, program: str = ""
) -> subprocess.Popen[bytes]:
    """A follower that has arrived: of *source* in *database*; or of *database*, in *target*. *program* is another main program."""
    table = f"{database.location.schema}.journal"
    query = f"""SELECT count(*) FROM "{database.location.schema}".journal WHERE event = 'following'"""
    arrived = 0 if database.one("SELECT to_regclass(%s)", table) is None else database.one(query)
    pair = (source, database.url) if target is None else (database.url, target)
    process = terminal.popen("start", *pair, "--cpu-max", "100", *options, program=program)

    def has_arrived() -> bool:
        assert process.poll() is None, finish(process)
        return database.one("SELECT to_regclass(%s)", table) is not None and database.one(query) != arrived

    wait_for("a follower", has_arrived, 60)
    return process


@contextmanager
def stopped_at_the_end(process: subprocess.Popen[bytes], said: Path | None = None) -> Iterator[None]:
    """It is to end well when it is told to stop; killed, whatever happens. *said* is what it says, where that goes to a file."""
    try:
        yield
        process.terminate()
        done = finish(process, 60)
        assert done.status == 0, said.read_text()[-4000:] if said else done
    finally:
        kill_group(process)
