"""What whoever asks for a hand-over is told, and whoever runs the migration ends with."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest

from crossfade.migrate.decide import Task
from crossfade.migrate.follow import hints
from crossfade.migrate.follow.sweep import Sweep
from crossfade.store.backends.file.gate import Gate
from crossfade.store.backends.postgres import feed
from support.following import following
from support.person import Person, bad, refused
from support.running import Run, Terminal, finish, kill_group, meanwhile, wait_for
from support.servers import Database


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    return Terminal(tmp_path / "state")


@pytest.fixture
def person(tmp_path: Path) -> Person:
    return Person(tmp_path / "state")


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
    person: Person, runner: subprocess.Popen[bytes], root: Path, database: Database
):
    assert person.types("cutover", root, database.url, "--writers-stopped").status == 0
    done = person.types("finish", root, database.url)
    assert done.status == 0, done

    ended = finish(runner, 30)
    assert ended.status == 0, ended
    assert "finished" in ended.err
    assert "give the same command again" not in ended.err


def test_where_other_hosts_may_write_all_files_are_looked_at_whoever_hands_over(
    person: Person, root: Path, database: Database, monkeypatch: pytest.MonkeyPatch
):
    """Of what they write nothing is told: before a cut-over it is to be brought, before a roll back it is drift. How long that takes is
    found out before anybody waits for it.
    """
    looked: list[str] = []
    noted(monkeypatch, looked)
    monkeypatch.setattr(hints, "shared_with_others", lambda root, moves: "nfs4")
    person.moves(root, database.url)
    for verb in ("cutover", "rollback"):
        done = person.types(verb, root, database.url, "--writers-stopped", "--hold-max", "10s")
        assert (done.status, looked) == (0, ["looked", "closed", "looked"]), done
        looked.clear()


def test_writers_do_not_wait_for_a_look_at_everything_that_takes_too_long(
    person: Person, root: Path, database: Database, monkeypatch: pytest.MonkeyPatch
):
    """It would be in vain, and be tried again and again."""
    looked: list[str] = []
    noted(monkeypatch, looked, seconds=0.6)
    monkeypatch.setattr(hints, "shared_with_others", lambda root, moves: "nfs4")
    person.moves(root, database.url)
    verb = ("cutover", root, database.url, "--writers-stopped", "--hold-max", "0.5s", "--timeout", "3s")
    sentence, _ = refused(person.types(*verb), "CF709", 7)

    assert "all of the tree has to be looked at once more" in sentence
    assert set(looked) == {"looked"}


def noted(monkeypatch: pytest.MonkeyPatch, looked: list[str], seconds: float = 0.0) -> None:
    """Have *looked* say when everything is looked at, which takes *seconds*, and when writers of the files have to wait."""
    whole, closed = Sweep.whole, Gate.closed

    def looking(self: Sweep) -> Iterator[list[Task]]:
        looked.append("looked")
        time.sleep(seconds)
        return whole(self)

    def closing(self: Gate, seconds: float) -> AbstractContextManager[None]:
        looked.append("closed")
        return closed(self, seconds)

    monkeypatch.setattr(Sweep, "whole", looking)
    monkeypatch.setattr(Gate, "closed", closing)


def test_a_supervisor_does_not_follow_again_what_a_person_rolled_back(
    terminal: Terminal, person: Person, runner: subprocess.Popen[bytes], root: Path, database: Database
):
    """``start`` is what a supervisor gives again and again; ``resume`` is a person's word."""
    assert person.types("rollback", root, database.url).status == 0
    ended = finish(runner, 30)
    assert ended.status == 0, ended
    again = terminal.run("start", root, database.url, seconds=30)

    assert again.status == 7, again
    assert "crossfade resume" in again.err
    assert phase(database) == "rolled-back"
    resumed = terminal.popen("resume", root, database.url)
    wait_for("following", lambda: phase(database) == "following", 60)
    resumed.send_signal(signal.SIGTERM)
    done = finish(resumed, 30)
    assert done.status == 0, done


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_order_that_nobody_waits_for_is_taken_back(
    terminal: Terminal, runner: subprocess.Popen[bytes], root: Path, database: Database, number: signal.Signals
):
    """Its runner stands still, and would carry it out when it wakes. A terminal that is closed waits no more than one in which
    somebody pressed Ctrl-C.
    """
    os.kill(runner.pid, signal.SIGSTOP)
    asked = terminal.popen("cutover", root, database.url, "--writers-stopped")
    wait_for("an order", lambda: ordered(database))
    asked.send_signal(number)
    done = finish(asked, 30)
    os.kill(runner.pid, signal.SIGCONT)

    assert done.status == 6, done
    assert "taken back, and nothing was handed over" in done.err
    assert "journal head" in done.err
    assert ordered(database) is None
    runner.send_signal(signal.SIGTERM)
    assert finish(runner, 30).status == 0
    assert database.all("SELECT authority FROM routes") == [("elsewhere",)]


