"""What can happen to a hand-over in its middle: its runner sleeps, its store hangs, its connection breaks, somebody writes."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from socket import gethostname

import pytest

from crossfade.errors import GateShut
from crossfade.store.backends.file.gate import Gate
from crossfade.store.backends.postgres import route
from crossfade.store.backends.postgres.journal import actor
from crossfade.store.writer import Writer
from support.following import following
from support.person import Person, refused, said, typed
from support.running import Run, Terminal, finish, kill_group, wait_for
from support.servers import NAMES, Database, Servers
from support.sql_programs import connection_of, new_tree

LOG = "events/r/j/events-1.jsonl"
SESSION = "sessions/s1.json"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "live"
    for path, body in ((LOG, b'{"id":"first"}\n'), (SESSION, b'{"id":"s1"}')):
        (root / path).parent.mkdir(parents=True)
        (root / path).write_bytes(body)
    return root


PATIENT = ("--hold-max", "10s")
"""Where tries are counted: a disk that is slow for a moment is no reason for another one."""


class Stage:
    """A pair, the processes that work on it, and what they were told. All are gone at the end."""

    def __init__(self, terminal: Terminal, root: Path, database: Database) -> None:
        self.terminal, self.root, self.database = terminal, root, database
        self.gate = Gate(bytes(root))
        self._held = ExitStack()

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def follower(self, stop_at: str = "", program: str = "") -> subprocess.Popen[bytes]:
        """A follower that has arrived, and sleeps once it comes to that place; *program* is another main program."""
        places = {"CROSSFADE_FAILPOINT": stop_at, "CROSSFADE_FAILPOINT_SIGNAL": "SIGSTOP"} if stop_at else {}
        process = following(Terminal(self.terminal.home, places), self.root, self.database, program=program)
        self._held.callback(kill_group, process)
        return process

    def asks(self, verb: str, *options: str) -> subprocess.Popen[bytes]:
        """Somebody who gives an order, and waits."""
        vouched = () if verb == "finish" else ("--writers-stopped",)
        process = self.terminal.popen(verb, "--store", self.database.url, *vouched, *options)
        self._held.callback(kill_group, process)
        return process

    def does(self, verb: str, *options: str) -> Run:
        """The same, to its end."""
        vouched = () if verb == "finish" else ("--writers-stopped",)
        return typed(self.terminal, verb, "--store", self.database.url, *vouched, *options)

    def takes_over(self) -> subprocess.Popen[bytes]:
        """Another follower, once the lease of the one that sleeps is over."""
        self.database.run("UPDATE leases SET expires_at = 'epoch'")
        return self.follower()

    @property
    def side(self) -> object:
        return self.database.one("SELECT authority FROM routes")

    def write(self, identity: str, patience_seconds: float = 60.0) -> None:
        """A program that writes through crossfade."""
        with Writer(bytes(self.root), self.database.url, patience_seconds=patience_seconds) as writer:
            writer.append(LOG.encode(), b'{"id":"%s"}\n' % identity.encode())

    def has(self, identity: str) -> tuple[bool, bool]:
        """Whether it stands in the files, and in the database."""
        there = self.database.one("SELECT count(*) FROM events WHERE id = %s", identity)
        return identity.encode() in (self.root / LOG).read_bytes(), there == 1


@pytest.fixture
def stage(terminal: Terminal, root: Path, database: Database) -> Iterator[Stage]:
    with Stage(terminal, root, database) as stage:
        yield stage


def asleep(process: subprocess.Popen[bytes]) -> None:
    """Wait until it was stopped."""
    stat = Path(f"/proc/{process.pid}/stat")
    wait_for("a process that sleeps", lambda: stat.read_bytes().rpartition(b")")[2].split()[0] == b"T", 60)


def wakes(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGCONT)


def ends_replaced(process: subprocess.Popen[bytes]) -> None:
    """It wakes, and finds that it is not the runner any more."""
    wakes(process)
    done = finish(process)
    assert done.status == 7, done
    assert "error[CF705]" in done.err


def stops_well(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    done = finish(process, 60)
    assert done.status == 0, done


@pytest.mark.parametrize(
    ("place", "verb", "side", "epoch"),
    [("gate.marker:after@2", "cutover", "database", 2), ("gate.marker:before@3", "rollback", "files", 3)],
)
def test_a_runner_that_slept_through_a_hand_over_leaves_its_marker(
    stage: Stage, place: str, verb: str, side: str, epoch: int
):
    """It knew what to write: back to the files, before it closed the gate; the database, behind its decision. Neither is true by now."""
    first = stage.follower(place)
    stage.asks("cutover", *PATIENT)
    asleep(first)
    second = stage.takes_over()
    done = stage.does(verb)
    assert done.status == 0, done
    ends_replaced(first)

    marker = stage.gate.read()
    assert marker is not None
    assert (marker.side_of(""), marker.epoch) == (side, epoch)
    stops_well(second)  # nobody brings it over while it is looked for
    stage.write("later")
    assert stage.has("later") == ((side == "files"), (side == "database"))
    third = stage.follower()
    wait_for("both sides", lambda: stage.has("later") == (True, True))
    stops_well(third)


def test_a_runner_that_sleeps_while_writers_wait_is_replaced(stage: Stage):
    """A writer gives up when its patience is over; the next runner needs no gate, since the marker sends writers to the database."""
    first = stage.follower("postgres.decision:before")
    stage.asks("cutover")
    asleep(first)
    began = time.monotonic()
    with pytest.raises(GateShut, match="has been changing hands for"):
        stage.write("early", patience_seconds=0.5)
    assert time.monotonic() - began < 5
    second = stage.takes_over()
    ends_replaced(first)

    assert stage.side == "elsewhere"
    marker = stage.gate.read()
    assert marker is not None
    assert marker.side_of("") == "files"
    stage.write("later")
    assert stage.has("later")[0]
    wait_for("the other side", lambda: stage.has("later") == (True, True))
    assert stage.has("early") == (False, False)
    stops_well(second)


def test_a_hand_over_that_somebody_carries_out_is_no_leftover(stage: Stage):
    """To a rehearsal of a repair as little as to the repair, which is refused; and so of a migration that is finished."""

    def both(code: str, status: int) -> str:
        repairs = [typed(stage.terminal, "repair", "--store", stage.database.url, *dry) for dry in ((), ("--dry-run",))]
        first, second = (refused(repair, code, status)[0] for repair in repairs)
        assert first == second
        return first

    runner = stage.follower("gate.marker:after@2")
    asked = stage.asks("cutover", *PATIENT)
    asleep(runner)
    marker = stage.gate.read()
    assert marker is not None
    assert marker.authority == {"": "undecided"}
    assert f"process {runner.pid} on " in both("CF501", 5)
    wakes(runner)
    done = finish(asked)
    assert done.status == 0, done
    done = stage.does("finish")
    assert done.status == 0, done
    done = finish(runner)
    assert done.status == 0, done
    assert "is finished" in both("CF708", 7)


def test_a_runner_that_slept_ends_no_migration_that_another_one_runs(stage: Stage):
    """``finish`` is the only step without return: the other one has rolled back meanwhile."""
    assert typed(stage.terminal, "start", "--once", stage.root, stage.database.url).status == 0
    assert stage.does("cutover").status == 0
    first = stage.follower("postgres.decision:before")
    stage.asks("finish")
    asleep(first)
    second = stage.takes_over()
    done = stage.does("rollback")
    assert done.status == 0, done
    ends_replaced(first)

    assert stage.database.one("SELECT phase FROM migrations") == "following"
    stage.write("later")
    wait_for("the other side", lambda: stage.has("later") == (True, True))
    stops_well(second)


def test_a_store_that_hangs_holds_writers_no_longer_than_was_said(stage: Stage):
    """The drain waits for a table that somebody has locked. Writers of the files go on after --hold-max; it is tried again."""
    follower = stage.follower("gate.marker:after@2")
    asked = stage.asks("cutover", "--hold-max", "1s", "--timeout", "60")
    asleep(follower)
    with connection_of(stage.database) as other:
        other.execute("LOCK TABLE sessions IN ACCESS EXCLUSIVE MODE")
        (stage.root / SESSION).write_bytes(b'{"id":"s1","n":1}')
        wakes(follower)
        wait_for("a gate that is closed", lambda: is_closed(stage.gate))
        began = time.monotonic()
        stage.write("meanwhile")
        waited = time.monotonic() - began
        assert stage.side == "elsewhere"
        other.rollback()
    done = finish(asked)

    assert done.status == 0, done
    assert waited < 5
    assert stage.has("meanwhile") == (True, True)
    assert stage.database.one("SELECT count(*) FROM sessions WHERE body->>'n' = '1'") == 1
    stops_well(follower)


def is_closed(gate: Gate) -> bool:
    try:
        with gate.entered(0.0):
            return False
    except GateShut:
        return True


def test_a_connection_that_breaks_at_the_decision_is_tried_again(stage: Stage):
    """The runner lives on. What is told of the wait is the longest of all tries."""
    follower = stage.follower("postgres.decision:before")
    asked = stage.asks("cutover", "--json", *PATIENT)
    asleep(follower)
    time.sleep(0.5)
    stage.database.run(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'crossfade hand-over'"
    )
    wakes(follower)
    done = finish(asked)

    assert done.status == 0, done
    told = said(done)
    assert told["tries"] == 2
    assert told["hold_ms"] > 500
    put_off = "SELECT count(*) FROM journal WHERE event = 'hand-over put off' AND reason LIKE %s"
    assert stage.database.one(put_off, "it was not possible%") == 1
    assert stage.side == "here"
    stage.write("later")
    wait_for("both sides", lambda: stage.has("later") == (True, True))
    stops_well(follower)


@pytest.mark.parametrize(("verb", "place"), [("cutover", "gate.marker:after@2"), ("finish", "postgres.decision:before")])
def test_an_order_that_is_taken_back_while_its_runner_is_at_it_is_not_carried_out(stage: Stage, verb: str, place: str):
    """It has heard of the order, and hears nothing more before it decides: so it asks then. Another order is heard afterwards."""
    if verb == "finish":
        assert typed(stage.terminal, "start", "--once", stage.root, stage.database.url).status == 0
        assert stage.does("cutover").status == 0
    follower = stage.follower(place)
    asked = stage.asks(verb)
    asleep(follower)
    asked.send_signal(signal.SIGINT)
    done = finish(asked, 30)
    assert done.status == 6, done
    assert "taken back, and nothing was handed over" in done.err
    other = stage.asks("rollback", "--timeout", "30")
    wait_for("another order", lambda: stage.database.one("SELECT wanted #>> '{switch,verb}' FROM migrations") == "rollback")
    wakes(follower)
    done = finish(other)
    assert done.status == 0, done

    (refused,) = stage.database.all("SELECT reason FROM journal WHERE event = 'hand-over refused'")
    assert "taken back" in refused[0]
    assert stage.database.one("SELECT count(*) FROM journal WHERE event = 'handed over'") == (2 if verb == "finish" else 0)
    assert stage.side == "elsewhere"
    finish(follower) if verb == "cutover" else stops_well(follower)


def test_who_takes_an_order_back_waits_for_the_decision_that_is_on_its_way(stage: Stage):
    """And is told that it was carried out."""
    follower = stage.follower("postgres.decision:before")
    asked = stage.asks("cutover", "--hold-max", "20s")
    asleep(follower)
    asked.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        asked.wait(1)
    wakes(follower)
    done = finish(asked, 30)

    assert done.status == 0, done
    assert stage.side == "here"
    assert stage.database.one("SELECT count(*) FROM journal WHERE event = 'hand-over taken back'") == 0
    stops_well(follower)


WAITING = """
SELECT count(*) FROM pg_stat_activity WHERE application_name = 'crossfade ledger' AND wait_event_type = 'Lock'
"""
"""Sessions that wait for somebody else's transaction."""


