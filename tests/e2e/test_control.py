"""A migration is controlled from anywhere: whoever pauses it, it stands still within a second, and loses and repeats nothing."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import IO, Any

import pytest

from support.person import Person, refused, said
from support.running import Terminal, compare, finish, in_group, kill_group, once_each, wait_for
from support.servers import Database

FELT_SECONDS = 1.0
FELT_SECONDS_MOST = 5.0
ROUNDS = 5
"""How often it is measured how long a change takes: within the first time in the median, as others work on the machine beside us,
and within the second always.
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A live tree."""
    root = tmp_path / "live"
    (root / "events/r/j").mkdir(parents=True)
    (root / "sessions").mkdir()
    (root / "sessions/one.json").write_text('{"id":"one"}')
    return root


class Writer:
    """A program that appends to some logs and rewrites a document, until told to stop."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._write, daemon=True)
        self.lines = 0

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(10)

    def _write(self) -> None:
        while not self._over.is_set():
            log = self._root / f"events/r/j/events-{self.lines % 4}.jsonl"
            with log.open("ab", 0) as file:
                file.write(b'{"id":"%d","pad":"%s"}\n' % (self.lines, b"x" * (self.lines % 300)))
            if self.lines % 10 == 0:
                (self._root / "sessions/one.json").write_text(json.dumps({"id": "one", "n": self.lines}))
            self.lines += 1
            time.sleep(0.001)


def phase(database: Database) -> str:
    """Of the only migration there is."""
    if database.one("SELECT to_regclass(%s)", f"{database.location.schema}.migrations") is None:
        return ""
    return str(database.one("SELECT max(phase) FROM migrations"))


