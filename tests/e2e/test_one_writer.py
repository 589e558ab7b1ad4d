"""Promise 2: one writer to a tree, however its database is spelled."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crossfade.store.backends.postgres.leases import _started
from support.following import following
from support.person import Person
from support.running import Terminal, finish, kill_group, wait_for
from support.servers import Database


def spelled_otherwise(database: Database) -> str:
    """The same database, by another URL."""
    return database.url + ("&" if "?" in database.url else "?") + "connect_timeout=9"


@pytest.fixture
def living() -> Iterator[subprocess.Popen[bytes]]:
    """A process that is there, for a lease to name."""
    process = subprocess.Popen(["sleep", "60"])
    yield process
    process.kill()
    process.wait()


def test_another_spelling_of_the_target_is_no_way_past_a_runner(person, tiny: Path, database, living) -> None:
    """Two runners with a lease each would both fill the tree, and before its indexes exist nothing else would notice."""
    assert person.types("start", tiny, database.url, "--once").status == 0
    lease = f"pid = {living.pid}, started = '{_started(living.pid)}', expires_at = clock_timestamp() + interval '60 s'"
    database.run(f"UPDATE leases SET {lease}")
    other = spelled_otherwise(database)

    refused = person.types("start", tiny, other, "--once")
    database.run("UPDATE leases SET expires_at = 'epoch'")

    assert refused.status == 5, refused
    assert f"process {living.pid} " in refused.err
    assert person.types("start", tiny, other, "--once").status == 0


@pytest.fixture
def runner(terminal: Terminal, tiny: Path, database: Database) -> Iterator[Any]:
    """A follower that has arrived, and is gone at the end."""
    process = following(terminal, tiny, database)
    yield process
    kill_group(process)


def test_nor_past_one_whose_lease_only_a_clock_ended(person: Person, tiny: Path, database: Database, runner: Any):
    """It is watched whether it is renewed, as it is for the same spelling."""
    database.run("UPDATE leases SET expires_at = expires_at - interval '1 hour'")
    done = person.types("start", tiny, spelled_otherwise(database), "--once")

    assert done.status == 5, done
    assert f"process {runner.pid} " in done.err
    assert "error[CF501]" in done.err


def test_one_that_slept_meanwhile_writes_nothing_any_more(person: Person, tiny: Path, database: Database, runner: Any):
    """Its own lease is over, so that another spelling gets in; and when it wakes, it finds that it was replaced."""
    os.killpg(runner.pid, signal.SIGSTOP)
    database.run("UPDATE leases SET expires_at = 'epoch'")
    done = person.types("start", tiny, spelled_otherwise(database), "--once")
    assert done.status == 0, done
    (tiny / "late.json").write_bytes(b"{}")
    os.killpg(runner.pid, signal.SIGCONT)
    ended = finish(runner, 30)

    assert ended.status == 7, ended
    assert "error[CF705]" in ended.err
    assert database.one("SELECT count(*) FROM entries WHERE path = 'late.json'") == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_waits_for_a_runner_that_may_be_gone_says_so_and_may_stop(
    terminal: Terminal, person: Person, tiny: Path, database: Database, tmp_path: Path, number: signal.Signals
):
    """On another host nobody sees whether it lives: its lease is waited for."""
    assert person.types("start", tiny, database.url, "--once").status == 0
    gone = "host = 'elsewhere', pid = 4711, expires_at = clock_timestamp() - interval '1 s'"
    database.run(f"UPDATE leases SET {gone}")
    said, epoch = tmp_path / "said", database.one("SELECT epoch FROM leases")
    with said.open("wb") as talk:
        process = terminal.popen("start", tiny, database.url, "--once", stderr=talk)
        try:
            wait_for("a word", lambda: b"waiting: process 4711 on elsewhere ran migration" in said.read_bytes(), 60)
            process.send_signal(number)
            done = finish(process, 30)
        finally:
            kill_group(process)

    assert done.status == 6, said.read_text()
    assert "error[CF601]: stopped while it waited for another runner" in said.read_text()
    assert database.one("SELECT epoch FROM leases") == epoch