def test_an_order_is_waited_for_while_the_server_is_away(
    terminal: Terminal, runner: subprocess.Popen[bytes], root: Path, database: Database
):
    """A restart, or a connection that breaks: its runner goes on, and so does whoever waits."""
    os.kill(runner.pid, signal.SIGSTOP)
    asked = terminal.popen("cutover", root, database.url, "--writers-stopped")
    wait_for("an order", lambda: ordered(database))
    database.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'crossfade ledger'")
    time.sleep(0.5)
    os.kill(runner.pid, signal.SIGCONT)
    done = finish(asked, 60)

    assert done.status == 0, done
    assert "waiting: the server does not answer" in done.err
    assert database.all("SELECT authority FROM routes") == [("here",)]


def test_an_order_is_not_begun_when_nobody_waits_for_it_any_more(
    terminal: Terminal, runner: subprocess.Popen[bytes], root: Path, database: Database
):
    """Whoever gave it is gone, and could not take it back; its runner hears of it an hour later."""
    os.kill(runner.pid, signal.SIGSTOP)
    asked = terminal.popen("cutover", root, database.url, "--writers-stopped")
    wait_for("an order", lambda: ordered(database))
    kill_group(asked)
    late = "UPDATE journal SET at = at - interval '1 hour' WHERE event = 'wished'"
    database.run("ALTER TABLE journal DISABLE TRIGGER USER", late, "ALTER TABLE journal ENABLE TRIGGER USER")
    os.kill(runner.pid, signal.SIGCONT)
    wait_for("a word", lambda: database.one("SELECT count(*) FROM journal WHERE event = 'hand-over refused'"))

    assert "its time was over" in str(database.one("SELECT reason FROM journal WHERE event = 'hand-over refused'"))
    assert ordered(database) is None
    assert database.all("SELECT authority FROM routes") == [("elsewhere",)]


def test_a_runner_that_is_at_it_lets_go_of_an_order_that_is_taken_back(
    terminal: Terminal, person: Person, runner: subprocess.Popen[bytes], root: Path, database: Database
):
    """A writer of the files holds on to its write, so that it is tried again and again."""
    with Gate(bytes(root)).entered():
        asked = terminal.popen("cutover", root, database.url, "--writers-stopped", "--hold-max", "100ms")
        wait_for("a try", lambda: database.one("SELECT count(*) FROM journal WHERE event = 'hand-over put off'"))
        asked.send_signal(signal.SIGINT)
        done = finish(asked, 30)
    assert done.status == 6, done
    assert "nothing was handed over" in done.err
    (refused,) = database.all("SELECT reason FROM journal WHERE event = 'hand-over refused'")
    assert "taken back" in refused[0]
    assert database.all("SELECT authority FROM routes") == [("elsewhere",)]
    assert person.types("cutover", root, database.url, "--writers-stopped").status == 0