@contextmanager
def following(terminal: Terminal, root: Path, database: Database, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """A follower that has arrived; it is asked to end, and must do so in good order, unless the test has seen to that."""
    process = terminal.popen("start", root, database.url, "--cpu-max", "100", *options)
    try:
        wait_for("a follower", lambda: phase(database) == "following" or process.poll() is not None, 60)
        yield process
        if process.poll() is None:
            process.terminate()
            done = finish(process)
            assert done.status == 0, done
    finally:
        kill_group(process)


def felt_seconds(database: Database, wished: str, done: str) -> list[float]:
    """How long it took each time from a wish to what was wished, by the journal, whose times are the server's."""
    rows = database.all("SELECT event, at FROM journal WHERE event IN (%s, %s) ORDER BY seq", wished, done)
    return [(rows[at + 1][1] - rows[at][1]).total_seconds() for at in range(0, len(rows) - 1, 2)]


def assert_felt(database: Database) -> None:
    """A pause was felt within a second, and so was its end: in the median of the rounds. None took longer than five."""
    felt, back = felt_seconds(database, "pause wished", "paused"), felt_seconds(database, "resume wished", "resumed")
    print(f"paused within {felt} s, going on within {back} s")
    assert len(felt) == len(back) == ROUNDS
    assert max(median(felt), median(back)) < FELT_SECONDS
    assert max(*felt, *back) < FELT_SECONDS_MOST


def size_of(database: Database) -> object:
    """Bytes in the store."""
    return database.one("SELECT sum(size) FROM entries")


def test_a_follower_pauses_and_goes_on_within_a_second(terminal: Terminal, person: Person, root: Path, database: Database):
    """From another process, with a writer at work: it stands still, says who wanted that, and in the end all is there, once."""
    with following(terminal, root, database) as process, Writer(root) as writer:
        for number in range(ROUNDS):
            wait_for("some lines", lambda: writer.lines > 100 * number)  # noqa: B023 - called at once
            paused = person.types("pause", "--store", database.url, "--reason", "a backup")
            state = person.asks("status", "--store", database.url)
            held, wrote = size_of(database), writer.lines
            wait_for("more lines", lambda: writer.lines > wrote + 100)  # noqa: B023
            assert size_of(database) == held, "it moved while paused"
            assert process.poll() is None
            resumed = person.types("resume", "--store", database.url)
            assert (paused.status, resumed.status) == (0, 0), (paused, resumed)
            wait_for("it goes on", lambda: phase(database) == "following" and size_of(database) != held)  # noqa: B023

    assert state["state"] == "paused"
    assert "paused by " in state["reason"]
    assert "a backup" in state["reason"]
    assert f"process {process.pid} on " in state["reason"]
    assert [step["command"] for step in state["next_steps"]] == [f"crossfade resume {state['migration']}"]
    assert_felt(database)
    again = terminal.run("start", "--once", root, database.url)
    assert again.status == 0, again
    with database.connect() as connection:
        once_each(connection, database.location.schema, root)


def test_what_a_follower_is_behind_is_shown_in_time_and_bytes(
    terminal: Terminal, person: Person, root: Path, database: Database
):
    """In the status, for programs and people; and nothing once it is in step."""
    with following(terminal, root, database):
        assert person.types("pause", "--store", database.url).status == 0
        with (root / "events/r/j/events-1.jsonl").open("wb") as log:
            log.write(b'{"id":"x","pad":"%s"}\n' % (b"x" * 1000) * 1100)
        lag = wait_for("the lag in bytes", lambda: behind(person, database, 1 << 20))
        shown = person.types("status", "--store", database.url).out
        assert person.types("resume", "--store", database.url).status == 0
        wait_for("being in step", lambda: is_caught_up(person, database))

    assert lag["bytes"] < 2 << 20
    assert lag["entries"] >= 1
    assert lag["unread"] == 0
    assert lag["seconds"] > 0
    assert re.search(r"^lag  .* s, \d paths? \(1\.\d MiB\) behind$", shown, re.MULTILINE), shown


def lag_of(person: Person, database: Database) -> dict[str, Any] | None:
    """As the status has it; None as long as it has none."""
    return person.asks("status", "--store", database.url)["lag"]


def behind(person: Person, database: Database, size: int) -> dict[str, Any] | None:
    """The lag, once it is so many bytes."""
    lag = lag_of(person, database)
    return lag if lag and lag["bytes"] >= size else None


def is_caught_up(person: Person, database: Database) -> bool:
    """True once nothing is behind."""
    lag = lag_of(person, database)
    return lag is not None and not lag["entries"] and not lag["bytes"]


def test_a_copy_pauses_with_its_workers_and_goes_on_with_them(
    terminal: Terminal, person: Person, long_store: Path, database: Database
):
    """Nobody is ended by it: the processes that copied before copy after, and nothing moves in between. The page in hand is done
    first, without waiting for its turn.
    """
    process = terminal.popen("start", long_store, database.url, "--once", "--workers", 2, "--rate-limit", "2000")
    wait_for("the first events", lambda: is_copying(database) and len(in_group(process.pid)) >= 3, 60)
    for number in range(ROUNDS):
        paused = person.types("pause", "--store", database.url)
        workers, held = in_group(process.pid), size_of(database)
        state = person.asks("status", "--store", database.url)
        again = person.types("pause", "--store", database.url)
        time.sleep(0.3 if number else 1.5)  # at 2,000 records a second, something would have moved
        assert size_of(database) == held
        assert in_group(process.pid) == workers
        resumed = person.types("resume", "--store", database.url)
        wait_for("it goes on", lambda: size_of(database) != held)  # noqa: B023 - called at once
        assert in_group(process.pid) == workers
        assert (paused.status, again.status, resumed.status, state["state"]) == (0, 0, 0, "paused"), (paused, resumed)
    person.types("throttle", "--store", database.url, "--rate-limit", "none")
    done = finish(process)

    assert done.status == 0, done
    assert_felt(database)
    with database.connect() as connection:
        once_each(connection, database.location.schema, long_store)


def test_a_restore_pauses_though_its_phase_stays(terminal: Terminal, person: Person, root: Path, database: Database):
    """Half a tree is no tree, also while nobody moves anything. A second pause is not taken for the first, which is a moment ago.
    The limit is its own: the copy before had none.
    """
    for number in range(60):
        (root / f"events/r/j/events-{number}.jsonl").write_text('{"n": 1}\n' * 50)
    person.moves(root, database.url)
    lost = root.rename(root.with_name("lost"))
    process = terminal.popen("restore", database.url, root, "--workers", 1, "--rate-limit", "500")
    for _ in range(2):
        seen = restored(root)
        wait_for("some files", lambda: restored(root) > seen or process.poll() is not None, 60)  # noqa: B023 - called at once
        paused = person.types("pause", "--store", database.url)
        held = restored(root)
        state = person.asks("status", "--store", database.url)
        time.sleep(0.5)  # at 500 records a second, some more would have come
        assert (paused.status, state["state"], phase(database)) == (0, "paused", "restoring"), paused
        assert paused.seconds < 8, "it was not seen to be paused"
        assert restored(root) == held < 60
        assert person.types("resume", "--store", database.url).status == 0
    done = finish(process)

    assert done.status == 0, done
    compare(lost, root)


def restored(root: Path) -> int:
    """How many logs have come back."""
    return len(list(root.glob("events/r/j/*.jsonl")))


def is_copying(database: Database) -> bool:
    """True once there are some rows, in the middle of a copy."""
    return phase(database) == "copying" and bool(size_of(database))


def test_a_pause_outlives_its_runner(terminal: Terminal, person: Person, root: Path, database: Database):
    """A supervisor that starts it again does not undo it; who resumes it becomes the runner, and has all that was said before."""
    with following(terminal, root, database, "--rate-limit", "5000") as process:
        assert person.types("pause", "--store", database.url, "--reason", "an upgrade").status == 0
        kill_group(process)
    (root / "sessions/two.json").write_text('{"id":"two"}')
    state = person.asks("status", "--store", database.url)
    _, hint = refused(person.types("start", root, database.url), "CF708", 7)
    assert (state["state"], hint) == ("paused", f"crossfade resume {state['migration']}")
    assert "an upgrade; no runner works on it" in state["reason"]
    refused(person.types("start", root, database.url, "--once"), "CF708", 7)
    refused(person.types("cutover", "--store", database.url), "CF708", 7)

    process = terminal.popen("resume", "--store", database.url)
    try:
        wait_for("the rest", lambda: database.one("SELECT count(*) FROM sessions") == 2, 60)
        wait_for("following", lambda: phase(database) == "following")
        assert said(person.types("throttle", "--store", database.url, "--cpu-max", 50, "--json"))["limits"] == {
            "records_per_second": 5000.0,
            "bytes_per_second": 0.0,
            "cpu_max": 50.0,
        }
        process.terminate()
        assert finish(process).status == 0
    finally:
        kill_group(process)


def test_what_does_not_run_is_paused_only_where_it_would_go_on(person: Person, root: Path, database: Database):
    """A copy that is done has nothing to pause; one that was interrupted may be started again by a supervisor."""
    person.moves(root, database.url)
    sentence, _ = refused(person.types("pause", "--store", database.url), "CF708", 7)
    assert "is copied" in sentence
    database.run("UPDATE migrations SET phase = 'interrupted'")
    assert person.types("pause", "--store", database.url).status == 0
    assert person.asks("status", "--store", database.url)["state"] == "paused"
    refused(person.types("start", root, database.url, "--once"), "CF708", 7)
    assert person.types("resume", "--store", database.url).status == 0, "it goes on as it was begun: with --once"
    assert phase(database) == "copied"


def test_a_runner_goes_on_in_the_background(terminal: Terminal, person: Person, root: Path, database: Database):
    """The terminal is free once the lease is taken; a second one is told who holds it; what it says is in its log."""
    begun = terminal.run("start", root, database.url, "--detach", "--json", "--cpu-max", "100")
    assert begun.status == 0, begun
    found = said(begun)
    pid = found["pid"]
    try:
        assert os.getsid(pid) == pid
        assert f"journal head {found['head']}" in begun.err
        known = person.types("audit", found["migration"], "--verify", "--head", found["head"])
        assert known.status == 0, known
        ready = person.types("status", "--wait-for", "ready", "--timeout", "60s", found["migration"])
        assert ready.status == 0, ready
        sentence, _ = refused(person.types("start", root, database.url), "CF501", 5)
        assert f"process {pid} on " in sentence
        assert "following" in Path(found["log"]).read_text()
        assert found["next_steps"][0]["command"] == f"crossfade status {found['migration']} --watch"
    finally:
        os.kill(pid, signal.SIGTERM)
    wait_for("its end", lambda: not in_group(pid))
    assert "stopped" in Path(found["log"]).read_text()
    assert phase(database) == "interrupted"


def test_what_fails_in_the_background_is_told_in_the_foreground(terminal: Terminal, tmp_path: Path, database: Database):
    """With its exit status, as long as the lease is not taken."""
    refused(terminal.run("start", tmp_path / "nowhere", database.url, "--detach"), "CF201", 2)
    terminal.environment["XDG_STATE_HOME"] = str(tmp_path / "file")
    (tmp_path / "file").write_text("")
    refused(terminal.run("start", tmp_path, database.url, "--detach"), "CF103", 1)


def test_watching_ends_by_itself_or_by_ctrl_c(terminal: Terminal, person: Person, root: Path, database: Database):
    """A line a second for a pipe, a picture for a terminal; 0 either way."""
    with following(terminal, root, database):
        watching = terminal.popen("status", "--store", database.url, "--watch")
        assert watching.stdout is not None
        lines = list(until("lag 0.0 s", watching.stdout))
        watching.send_signal(signal.SIGINT)
        assert finish(watching).status == 0
        assert all("  following: " in line or "  ready: in step" in line for line in lines), lines
        assert "lag 0.0 s" in lines[-1], lines
    person.moves(root, database.url)
    shown = on_a_terminal(terminal, "status", "--store", database.url, "--watch")
    assert "state     copied: proven at " in shown
    (line,) = person.types("status", "--store", database.url, "--watch", "--json").out.splitlines()
    assert json.loads(line)["state"] == "copied"


def until(words: str, stream: IO[bytes], most: int = 60) -> Iterator[str]:
    """The lines of *stream* to the second with *words*: whether a follower is that far at the first line is chance."""
    seen = 0
    while seen < 2 and most > 0:
        line = stream.readline().decode()
        seen, most = seen + (words in line), most - 1
        yield line


def on_a_terminal(terminal: Terminal, *words: object) -> str:
    """What a command that ends well shows on a terminal."""
    ours, theirs = pty.openpty()
    process = terminal.popen(*words, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""
    with suppress(OSError):  # EIO is how a terminal ends
        while data := os.read(ours, 1 << 16):
            shown += data
    os.close(ours)
    assert process.wait(30) == 0, shown
    return shown.decode()


def test_waiting_for_a_phase_ends_with_it_or_says_why_not(person: Person, root: Path, database: Database):
    """What was reached for good holds; what never comes is not waited for."""
    refused(person.types("status", "--store", database.url, "--wait-for", "done"), "CF103", 1)
    refused(person.types("status", "--timeout", "5"), "CF103", 1)
    refused(person.types("status", "--wait-for", "ready", "--timeout", "soon"), "CF103", 1)
    person.moves(root, database.url)
    for reached in ("planned", "copying", "copied"):
        assert person.types("status", "--store", database.url, "--wait-for", reached).status == 0
    late = person.types("status", "--store", database.url, "--wait-for", "following", "--timeout", "300ms")
    sentence, _ = refused(late, "CF214", 2)
    assert "was not following within 0.3 s; it is copied: proven at" in sentence
    for phase in ("rolled-back", "braked"):
        database.run(f"UPDATE migrations SET phase = '{phase}'")
        never = person.types("status", "--store", database.url, "--wait-for", "ready", "--timeout", "5s")
        sentence, _ = refused(never, "CF214", 2)
        assert f"is {phase}, and will not be ready by itself" in sentence
    database.run("UPDATE migrations SET phase = 'finished'")
    sentence, _ = refused(person.types("status", "--store", database.url, "--wait-for", "ready"), "CF214", 2)
    assert "is finished, and will never be ready" in sentence
    assert person.types("status", "--store", database.url, "--wait-for", "finished").status == 0
    for verb in ("pause", "resume"):
        refused(person.types(verb, "--store", database.url), "CF708", 7)
    refused(person.types("throttle", "--store", database.url, "--cpu-max", "5"), "CF708", 7)


def test_a_finished_copy_is_brought_up_to_date(person: Person, root: Path, database: Database):
    """And only that: where there is none yet, nothing is begun."""
    refused(person.types("start", root, database.url, "--incremental"), "CF708", 7)
    assert database.one("SELECT to_regclass(%s)", f"{database.location.schema}.migrations") is None
    person.moves(root, database.url)
    (root / "sessions/two.json").write_text('{"id":"two"}')
    done = person.types("start", root, database.url, "--incremental")
    assert done.status == 0, done
    assert database.one("SELECT count(*) FROM sessions") == 2
    database.run("UPDATE migrations SET phase = 'copying', proved_at = NULL, report = NULL")
    sentence, _ = refused(person.types("start", root, database.url, "--incremental"), "CF708", 7)
    assert "its first copy is not finished" in sentence


def test_an_unknown_id_is_told_which_there_are(person: Person, root: Path, database: Database):
    """Those of the database that was named."""
    person.moves(root, database.url)
    (migration,) = database.one("SELECT array_agg(migration_id) FROM migrations")
    for verb in ("status", "pause", "resume", "throttle"):
        words = ["--rate-limit", "5"] if verb == "throttle" else []
        sentence, _ = refused(person.types(verb, "abc", "--store", database.url, *words), "CF104", 1)
        assert migration in sentence
    refused(person.types("throttle", migration), "CF103", 1)


def test_what_follows_in_reverse_pauses_as_well(terminal: Terminal, person: Person, root: Path, database: Database):
    """After a cut-over the files follow: they stand still, nothing is handed over meanwhile, and then they are in step."""
    with following(terminal, root, database):
        cut = terminal.run("cutover", "--store", database.url, "--writers-stopped", "--timeout", "60")
        assert cut.status == 0, cut
        wait_for("following in reverse", lambda: phase(database) == "cut-over")
        assert person.types("pause", "--store", database.url).status == 0
        with database.connect(origin="") as connection:
            connection.execute(f"SELECT {database.location.schema}.put('sessions/two.json', '{{}}')")
        assert person.asks("status", "--store", database.url)["state"] == "paused"
        refused(person.types("rollback", "--store", database.url), "CF708", 7)
        time.sleep(1)  # in which it would have come
        assert not (root / "sessions/two.json").exists()
        assert person.types("resume", "--store", database.url).status == 0
        wait_for("what was written meanwhile", (root / "sessions/two.json").exists)
        assert phase(database) == "cut-over"