def test_who_waits_no_more_for_a_decision_on_its_way_is_told_to_look(stage: Stage):
    """A roll back that is carried out meanwhile, and typed once more, would end the migration."""
    assert typed(stage.terminal, "start", "--once", stage.root, stage.database.url).status == 0
    assert stage.does("cutover").status == 0
    follower = stage.follower("postgres.decision:before")
    asked = stage.asks("rollback", "--hold-max", "20s")
    asleep(follower)
    asked.send_signal(signal.SIGINT)
    wait_for("who takes it back, and waits", lambda: stage.database.one(WAITING))
    asked.send_signal(signal.SIGINT)
    done = finish(asked, 30)
    wakes(follower)

    assert done.status == 6, done
    assert "stopped before the order was taken back: it may be carried out yet\n  try: crossfade status " in done.err
    wait_for("the decision", lambda: stage.side == "elsewhere")
    words = shlex.split(done.err.rsplit("\n  try: ", 1)[1])[1:]
    follows = re.compile(r"^state +(following|ready): ", re.MULTILINE)
    wait_for("its end", lambda: follows.search(typed(stage.terminal, *words).out))
    stops_well(follower)


def test_who_ends_a_hand_over_of_ones_own_at_once_is_told_to_look(stage: Stage):
    """Where nobody runs the migration the command does it itself, and may have decided by then."""
    assert typed(stage.terminal, "start", "--once", stage.root, stage.database.url).status == 0
    places = {"CROSSFADE_FAILPOINT": "postgres.decision:before", "CROSSFADE_FAILPOINT_SIGNAL": "SIGSTOP"}
    process = Terminal(stage.terminal.home, places).popen("cutover", stage.root, stage.database.url, "--writers-stopped")
    asleep(process)
    for number in (signal.SIGINT, signal.SIGTERM):
        process.send_signal(number)
    wakes(process)
    done = finish(process, 30)

    assert done.status == 6, done
    assert "stopped at once; every committed position stands\n  try: crossfade status " in done.err


