"""One runner at a time: whoever was stopped, and is continued when another has taken over, writes nothing any more."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from support.person import Person, refused
from support.running import Terminal, finish, kill_group, wait_for
from support.servers import Database
from support.sql_programs import SqlProgram, follower, in_step, new_tree, quiet


def test_a_follower_that_was_asleep_writes_no_file_any_more(
    terminal: Terminal, person: Person, database: Database, tmp_path: Path
):
    """Files as the target: nothing but the lease keeps it from writing. The lease lasts for as long as it says, fifteen seconds."""
    new_tree(database)
    program, target = SqlProgram(database, seed=1), tmp_path / "files"
    program.work(30)
    first = follower(terminal, database.url, target, database)
    second = None
    try:
        in_step(target, program)
        began = time.monotonic()
        os.killpg(first.pid, signal.SIGSTOP)
        program.put("sessions/late.json", b'{"id":"late"}')
        sentence, _ = refused(person.types("start", database.url, target), "CF501", 5)
        assert f"process {first.pid} on " in sentence
        wait_for("the end of its lease", lambda: database.one("SELECT expires_at < clock_timestamp() FROM leases"), 30)
        print(f"the lease of a runner that was stopped ended after {time.monotonic() - began:.1f} s")
        second = follower(terminal, database.url, target, database)
        in_step(target, program)

        os.killpg(second.pid, signal.SIGSTOP)
        program.put("sessions/later.json", b'{"id":"later"}')
        os.killpg(first.pid, signal.SIGCONT)
        done = finish(first)
        assert done.status == 7, done
        assert "error[CF705]" in done.err
        assert not (target / "sessions/later.json").exists()
        os.killpg(second.pid, signal.SIGCONT)
        in_step(target, program)
        quiet(second)
    finally:
        for process in filter(None, (first, second)):
            kill_group(process)


def test_a_follower_that_was_asleep_finds_its_next_page_refused(terminal: Terminal, database: Database, tmp_path: Path):
    """A database as the target, whose transactions look at the epoch. Another one takes over at once from the dead."""
    root = tmp_path / "live"
    (root / "sessions").mkdir(parents=True)
    (root / "sessions/one.json").write_text('{"id":"one"}')
    first = follower(terminal, root, database.url, database)
    second = third = None
    try:
        os.killpg(first.pid, signal.SIGSTOP)
        database.run("UPDATE leases SET expires_at = 'epoch'")
        second = follower(terminal, root, database.url, database)
        os.killpg(second.pid, signal.SIGSTOP)
        (root / "sessions/two.json").write_text('{"id":"two"}')
        os.killpg(first.pid, signal.SIGCONT)
        done = finish(first)
        assert done.status == 7, done
        assert "error[CF705]" in done.err
        assert database.one("SELECT count(*) FROM sessions") == 1
        kill_group(second)
        began = time.monotonic()
        third = follower(terminal, root, database.url, database)
        print(f"a dead runner on this machine was replaced within {time.monotonic() - began:.1f} s, start-up included")
        wait_for("the rest", lambda: database.one("SELECT count(*) FROM sessions") == 2)
        quiet(third)
    finally:
        for process in filter(None, (first, second, third)):
            kill_group(process)


@pytest.mark.parametrize("to_files", [False, True])
def test_a_server_whose_clock_jumps_ends_no_lease(
    terminal: Terminal, person: Person, database: Database, tmp_path: Path, to_files: bool
):
    """Whoever wants to take over looks whether it is renewed, by a clock of its own; the one who runs notices nothing."""
    root = tmp_path / "live"
    if to_files:
        new_tree(database)
        SqlProgram(database, seed=1).work(5)
    else:
        (root / "sessions").mkdir(parents=True)
        (root / "sessions/one.json").write_text('{"id":"one"}')
    pair = (database.url, root) if to_files else (root, database.url)
    first = follower(terminal, *pair, database)
    try:
        epoch = database.one("SELECT epoch FROM leases")
        database.run("UPDATE leases SET expires_at = expires_at - interval '1 hour'")  # what an hour forward makes of it
        sentence, _ = refused(person.types("start", *pair), "CF501", 5)
        assert f"process {first.pid} on " in sentence
        assert database.one("SELECT epoch FROM leases") == epoch
        quiet(first)
    finally:
        kill_group(first)