def test_a_decision_whose_runner_died_is_told_as_one(terminal: Terminal, person: Person, root: Path, database: Database):
    """The authority has changed hands, whoever completes the rest; nobody waits for long."""
    runner = terminal.popen(
        "start", root, database.url, "--cpu-max", "100", environment={"CROSSFADE_FAILPOINT": "postgres.decision:after"}
    )
    try:
        has_arrived = "SELECT count(*) FROM journal WHERE event = 'following'"
        table = f"{database.location.schema}.journal"
        wait_for("a follower", lambda: database.one("SELECT to_regclass(%s)", table) and database.one(has_arrived), 60)
        done = person.types("cutover", root, database.url, "--writers-stopped")
    finally:
        kill_group(runner)

    assert runner.returncode == -signal.SIGKILL
    assert done.status == 0, done
    assert "is cut over" in done.out
    assert "crossfade resume" in done.out
    assert done.seconds < 15


def not_allowed(_gate: Gate) -> None:
    raise PermissionError(errno.EACCES, "Permission denied")


def test_doctor_finds_nothing_wrong_where_it_cannot_see_the_files(
    person: Person, root: Path, database: Database, monkeypatch: pytest.MonkeyPatch
):
    """On another host, and as another account; what is healthy stays so."""
    assert person.types("start", "--once", root, database.url).status == 0
    assert person.types("cutover", root, database.url, "--writers-stopped").status == 0
    ours = root.with_name("live.crossfade")

    with monkeypatch.context() as patch:
        patch.setattr(Gate, "read", not_allowed)
        hidden = person.types("doctor", "--store", database.url)
    ours.rename(root.with_name("away.crossfade"))
    missing = person.types("doctor", "--store", database.url)
    root.rename(root.with_name("away"))
    elsewhere = person.types("doctor", "--store", database.url)

    assert not bad(hidden), hidden
    assert "cannot be seen from here (Permission denied)" in hidden.out
    assert missing.status == 2, missing
    assert not bad(elsewhere), elsewhere


def test_doctor_says_nothing_of_a_finished_migration_whose_tree_moved_on(
    person: Person, root: Path, database: Database, tmp_path: Path
):
    """The files of the first say what was true when it ended, and nobody reads it there; another migration has the tree since."""
    person.moves(root, database.url)
    for verb in ("cutover", "finish"):
        done = person.types(verb, root, database.url, *(["--writers-stopped"] if verb == "cutover" else []))
        assert done.status == 0, done
    person.moves(database.url, tmp_path / "new home")
    assert person.types("cutover", database.url, tmp_path / "new home").status == 0

    assert database.one("SELECT authority FROM routes") == "elsewhere"
    assert not bad(found := person.types("doctor", "--store", database.url)), found


def test_a_rehearsal_says_what_would_end_and_ends_nothing(person: Person, root: Path, database: Database):
    """``rollback`` before any cut-over has no gates: nothing is brought anywhere. ``finish``, where nobody follows, does so itself."""
    assert person.types("start", "--once", root, database.url).status == 0
    rollback = person.types("rollback", root, database.url, "--dry-run")
    assert person.types("cutover", root, database.url, "--writers-stopped").status == 0
    ended = person.types("finish", root, database.url, "--dry-run")

    assert (rollback.status, ended.status) == (0, 0), (rollback, ended)
    assert "the target keeps what it holds" in rollback.out
    assert "gates" not in rollback.out
    assert "open  nobody follows: this command does" in ended.out
    assert "there is no way back" in ended.out
    assert phase(database) not in ("rolled-back", "finished")