def test_a_marker_that_says_undecided_names_a_side_again(stage: Stage):
    """As it is left where a full disk kept the runner from writing it."""
    follower = stage.follower()
    assert stage.does("cutover").status == 0
    before = stage.gate.read()
    assert before is not None
    stage.gate.write(replace(before, authority={"": "undecided"}))
    wait_for("a side", lambda: stage.gate.read() == before, 60)
    stops_well(follower)


CANNOT_MARK = """
import sys
from crossfade.console.main import run
from crossfade.errors import TargetUnwritable
from crossfade.migrate.handover.far_files import FarFiles
mark, tries = FarFiles.mark, []
def marked(self):
    tries.append(1)
    if len(tries) == 1:
        raise {error}
    mark(self)
FarFiles.mark = marked
run()
"""
"""A follower that once cannot write the marker behind the decision."""


@pytest.mark.parametrize(
    "error", ["TargetUnwritable('the marker cannot be written', hint='mend it')", "OSError(30, 'Read-only file system')"]
)
def test_what_fails_behind_the_decision_does_not_undo_it(stage: Stage, error: str):
    """The order is done, what is left of it is completed, and nobody follows the side that decides no more."""
    follower = stage.follower(program=CANNOT_MARK.format(error=error))
    done = stage.does("cutover", "--json")
    assert done.status == 0, done
    assert list(said(done)["left"]) == ["mark"]
    assert stage.side == "here"
    assert stage.database.one("SELECT reversed FROM migrations")
    (stage.root / SESSION).write_bytes(b'{"id":"s1","n":"by hand"}')
    stage.write("later")
    wait_for("the other side", lambda: stage.has("later") == (True, True))
    marker = stage.gate.read()

    assert marker is not None
    assert marker.side_of("") == "database"
    assert stage.database.one("SELECT count(*) FROM journal WHERE event = 'hand-over refused'") == 0
    assert stage.database.one("SELECT count(*) FROM journal WHERE event = 'completed'") == 1
    assert stage.database.one("SELECT count(*) FROM sessions WHERE body->>'n' = 'by hand'") == 0
    stops_well(follower)


