"""Promise 2: one writer to a tree, however its database is spelled."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from crossfade.store.backends.postgres import leases
from crossfade.store.backends.postgres.leases import _started
from support.following import following
from support.person import Person, bad
from support.running import Run, Terminal, finish, kill_group, wait_for
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


def test_a_runner_that_the_system_hides_is_not_taken_for_dead(
    person: Person, tiny: Path, database: Database, living: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
):
    """Of another account, where /proc is mounted with hidepid or a service has ProtectProc=invisible: it lives, though nobody sees it."""
    assert person.types("start", tiny, database.url, "--once").status == 0
    lease = f"pid = {living.pid}, started = '{_started(living.pid)}', expires_at = clock_timestamp() + interval '60 s'"
    database.run(f"UPDATE leases SET {lease}")
    told = leases._told

    def hidden(pid: int) -> str:
        if pid == living.pid:
            raise FileNotFoundError
        return told(pid)

    monkeypatch.setattr(leases, "_told", hidden)
    refused = person.types("start", tiny, database.url, "--once")
    assert (refused.status, f"process {living.pid} " in refused.err) == (5, True), refused
    living.kill()
    living.wait()
    assert person.types("start", tiny, database.url, "--once").status == 0


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


@pytest.mark.parametrize(
    ("verb", "option", "number"),
    [("start", "--once", signal.SIGINT), ("start", "--once", signal.SIGTERM), ("validate", "--repair", signal.SIGINT)],
)
def test_who_waits_for_a_runner_that_may_be_gone_says_so_and_may_stop(
    terminal: Terminal,
    person: Person,
    tiny: Path,
    database: Database,
    tmp_path: Path,
    verb: str,
    option: str,
    number: signal.Signals,
):
    """On another host nobody sees whether it lives: its lease is waited for."""
    assert person.types("start", tiny, database.url, "--once").status == 0
    (tiny / "sessions/new.json").write_text("{}")
    gone = "host = 'elsewhere', pid = 4711, expires_at = clock_timestamp() - interval '1 s'"
    database.run(f"UPDATE leases SET {gone}")
    said, epoch = tmp_path / "said", database.one("SELECT epoch FROM leases")
    with said.open("wb") as talk:
        process = terminal.popen(verb, tiny, database.url, option, stderr=talk)
        try:
            wait_for("a word", lambda: b"waiting: process 4711 on elsewhere ran migration" in said.read_bytes(), 60)
            process.send_signal(number)
            done = finish(process, 30)
        finally:
            kill_group(process)

    assert done.status == 6, said.read_text()
    assert "error[CF601]: stopped while it waited for another runner" in said.read_text()
    assert database.one("SELECT epoch FROM leases") == epoch


ORDERED = ("--writers-stopped", "--hold-max", "5s")


class Late:
    """A runner that has looked at its migration, and gets the lease when somebody else had it meanwhile."""

    def __init__(self, terminal: Terminal, words: tuple[object, ...], place: str) -> None:
        asleep = {"CROSSFADE_FAILPOINT": place, "CROSSFADE_FAILPOINT_SIGNAL": "SIGSTOP"}
        self.process = terminal.popen(*words, environment=asleep)
        stat = Path(f"/proc/{self.process.pid}/stat")
        wait_for("a runner that waits", lambda: stat.read_bytes().rpartition(b")")[2].split()[0] == b"T", 60)

    def gets_it(self) -> None:
        os.killpg(self.process.pid, signal.SIGCONT)

    def ends(self) -> Run:
        """How it ends, once it gets the lease."""
        self.gets_it()
        return finish(self.process, 60)


@contextmanager
def late(terminal: Terminal, *words: object, place: str = "postgres.claim:before") -> Iterator[Late]:
    runner = Late(terminal, words, place)
    try:
        yield runner
    finally:
        kill_group(runner.process)


def does(person: Person, *words: object) -> None:
    done = person.types(*words)
    assert done.status == 0, done


def test_a_runner_that_waited_follows_the_way_round_that_the_other_one_has_left(
    terminal: Terminal, person: Person, tiny: Path, database: Database
):
    """A sidecar comes up while somebody cuts over: what it looked at before it had the lease says that the files decide."""
    does(person, "start", tiny, database.url, "--once")
    with late(terminal, "start", tiny, database.url, "--cpu-max", "100") as runner:
        does(person, "cutover", tiny, database.url, *ORDERED)
        runner.gets_it()
        with database.connect(origin="") as program:
            program.execute("SELECT put(%s, %s)", ["sessions/late.json", '{"id": "late"}'])
        wait_for("what the database got", (tiny / "sessions/late.json").exists, 60)
        (tiny / "sessions/one.json").write_text('{"id": "rogue"}')
        wait_for("drift", lambda: database.one("SELECT count(*) FROM drift WHERE path = 'sessions/one.json'") == 1, 60)
        runner.process.terminate()
        done = finish(runner.process, 60)

    assert done.status == 0, done
    assert database.one("SELECT reversed FROM migrations") is True
    assert database.one("SELECT count(*) FROM sessions WHERE body ->> 'id' = 'rogue'") == 0


def test_nor_does_it_follow_what_the_other_one_has_ended(terminal: Terminal, person: Person, tiny: Path, database: Database):
    does(person, "start", tiny, database.url, "--once")
    with late(terminal, "start", tiny, database.url) as runner:
        does(person, "rollback", tiny, database.url)
        refused = runner.ends()
    assert refused.status == 7, refused
    assert "was rolled back" in refused.err

    does(person, "start", tiny, database.url, "--once")
    does(person, "cutover", tiny, database.url, *ORDERED)
    with late(terminal, "start", tiny, database.url) as runner:
        does(person, "finish", tiny, database.url)
        refused = runner.ends()
    assert refused.status == 7, refused
    assert "is finished" in refused.err
    assert database.one("SELECT phase FROM migrations") == "finished"
    assert not bad(person.types("doctor", "--store", database.url))


def test_an_order_that_fitted_before_the_lease_was_had_is_asked_about_again(
    terminal: Terminal, person: Person, tiny: Path, database: Database
):
    """Two people cut over; or one rolls back what the other is about to cut over."""
    does(person, "start", tiny, database.url, "--once")
    with late(terminal, "cutover", tiny, database.url, *ORDERED) as runner:
        does(person, "cutover", tiny, database.url, *ORDERED)
        refused = runner.ends()
    assert (refused.status, "cut over already" in refused.err) == (7, True), refused

    does(person, "rollback", tiny, database.url, *ORDERED)
    with late(terminal, "cutover", tiny, database.url, *ORDERED) as runner:
        does(person, "rollback", tiny, database.url)
        refused = runner.ends()
    assert (refused.status, "is rolled-back by now" in refused.err) == (7, True), refused
    assert database.one("SELECT phase FROM migrations") == "rolled-back"


def test_kinds_that_the_other_one_has_added_stay(terminal: Terminal, person: Person, tiny: Path, database: Database):
    does(person, "start", tiny, database.url, "--once", "--only", "sessions")
    with late(terminal, "start", tiny, database.url, "--once", "--workers", "1") as runner:
        does(person, "start", tiny, database.url, "--once", "--add", "events")
        done = runner.ends()

    assert done.status == 0, done
    assert database.one("SELECT kinds::text FROM migrations") == '["events", "sessions"]'
    assert database.one("SELECT count(*) FROM events") == 2


def test_a_restore_that_waited_brings_nothing_back_over_a_cut_over(
    terminal: Terminal, person: Person, tiny: Path, database: Database
):
    does(person, "start", tiny, database.url, "--once")
    with late(terminal, "restore", database.url, tiny, "--workers", "1") as runner:
        does(person, "cutover", tiny, database.url, *ORDERED)
        refused = runner.ends()

    assert refused.status == 7, refused
    assert "was cut over" in refused.err


def test_a_first_copy_that_waited_for_another_one_goes_on_as_that_has_left_it(
    terminal: Terminal, person: Person, tiny: Path, database: Database
):
    """When it looked, there was no migration at all; only the tree is made already."""
    with late(terminal, "start", tiny, database.url, "--once", "--workers", "1", place="postgres.claim:before@2") as runner:
        does(person, "start", tiny, database.url, "--once")
        does(person, "cutover", tiny, database.url, *ORDERED)
        refused = runner.ends()

    assert refused.status == 7, refused
    assert "was cut over" in refused.err