def test_a_rehearsal_of_a_finish_has_its_gates(
    person: Person, runner: subprocess.Popen[bytes], root: Path, database: Database
):
    """Of what its runner last wrote down: a source that is far behind is not retired. What a transaction holds back in the feed is
    looked up past it, and holds neither up.
    """
    assert person.types("cutover", root, database.url, "--writers-stopped").status == 0

    def rehearsal() -> Run:
        return person.types("finish", root, database.url, "--dry-run")

    wait_for("being in step", lambda: rehearsal().status == 0)
    os.killpg(runner.pid, signal.SIGSTOP)
    database.run(
        """UPDATE migrations SET progress = jsonb_set(progress::jsonb, '{lag}', progress::jsonb -> 'lag' || '{"seconds": 60, "entries": 9}')::json"""
    )
    late = rehearsal()
    os.killpg(runner.pid, signal.SIGCONT)
    with database.connect(origin="") as other, database.connect(origin="") as program, other.transaction():
        other.execute("SELECT pg_current_xact_id()")
        program.execute("SELECT put('sessions/s1.json', '{}'::text)")
        wait_for("that it waits", lambda: database.one("SELECT progress #>> '{lag,unread}' FROM migrations") == "1")
        time.sleep(8)  # five would be borne
        ready = rehearsal()
        ended = person.types("finish", root, database.url)

    assert late.status == 7, late
    assert "SHUT  behind by 60.0 s and 9 paths (limit 5 s)" in late.out
    assert "or raise --timeout" in late.out
    assert ready.status == 0, ready
    assert "open  all of it was looked at" in ready.out
    assert "open  behind by " in ready.out
    assert "there is no way back" in ready.out
    assert ended.status == 0, ended
    assert (root / "sessions/s1.json").read_text() == "{}"


def test_whoever_is_further_behind_than_was_said_hands_nothing_over(
    person: Person, runner: subprocess.Popen[bytes], root: Path, database: Database
):
    """The limit is that of the command line. Writers would wait for the rest."""
    assert person.types("cutover", root, database.url, "--writers-stopped").status == 0

    def rehearsal(lag_max: str) -> Run:
        return person.types("rollback", root, database.url, "--lag-max", lag_max, "--dry-run")

    with database.connect(origin="") as other, database.connect(origin="") as program, other.transaction():
        other.execute("SELECT pg_current_xact_id()")
        program.execute("SELECT put('sessions/s1.json', '{}'::text)")
        wait_for("a gate that is shut", lambda: "SHUT  behind by " in rehearsal("500ms").out)
        done = person.types("rollback", root, database.url, "--lag-max", "500ms", "--timeout", "300ms")
        roomy = rehearsal("1h")

    sentence, hint = refused(done, "CF709", 7)
    assert re.fullmatch(r"behind by \d+\.\d s and \d+ paths \(limit 0\.5 s\); nothing was handed over", sentence), sentence
    assert "or raise --lag-max" in hint
    assert "open  behind by " in roomy.out
    assert "(limit 3600 s)" in roomy.out
    assert database.all("SELECT authority FROM routes") == [("here",)]


def test_a_rehearsal_goes_by_the_budget_of_the_run(terminal: Terminal, person: Person, root: Path, database: Database):
    """Which may allow less than is usual, or more."""
    process = following(terminal, root, database, "--error-budget", "0")
    try:
        database.run(
            "INSERT INTO quarantine (migration_id, path, key, kind, size, code, state)"
            " SELECT migration_id, 'x', 'x', 'sessions', 1, 'name-collides', 'held' FROM migrations"
        )
        done = person.types("cutover", root, database.url, "--writers-stopped", "--dry-run")
    finally:
        kill_group(process)
    assert done.status == 7, done
    assert "SHUT  1 items in quarantine" in done.out


DENIES = """
import os
opened = os.open
def denied(path, *rest, **options):
    if os.fsencode(path).endswith(b"secret.json"):
        raise PermissionError(13, "Permission denied")
    return opened(path, *rest, **options)
os.open = denied
from crossfade.console.main import run
run()
"""
"""A follower that may not read everything: root may, whatever the mode."""


def test_a_file_that_cannot_be_read_is_named_at_once(person: Person, root: Path, database: Database):
    """It stays out of step for ever: more time, or a larger lag, would not help."""
    words = [sys.executable, "-c", DENIES, "start", str(root), database.url, "--cpu-max", "100"]
    process = subprocess.Popen(words, env={**os.environ, "XDG_STATE_HOME": str(person.home)}, start_new_session=True)
    table = f"{database.location.schema}.migrations"
    try:
        is_there = lambda: database.one("SELECT to_regclass(%s)", table) and phase(database) == "following"  # noqa: E731
        wait_for("a follower", is_there, 60)
        (root / "sessions/secret.json").write_bytes(b"{}")
        wait_for(
            "it to be out of step", lambda: database.one("SELECT max(progress #>> '{lag,entries}') FROM migrations") == "1"
        )
        wait_for(
            "a rehearsal to name it",
            lambda: "SHUT  cannot be read: sessions/secret.json" in rehearsed(person, root, database),
        )
        done = person.types("cutover", root, database.url, "--writers-stopped", "--lag-max", "1h")
    finally:
        kill_group(process)
    assert done.status == 7, done
    assert "sessions/secret.json (Permission denied)" in done.err