CANNOT_BRING = """
from crossfade.console.main import run
from crossfade.migrate.follow.bring import Bringer
bring, tries = Bringer.bring, []
def brought(self, tasks):
    if self.is_final and not tries:
        tries.append(1)
        raise OSError(28, "No space left on device")
    return bring(self, tasks)
Bringer.bring = brought
run()
"""
"""A follower whose store fails once while writers wait."""


def test_what_could_not_be_brought_in_one_try_is_brought_in_the_next_one(stage: Stage):
    """The file system has told of it, and does not tell of it again."""
    follower = stage.follower("gate.marker:after@2", CANNOT_BRING)
    asked = stage.asks("cutover", "--timeout", "30", "--json", *PATIENT)
    asleep(follower)
    (stage.root / SESSION).write_bytes(b'{"id":"s1","n":"last"}')
    wakes(follower)
    done = finish(asked)

    assert done.status == 0, done
    assert said(done)["tries"] == 2
    assert stage.database.one("SELECT body->>'n' FROM sessions") == "last"
    stops_well(follower)


@pytest.mark.parametrize("kept", ["accepted", None])
def test_what_is_written_into_retired_files_during_a_roll_back_does_not_win(stage: Stage, kept: str | None):
    """Behind the gates, before the decision: the database's own new version would be left in the database, as if it were the drift;
    or, where it has none, overwritten.
    """
    assert typed(stage.terminal, "start", "--once", stage.root, stage.database.url).status == 0
    assert stage.does("cutover").status == 0
    follower = stage.follower("gate.marker:after@1")
    asked = stage.asks("rollback", "--timeout", "20")
    asleep(follower)
    if kept:
        stage.database.run(f"""SELECT put('{SESSION}', '{{"id":"s1","n":"{kept}"}}')""")
    (stage.root / SESSION).write_bytes(b'{"id":"s1","n":"rogue"}')
    wakes(follower)
    done = finish(asked)

    assert done.status == 7, done
    assert "1 paths drifted" in done.err
    assert stage.side == "here"
    assert stage.database.one("SELECT body->>'n' FROM sessions") == kept
    done = stage.does("rollback", "--force")
    assert done.status == 0, done
    assert b"rogue" not in (stage.root / SESSION).read_bytes()
    assert (kept or "").encode() in (stage.root / SESSION).read_bytes()
    stops_well(follower)


def drifted(stage: Stage) -> None:
    """Somebody writes the retired document, and that is seen."""
    (stage.root / SESSION).write_bytes(b'{"id":"s1","n":"rogue"}')
    wait_for("drift", lambda: stage.database.one("SELECT count(*) FROM drift WHERE state = 'open'") == 1)


def aside(stage: Stage) -> set[bytes]:
    """What was put aside of the files."""
    return {path.read_bytes() for path in stage.root.with_name("live.crossfade").glob("drift/*")}


def test_what_is_written_once_more_while_drift_is_overruled_does_not_win(stage: Stage):
    """Behind the first version's being put aside, before the decision: its item is open again, and is no older one that may stay."""
    assert typed(stage.terminal, "start", "--once", stage.root, stage.database.url).status == 0
    assert stage.does("cutover").status == 0
    follower = stage.follower("gate.marker:after@1")
    drifted(stage)
    asked = stage.asks("rollback", "--force", "--timeout", "30", "--json", *PATIENT)
    asleep(follower)
    assert (stage.root / SESSION).read_bytes() == b'{"id":"s1"}'
    (stage.root / SESSION).write_bytes(b'{"id":"s1","n":"rogue again"}')
    wakes(follower)
    done = finish(asked)

    assert done.status == 0, done
    assert said(done)["tries"] == 2
    assert (stage.root / SESSION).read_bytes() == b'{"id":"s1"}'
    assert aside(stage) == {b'{"id":"s1","n":"rogue"}', b'{"id":"s1","n":"rogue again"}'}
    wait_for("a look at it", lambda: stage.database.one("SELECT count(*) FROM drift WHERE state = 'open'") == 0)
    assert stage.database.one("SELECT body->>'n' FROM sessions") is None
    stops_well(follower)


CANNOT_PUT_ASIDE = """
from crossfade.console.main import run
from crossfade.store.backends.file.aside import Aside
def full(self, path, item):
    raise OSError(28, "No space left on device")
Aside.move = full
run()
"""
"""A follower that has no room for what is to be put aside."""