def test_what_a_crash_left_of_a_paused_migration_is_repaired(person: Person, root: Path, database: Database):
    """As doctor says; the pause goes on."""
    assert person.types("start", "--once", root, database.url).status == 0
    assert person.types("cutover", root, database.url, "--writers-stopped").status == 0
    gate = Gate(bytes(root))
    marker = gate.read()
    assert marker is not None
    gate.write(replace(marker, authority={"": "undecided"}))
    assert person.types("pause", root, database.url).status == 0
    assert "crossfade repair" in person.types("doctor", "--store", database.url).out

    done = person.types("repair", root, database.url)
    assert done.status == 0, done
    mended = gate.read()
    assert mended is not None
    assert replace(mended, runner=marker.runner) == marker
    assert "paused" in person.types("status", root, database.url).out


MAPPED = """
import mmap, sys
with open(sys.argv[1], "r+b") as file:
    mapped = mmap.mmap(file.fileno(), 0)
print("open", flush=True)
sys.stdin.readline()
mapped[-4:-2] = b"??"
mapped.flush()
sys.stdin.readline()
"""


def test_files_are_not_still_where_the_look_at_everything_finds_a_change(
    terminal: Terminal, runner: subprocess.Popen[bytes], root: Path, database: Database
):
    """A memory map, as a network file system, tells nobody of what is written."""

    def still() -> float:
        return float(database.one("SELECT max((progress #>> '{lag,still_seconds}')::float8) FROM migrations") or 0.0)

    words = [sys.executable, "-c", MAPPED, str(root / "sessions/s1.json")]
    program = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert program.stdout is not None
    assert program.stdout.readline() == b"open\n"
    wait_for("a while", lambda: still() > 8)
    assert program.stdin is not None
    program.stdin.write(b"\n")
    program.stdin.flush()
    arrived = "SELECT count(*) FROM sessions WHERE position('??' IN body::text) > 0"
    wait_for("the change", lambda: database.one(arrived))
    wait_for("its being told", lambda: still() < 8, 20)
    program.communicate()  # that it closes the file is heard


def test_a_verb_that_does_not_fit_is_a_line_in_the_journal(person: Person, root: Path, database: Database):
    """In another phase, or while it is paused; a rehearsal of it is none."""
    assert person.types("start", "--once", root, database.url).status == 0
    query = "SELECT count(*) FROM journal WHERE event = 'refused' AND detail::jsonb ->> 'code' = 'CF708'"
    assert person.types("finish", root, database.url, "--dry-run").status == 7
    assert database.one(query) == 0
    assert person.types("finish", root, database.url).status == 7
    assert database.one(query) == 1
    database.run("UPDATE migrations SET phase = 'interrupted'")
    assert person.types("pause", root, database.url).status == 0
    assert person.types("cutover", root, database.url, "--writers-stopped").status == 7
    assert database.one(query) == 2