def test_what_cannot_be_put_aside_does_not_win(stage: Stage):
    """``--force`` keeps a copy of what it overwrites. Where it cannot, the authority stays where it is."""
    assert typed(stage.terminal, "start", "--once", stage.root, stage.database.url).status == 0
    assert stage.does("cutover").status == 0
    follower = stage.follower(program=CANNOT_PUT_ASIDE)
    drifted(stage)
    done = stage.does("rollback", "--force", "--timeout", "2")

    assert done.status == 7, done
    assert "1 paths have drifted" in done.err
    assert "drift" in done.err.partition("try:")[2]
    assert stage.side == "here"
    assert (
        stage.database.one("SELECT outcome FROM drift WHERE state = 'open'") == "the system refused: No space left on device"
    )
    stops_well(follower)


def test_what_drifted_of_kinds_that_stay_stays_open(stage: Stage):
    """They have been cut over before, so that the others' hand-over changes nothing of theirs."""
    follower = stage.follower()
    assert stage.does("cutover", "--only", "sessions").status == 0
    drifted(stage)
    done = stage.does("cutover", "--force", "--timeout", "20")

    assert done.status == 0, done
    assert stage.database.all("SELECT DISTINCT authority FROM routes") == [("here",)]
    assert stage.database.one("SELECT state FROM drift") == "open"
    assert b"rogue" in (stage.root / SESSION).read_bytes()
    stops_well(follower)


def test_what_is_written_into_the_database_by_hand_does_not_win(stage: Stage):
    """Nobody watches a database, and a look at everything takes its time; so it is asked what is not ours before it decides."""
    follower = stage.follower("gate.marker:after@1")
    asked = stage.asks("cutover", "--timeout", "20")
    asleep(follower)
    stage.database.run("""
        UPDATE routes SET authority = 'here';
        SELECT put('sessions/s1.json', '{"id":"s1","n":"rogue"}');
        UPDATE routes SET authority = 'elsewhere'
    """)
    wakes(follower)
    done = finish(asked)

    assert done.status == 7, done
    assert "1 paths drifted" in done.err
    assert stage.side == "elsewhere"
    stops_well(follower)


def test_an_order_is_not_ended_by_another_one(stage: Stage):
    """Two operators: the second one is told at once that another one's order stands, and whose; that one is carried out."""
    follower = stage.follower()
    with other_writer(stage.database) as pid:
        first = stage.asks("cutover", "--timeout", "60")
        put_off = "SELECT count(*) FROM journal WHERE event = 'hand-over put off' AND reason LIKE %s"
        wait_for("a first order that waits", lambda: stage.database.one(put_off, "%transaction of process%"))
        other = stage.does("rollback", "--timeout", "30")
        assert first.poll() is None
    done = finish(first)

    assert done.status == 0, done
    assert f"process {pid}" in done.err
    assert other.status == 7, other
    assert f"error[CF709]: a cutover was asked for by {actor()} on {gethostname()}, and is not done yet" in other.err
    assert stage.database.one("SELECT count(*) FROM journal WHERE event = 'refused'") == 1
    stops_well(follower)


@contextmanager
def other_writer(database: Database) -> Iterator[int]:
    """A program that has written into another tree of the schema, and does not end its transaction; its process."""
    database.run("SELECT make_store('other', 'prodigy')")
    with connection_of(database) as other:
        other.execute("""SELECT put('other', 'sessions/x.json', '{"id":"x"}')""")
        yield other.info.backend_pid
        other.rollback()


def test_a_forgotten_transaction_is_named_and_nobody_waits_for_it(person: Person, root: Path, database: Database):
    """Changes cannot be noted before it is over. Others of all trees would queue behind whoever waits for it."""
    person.moves(root, database.url)
    began = time.monotonic()
    with other_writer(database) as pid:
        verb = ("cutover", "--store", database.url, "--writers-stopped", "--timeout", "2")
        sentence, _ = refused(person.types(*verb), "CF709", 7)
        assert f"a writer of the database holds on to its transaction: a transaction of process {pid} (" in sentence
        assert time.monotonic() - began < 30
    assert person.types(*verb).status == 0


def test_a_feed_that_began_anew_is_waited_for(person: Person, root: Path, database: Database):
    """After a fail-over, the place that is written down for the roll back is one of another history."""
    verb = ("--store", database.url, "--writers-stopped")
    person.moves(root, database.url)
    assert person.types("cutover", *verb).status == 0
    database.run("UPDATE cursors SET timeline = timeline + 1", f"""SELECT append('{LOG}', '{{"id":"late"}}' || chr(10))""")
    done = person.types("rollback", *verb)

    assert done.status == 0, done
    assert b"late" in (root / LOG).read_bytes()


def test_who_has_no_authority_hands_none_over(person: Person, root: Path, database: Database, tmp_path: Path):
    """Two migrations share a tree: the files of the first decide, so the second one's database has nothing to hand over."""
    person.moves(root, database.url)
    person.moves(database.url, tmp_path / "b")
    first, second = (name for (name,) in database.all("SELECT migration_id FROM migrations ORDER BY created_at"))
    verb = ("cutover", second, "--store", database.url, "--writers-stopped")
    rehearsed = person.types(*verb, "--dry-run")
    sentence, _ = refused(person.types(*verb), "CF709", 7)

    assert rehearsed.status == 7, rehearsed
    assert f"migration {first} has it, with file://{root}" in rehearsed.out
    assert f"migration {first} has it, with file://{root}" in sentence
    assert database.one("SELECT authority FROM routes") == "elsewhere"
    assert Gate(bytes(tmp_path / "b")).read() is None


def test_files_that_are_handed_over_are_not_handed_over_again(
    person: Person, root: Path, database: Database, servers: Servers
):
    """To another database, which would decide as well. Its start does not touch what the marker says, either."""
    with servers.database(NAMES[0]) as other:
        person.moves(root, database.url)
        person.moves(root, other.url)
        assert person.types("cutover", "--store", database.url, "--writers-stopped").status == 0
        before = Gate(bytes(root)).read()
        sentence, _ = refused(person.types("cutover", "--store", other.url, "--writers-stopped"), "CF709", 7)

        assert before is not None
        assert f"migration {before.migration} has handed these files over to {before.database}" in sentence
        assert Gate(bytes(root)).read() == before
        assert other.one("SELECT authority FROM routes") == "elsewhere"


def test_a_database_that_was_made_anew_begins_its_numbers_anew(person: Person, root: Path, database: Database):
    """The marker beside the files has later ones. It is nobody's any more, and keeps nobody from handing over."""
    verb = ("--store", database.url, "--writers-stopped")
    person.moves(root, database.url)
    assert person.types("cutover", *verb).status == 0
    database.run(f"DROP SCHEMA {database.location.schema} CASCADE")
    person.moves(root, database.url)
    done = person.types("cutover", *verb)

    assert done.status == 0, done
    marker = Gate(bytes(root)).read()
    assert marker is not None
    assert (marker.side_of(""), marker.epoch) == ("database", 2)


def test_a_hold_may_be_longer_than_a_server_bears_silence_and_ends_with_its_limit(database: Database):
    """A minute is the server's limit for any of our sessions. Somebody who sleeps while writers wait keeps them no longer than said."""
    new_tree(database)
    schema = database.location.schema
    with closing(database.server.connect("hand-over")) as connection:
        route.limit_silence(connection, 90.0)
        assert connection.execute("SHOW idle_in_transaction_session_timeout").fetchone() == ("90s",)
        connection.rollback()
        assert connection.execute("SHOW idle_in_transaction_session_timeout").fetchone() == ("1min",)
        route.limit_silence(connection, 0.5)
        route.close_gate(connection, schema, 1, 1.0)
        began = time.monotonic()
        database.run("""SELECT put('sessions/x.json', '{"id":"x"}')""")
        assert 0.3 < time.monotonic() - began < 5


def test_the_route_is_not_handed_to_whom_has_it(database: Database):
    """Nor are some kinds of it, where it has those."""
    new_tree(database)
    schema = database.location.schema
    with closing(database.server.connect("hand-over")) as connection:
        assert not route.switch(connection, schema, 1, [""], "here", 1)
        assert not route.switch(connection, schema, 1, ["events"], "here", 1)
        assert route.switch(connection, schema, 1, ["events"], "elsewhere", 1)
        assert not route.switch(connection, schema, 1, ["events"], "elsewhere", 2)
        assert not route.switch(connection, schema, 1, ["sessions", "events"], "elsewhere", 2)
        assert route.switch(connection, schema, 1, [""], "elsewhere", 2)