def test_a_verb_that_does_not_fit_is_told_the_phase_and_what_does(person: Person, root: Path, database: Database):
    """By the name that status shows, and with the command that leads on."""
    assert person.types("start", "--once", root, database.url).status == 0
    number = database.one("SELECT migration_id FROM migrations")

    def tells(verb: str) -> tuple[str, str]:
        done = person.types(verb, root, database.url)
        assert "journal head" in done.err
        return refused(done, "CF708", 7)

    copied = tells("finish")
    assert (
        copied[0] == f"migration {number} is copied: it was not cut over as a whole; only then is there a source to retire"
    )
    assert copied[1].startswith(f"crossfade cutover {number} --dry-run")
    assert person.types("cutover", root, database.url, "--writers-stopped").status == 0
    again = tells("cutover")
    assert again[0] == f"migration {number} is interrupted: it was cut over already"
    assert again[1].startswith(f"crossfade rollback {number} --dry-run")
    assert person.types("rollback", root, database.url, "--writers-stopped").status == 0
    assert person.types("rollback", root, database.url).status == 0
    back = tells("rollback")
    assert back[0] == f"migration {number} is rolled-back: following has ended already"
    assert back[1].startswith(f"crossfade resume {number}")


def rehearsed(person: Person, root: Path, database: Database) -> str:
    """What a rehearsal of a cut-over says."""
    return person.types("cutover", root, database.url, "--writers-stopped", "--dry-run").out


WEEK_OLD = """
INSERT INTO changes (store_id, entry_id, origin, at)
SELECT store_id, entry_id, 'sql', clock_timestamp() - interval '7 days'
FROM entries, generate_series(1, 20000) WHERE path = 'sessions/s1.json'
"""
"""What programs have written while nobody followed."""


def test_nobody_waits_while_a_finish_reads_what_was_written_in_a_week(
    person: Person, root: Path, database: Database, monkeypatch: pytest.MonkeyPatch
):
    """Without a runner all of it is to be read, and is: beside those who write. They wait for the end of it."""
    assert person.types("start", "--once", root, database.url).status == 0
    assert person.types("cutover", root, database.url, "--writers-stopped").status == 0
    database.run(WEEK_OLD)
    exclude, left, waited = feed._exclude_writers, list[object](), list[float]()

    def excluded(connection: feed.Connection, schema: str) -> None:
        left.append(database.one("SELECT count(*) FROM changes AS c, cursors AS r WHERE (c.xid, c.seq) > (r.xid, r.seq)"))
        exclude(connection, schema)

    def put(number: int) -> None:
        began = time.monotonic()
        program.execute("SELECT put(%s, %s)", ["sessions/s1.json", f'{{"id": "s1", "status": "{number}"}}'])
        waited.append(time.monotonic() - began)

    monkeypatch.setattr(feed, "MOST", 2_000)
    monkeypatch.setattr(feed, "_exclude_writers", excluded)
    with database.connect(origin="") as program, meanwhile(put, 0.02):
        done = person.types("finish", root, database.url)

    assert done.status == 0, done
    assert phase(database) == "finished"
    assert max(waited) < 2.0
    assert 0 <= max(map(int, map(str, left))) <= 2_000
    begun = "SELECT max(seq) FROM journal WHERE event = 'hand-over begun'"
    put_off = f"SELECT reason FROM journal WHERE event = 'hand-over put off' AND seq > ({begun}) ORDER BY seq LIMIT 1"
    assert "not all was looked at since; nothing was handed over" in str(database.one(put_off))
    assert database.one("SELECT count(*) FROM changes") == 0
    assert '"id": "s1", "status": "' in (root / "sessions/s1.json").read_text()


def test_a_finish_waits_for_nobody_who_only_holds_the_feed_back(person: Person, root: Path, database: Database):
    """Somebody's transaction, in any database of the server, may run for hours: what came since is looked up past it."""
    assert person.types("start", "--once", root, database.url).status == 0
    assert person.types("cutover", root, database.url, "--writers-stopped").status == 0
    with database.connect(origin="") as program, database.connect() as report:
        report.autocommit = False
        report.execute("SELECT pg_current_xact_id()")
        program.execute("SELECT put(%s, %s)", ["sessions/s1.json", '{"id": "s1", "status": "late"}'])
        database.run("UPDATE changes SET at = clock_timestamp() - interval '1 hour'")
        done = person.types("finish", root, database.url, "--timeout", "20s")

    assert done.status == 0, done
    assert phase(database) == "finished"
    assert '"status": "late"' in (root / "sessions/s1.json").read_text()
