"""The authority changes hands between two databases, there and back, while programs write by SQL; judged by SQL."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from crossfade.migrate.throttle.server import MINE
from support.person import typed
from support.running import Terminal, compare, finish, kill_group, wait_for
from support.servers import NAMES, Database, Servers
from support.sql_programs import SqlProgram, follower, new_tree, quiet, same_trees, standing

LOG = "events/r/j/events-1.jsonl"
ELSEWHERE = "XF002"


@pytest.fixture
def other(servers: Servers) -> Iterator[Database]:
    """The target: a second schema on the same server."""
    with servers.database(NAMES[0]) as made:
        yield made


@pytest.fixture
def far(servers: Servers) -> Iterator[Database]:
    """A target on another server, of another version, where there is one."""
    with servers.database(NAMES[1 % len(NAMES)]) as made:
        yield made


@pytest.fixture
def one(database: Database) -> Database:
    """The source, with a tree of its own."""
    new_tree(database)
    program = SqlProgram(database, seed=1)
    program.work(40)
    program.append(LOG, b'{"id":"first"}\n')
    program.sql.close()
    return database


@pytest.fixture
def follow(terminal: Terminal) -> Iterator[Callable]:
    started = []

    def start(one: Database, other: Database):
        started.append(follower(terminal, one.url, other.url, other))
        return started[-1]

    yield start
    for process in started:
        kill_group(process)
        process.communicate()


def authority(database: Database, kind: str = "") -> object:
    """On which side a schema says that it is, of all kinds without a word of their own."""
    return database.one("SELECT authority FROM routes WHERE kind IN (%s, '') ORDER BY kind DESC LIMIT 1", kind)


def has_it(one: Database, other: Database) -> str:
    """Who has the authority. Never both."""
    here = [name for name, side in (("one", one), ("other", other)) if authority(side) == "here"]
    assert len(here) < 2, "both take writes"
    return here[0] if here else ""


def writes(database: Database, path: str, body: bytes = b'{"id":"x"}') -> str:
    """A write as a program does it; the SQLSTATE of the refusal, if there is one."""
    with database.connect(origin="") as connection:
        try:
            connection.execute("SELECT put(%s, %s)", [path, body])
        except psycopg.Error as error:
            return error.sqlstate or "broken"
    return ""


class Program(threading.Thread):
    """Appends, rewrites and removes by the functions of whichever schema takes it, and asks again while neither does."""

    def __init__(self, *sides: Database, name: str) -> None:
        super().__init__(name=name)
        self._sides = [side.connect(origin="") for side in sides]
        self._over, self._going, self._resting = threading.Event(), threading.Event(), threading.Event()
        self.written: list[str] = []
        self.slowest_ms = 0.0
        self.error: BaseException | None = None
        self._going.set()

    def run(self) -> None:
        try:
            while not self._over.wait(0.005):
                if not self._going.is_set():
                    self._resting.set()
                    self._going.wait()
                self._write(f"{self.name}-{len(self.written)}")
        except BaseException as error:
            self.error = error
            raise
        finally:
            self._resting.set()

    def _write(self, identity: str) -> None:
        began = time.monotonic()
        self._call("append", f"events/r/j/events-{self.name}.jsonl", b'{"id":"%s"}\n' % identity.encode())
        self.slowest_ms = max(self.slowest_ms, (time.monotonic() - began) * 1000)
        self.written.append(identity)
        self._call("put", f"sessions/{self.name}.json", b'{"id":"%s"}' % identity.encode())
        if len(self.written) % 7 == 0:
            self._call("remove", f"sessions/{self.name}.json")

    def _call(self, function: str, *values: object) -> None:
        until = time.monotonic() + 30
        while not any(self._took(side, function, values) for side in self._sides):
            assert time.monotonic() < until, "neither side takes writes"
            time.sleep(0.002)

    def _took(self, side: psycopg.Connection, function: str, values: tuple[object, ...]) -> bool:
        try:
            side.execute(f"SELECT {function}({', '.join(['%s'] * len(values))})", values)
        except psycopg.Error as error:
            if error.sqlstate != ELSEWHERE:
                raise
            return False
        return True

    def rest(self) -> None:
        """Between two writes, stand still."""
        self._resting.clear()
        self._going.clear()
        self._resting.wait()

    def go_on(self) -> None:
        self._going.set()

    def stop(self) -> None:
        self._over.set()
        self._going.set()
        self.join()
        for side in self._sides:
            side.close()


def rounds(terminal: Terminal, one: Database, other: Database, follow: Callable, count: int) -> list[Program]:
    """So many, under two programs that write; both sides are equal after each hand-over."""
    process = follow(one, other)
    programs = [Program(one, other, name="a"), Program(one, other, name="b")]
    for program in programs:
        program.start()
    try:
        for verb, side in [("cutover", "other"), ("rollback", "one")] * count:
            done = terminal.run(verb, "--store", other.url, "--hold-max", "10s", "--timeout", "2m")
            assert done.status == 0, done
            reached = len(programs[0].written) + 20
            wait_for("more writes", lambda reached=reached: len(programs[0].written) > reached, 60)
            for program in programs:
                program.rest()
            assert has_it(one, other) == side
            same_trees(one, other)
            print(f"{verb}: {done.out.strip()}; slowest write {max(p.slowest_ms for p in programs):.0f} ms")
            for program in programs:
                program.slowest_ms = 0.0
                program.go_on()
    finally:
        for program in programs:
            program.stop()
    same_trees(one, other)
    quiet(process)
    return programs


def judge(programs: list[Program], *sides: Database) -> None:
    """No write failed; each event is there once, on both sides."""
    assert [program.error for program in programs] == [None] * len(programs)
    written = sorted(identity for program in programs for identity in program.written)
    for side in sides:
        rows = side.all("SELECT e.id FROM events AS e JOIN entries USING (entry_id) WHERE path ~ 'events-[ab].jsonl$'")
        assert sorted(identity for (identity,) in rows) == written


def test_rounds_between_two_schemas_of_a_server(
    terminal: Terminal, one: Database, other: Database, follow: Callable, tmp_path: Path
):
    programs = rounds(terminal, one, other, follow, 2)

    judge(programs, one, other)
    done = terminal.run("validate", "--store", other.url)
    assert done.status == 0, done
    for name, place in (("one", one), ("two", other)):
        assert terminal.run("start", place.url, tmp_path / name, "--once").status == 0
    compare(tmp_path / "one", tmp_path / "two")


def test_rounds_between_two_servers(terminal: Terminal, one: Database, far: Database, follow: Callable):
    """Each has a clock, a feed and locks of its own."""
    judge(rounds(terminal, one, far, follow, 1), one, far)


def test_the_server_knows_a_runs_sessions_whichever_way_it_goes(
    terminal: Terminal, one: Database, other: Database, follow: Callable
):
    """By their names: what they cost is the migration's, and that they wait for a processor makes nobody give way."""
    process = follow(one, other)
    (migration,) = other.all("SELECT migration_id FROM migrations")[0]
    names = "SELECT DISTINCT application_name FROM pg_stat_activity WHERE position(%s IN application_name) > 0"
    arrived, purposes = "SELECT count(*) FROM entries WHERE path = %s AND type = 'file'", []
    for verb, side, far in (("cutover", other, one), ("rollback", one, other)):
        handed(terminal, other, verb)
        assert writes(side, f"sessions/{verb}.json") == ""
        wait_for("what was written", lambda far=far, verb=verb: far.one(arrived, f"sessions/{verb}.json") == 1, 30)
        purposes.append({name for (name,) in other.all(names, migration)})
    quiet(process)

    mine = MINE.format(migration=migration)
    assert [{name for name in found if not re.search(mine, str(name))} for found in purposes] == [set(), set()]
    assert all({f"crossfade {migration} worker", f"crossfade {migration} reader"} <= found for found in purposes)


def handed(terminal: Terminal, other: Database, verb: str, *options: str, status: int = 0):
    """A verb, without a runner: it needs no process of its own."""
    done = typed(terminal, verb, "--store", other.url, *options)
    assert done.status == status, done
    return done


def copied(terminal: Terminal, one: Database, other: Database, *verbs: str) -> None:
    assert typed(terminal, "start", one.url, other.url, "--once").status == 0
    for verb in verbs:
        handed(terminal, other, verb)


def test_the_retired_side_refuses_writes_and_says_where_to(terminal: Terminal, one: Database, other: Database):
    """Before the cut-over the target, behind it the source, after a roll back the target again."""
    copied(terminal, one, other)
    assert (writes(one, "sessions/a.json"), writes(other, "sessions/a.json")) == ("", ELSEWHERE)
    handed(terminal, other, "cutover")
    with one.connect(origin="") as connection, pytest.raises(psycopg.Error) as refusal:
        connection.execute("SELECT append(%s, %s)", [LOG, b"{}\n"])
    assert refusal.value.sqlstate == ELSEWHERE
    assert refusal.value.diag.message_hint == f"write there: {other.location.url}"
    assert writes(other, "sessions/b.json") == ""
    handed(terminal, other, "rollback")
    assert (writes(one, "sessions/c.json"), writes(other, "sessions/c.json")) == ("", ELSEWHERE)
    assert one.one("SELECT count(*) FROM entries WHERE path = 'sessions/b.json' AND type = 'file'") == 1


def test_a_writer_with_an_old_epoch_is_refused_on_both_sides(terminal: Terminal, one: Database, other: Database):
    """Once it was handed over and back, whoever states the epoch of before is refused, though the side is the same."""
    copied(terminal, one, other)
    epochs = [side.one("SELECT epoch FROM routes") for side in (one, other)]
    for verb in ("cutover", "rollback", "cutover"):
        handed(terminal, other, verb)
    for side, epoch in zip((one, other), epochs, strict=True):
        with side.connect(origin="") as connection, pytest.raises(psycopg.Error) as refusal:
            connection.execute("SELECT set_config('crossfade.epoch', %s, false)", [str(epoch)])
            connection.execute("SELECT append(%s, %s)", [LOG, b"{}\n"])
        assert refusal.value.sqlstate == (ELSEWHERE if side is one else "XF003")


DEATHS = [
    ("cutover", "postgres.route:before@1", "one", "one"),
    ("cutover", "postgres.route:after@1", "", "one"),
    ("cutover", "postgres.decision:before", "", "one"),
    ("cutover", "postgres.decision:after", "other", "other"),
    ("cutover", "postgres.route:before@2", "other", "other"),
    ("cutover", "postgres.route:after@2", "other", "other"),
    ("rollback", "postgres.decision:before", "other", "other"),
    ("rollback", "postgres.decision:after", "", "one"),
    ("rollback", "postgres.route:before@1", "", "one"),
    ("rollback", "postgres.route:after@1", "one", "one"),
]
"""Which verb dies where; who takes writes then, if anybody; and who has the authority once it is completed."""


@pytest.mark.parametrize(("verb", "failpoint", "then", "after"), DEATHS, ids=lambda value: value or "nobody")
def test_a_crash_leaves_one_authority_at_most_and_is_completed(
    terminal: Terminal, one: Database, other: Database, verb: str, failpoint: str, then: str, after: str
):
    """Before the decision it is as if nothing had been, behind it there is no way back; nothing is lost, and nothing is twice."""
    copied(terminal, one, other, *(["cutover"] if verb == "rollback" else []))
    first, second = (one, other) if verb == "cutover" else (other, one)
    assert writes(first, "sessions/before.json") == ""
    died = terminal.run(verb, "--store", other.url, "--hold-max", "10s", CROSSFADE_FAILPOINT=failpoint)
    assert died.status == -signal.SIGKILL, died
    assert has_it(one, other) == then

    doctor = typed(terminal, "doctor", "--store", other.url)
    if not then:
        assert "neither the source nor the target takes writes" in doctor.out
    handed(terminal, other, "repair")
    assert "crossfade repair" not in typed(terminal, "doctor", "--store", other.url).out
    assert has_it(one, other) == after
    decides, retired = (one, other) if after == "one" else (other, one)
    assert writes(retired, "sessions/after.json") == ELSEWHERE
    assert writes(decides, "sessions/after.json") == ""

    if decides is not second:
        handed(terminal, other, verb)
    assert writes(second, "sessions/last.json") == ""
    handed(terminal, other, "rollback" if verb == "cutover" else "cutover")
    assert standing(one) == standing(other)
    for name in ("before", "after", "last"):
        for side in (one, other):
            assert side.one(f"SELECT count(*) FROM entries WHERE path = 'sessions/{name}.json' AND type = 'file'") == 1


REFUSAL = """
CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {what}; RETURN NEW; END $$;
CREATE CONSTRAINT TRIGGER no AFTER UPDATE ON routes {when} FOR EACH ROW EXECUTE FUNCTION no()
"""


@pytest.mark.parametrize(
    ("what", "when"),
    [
        ("RAISE EXCEPTION 'no'", ""),
        ("RAISE EXCEPTION 'no'", "DEFERRABLE INITIALLY DEFERRED"),
        ("PERFORM pg_terminate_backend(pg_backend_pid()), pg_sleep(1)", "DEFERRABLE INITIALLY DEFERRED"),
    ],
    ids=["refused", "refused at its commit", "cut off at its commit"],
)
def test_a_decision_that_fails_gives_the_source_back(
    terminal: Terminal, one: Database, other: Database, what: str, when: str
):
    """The source was closed for good by then, and is opened again once it is sure that there is no decision."""
    copied(terminal, one, other)
    other.run(REFUSAL.format(what=what, when=when))
    done = terminal.run("cutover", "--store", other.url, "--timeout", "8")
    assert done.status != 0, done
    assert has_it(one, other) == "one"
    assert writes(one, "sessions/a.json") == ""
    assert one.one("SELECT epoch FROM routes") > 2, "it was closed in between"
    other.run("DROP TRIGGER no ON routes")
    assert "crossfade repair" not in typed(terminal, "doctor", "--store", other.url).out
    handed(terminal, other, "cutover")
    assert has_it(one, other) == "other"
    assert standing(one) == standing(other)


@pytest.mark.parametrize("failpoint", ["postgres.decision:before", "postgres.decision:after"])
def test_the_next_runner_completes_it(terminal: Terminal, one: Database, other: Database, follow: Callable, failpoint: str):
    """Whoever follows next, without a word from anybody."""
    verb, after = ("cutover", "one") if failpoint.endswith("before") else ("rollback", "one")
    copied(terminal, one, other, *(["cutover"] if verb == "rollback" else []))
    assert terminal.run(verb, "--store", other.url, CROSSFADE_FAILPOINT=failpoint).status == -signal.SIGKILL
    assert has_it(one, other) == ""
    process = follow(one, other)
    assert has_it(one, other) == after
    assert writes(one, "sessions/after.json") == ""
    same_trees(one, other)
    quiet(process)


def test_a_crash_before_the_way_back_is_decided_leaves_no_feed_that_nobody_reads(
    terminal: Terminal, one: Database, other: Database
):
    """It was prepared in the source, which was to be followed from; it is not closed, so nothing else is astray."""
    copied(terminal, one, other, "cutover")
    done = terminal.run("rollback", "--store", other.url, CROSSFADE_FAILPOINT="postgres.decision:before")
    assert done.status == -signal.SIGKILL
    assert one.one("SELECT fed FROM stores") is True
    assert "crossfade repair" in typed(terminal, "doctor", "--store", other.url).out
    assert typed(terminal, "repair", "--store", other.url).status == 0

    assert "crossfade repair" not in typed(terminal, "doctor", "--store", other.url).out
    assert (one.one("SELECT fed FROM stores"), one.one("SELECT count(*) FROM changes")) == (False, 0)
    assert has_it(one, other) == "other"


def test_a_runner_that_was_asleep_writes_neither_side_any_more(
    terminal: Terminal, one: Database, other: Database, follow: Callable
):
    """It follows in reverse: what fences its pages is the epoch in the source."""
    copied(terminal, one, other, "cutover")
    first = follow(one, other)
    os.killpg(first.pid, signal.SIGSTOP)
    other.run("UPDATE leases SET expires_at = 'epoch'")
    second = follow(one, other)
    os.killpg(second.pid, signal.SIGSTOP)
    assert writes(other, "sessions/late.json") == ""
    os.killpg(first.pid, signal.SIGCONT)
    done = finish(first)
    assert done.status == 7, done
    assert "error[CF705]" in done.err
    assert one.one("SELECT count(*) FROM entries WHERE path = 'sessions/late.json' AND type = 'file'") == 0
    os.killpg(second.pid, signal.SIGCONT)
    same_trees(one, other)
    quiet(second)


def test_a_source_that_was_restored_from_before_takes_no_writes_for_long(terminal: Terminal, one: Database, other: Database):
    """It knows nothing of the cut-over; the control state does."""
    copied(terminal, one, other, "cutover")
    one.run("UPDATE routes SET authority = 'here', epoch = 1", "DELETE FROM pointers", "DELETE FROM leases")
    doctor = typed(terminal, "doctor", "--store", other.url)
    assert doctor.status == 2, doctor
    assert "does not know that the authority has left it" in doctor.out
    handed(terminal, other, "repair")
    assert has_it(one, other) == "other"
    handed(terminal, other, "rollback")
    assert has_it(one, other) == "one"


def test_a_rehearsal_shows_the_steps_and_changes_nothing(terminal: Terminal, one: Database, other: Database):
    copied(terminal, one, other)
    before = other.one("SELECT count(*) FROM journal")
    done = handed(terminal, other, "cutover", "--dry-run")

    assert "nobody follows: this command does" in done.out
    assert "retire  the source takes no writes any more" in done.out
    assert "marker" not in done.out
    assert other.one("SELECT count(*) FROM journal") == before
    assert one.one("SELECT count(*) FROM pointers") == 0


def test_a_roll_back_before_the_cut_over_leaves_the_source_as_it_was(
    terminal: Terminal, one: Database, other: Database, follow: Callable
):
    """It notes nothing any more for a reader that does not come back, and nobody may write it from elsewhere."""
    process = follow(one, other)
    for verb in ("cutover", "rollback", "rollback"):
        handed(terminal, other, verb)
    process.wait(60)
    assert other.one("SELECT phase FROM migrations") == "rolled-back"
    assert one.one("SELECT fed FROM stores") is False
    assert one.one("SELECT (SELECT count(*) FROM cursors) + (SELECT count(*) FROM pointers)") == 0
    assert (writes(one, "sessions/a.json"), writes(other, "sessions/a.json")) == ("", ELSEWHERE)
    assert one.one("SELECT count(*) FROM changes") == 0


def test_finish_leaves_the_target_alone_with_the_authority(terminal: Terminal, one: Database, other: Database):
    copied(terminal, one, other, "cutover")
    assert writes(other, "sessions/last.json") == ""
    handed(terminal, other, "finish")
    assert standing(one) == standing(other)
    assert (writes(one, "sessions/a.json"), writes(other, "sessions/a.json")) == (ELSEWHERE, "")
    assert terminal.run("start", one.url, other.url).status == 7
    for side in (one, other):
        assert side.one("SELECT fed FROM stores") is False, "nobody reads what it would note"


def test_kinds_are_cut_over_one_after_another(terminal: Terminal, one: Database, other: Database, follow: Callable):
    """The events first: they are followed out of the target, while the sessions still are followed into it."""
    process = follow(one, other)
    handed(terminal, other, "cutover", "--only", "events")
    assert (writes(one, LOG), writes(one, "sessions/s.json")) == (ELSEWHERE, "")
    assert (writes(other, LOG, b'{"id":"new"}\n'), writes(other, "sessions/s.json")) == ("", ELSEWHERE)
    same_trees(one, other)
    assert one.one("SELECT count(*) FROM events WHERE id = 'new'") == 1
    handed(terminal, other, "cutover")
    assert (has_it(one, other), authority(one, "events")) == ("other", "elsewhere")
    handed(terminal, other, "rollback", "--only", "sessions")
    assert (writes(one, "sessions/t.json"), writes(one, LOG)) == ("", ELSEWHERE)
    same_trees(one, other)
    handed(terminal, other, "rollback")
    assert {authority(one), authority(one, "events"), authority(one, "sessions")} == {"here"}
    assert {authority(other), authority(other, "events"), authority(other, "sessions")} == {"elsewhere"}
    same_trees(one, other)
    quiet(process)


def test_a_source_that_follows_somebody_else_hands_nothing_over(
    terminal: Terminal, database: Database, other: Database, tmp_path: Path
):
    """Its authority is with the files: a target that took it from here would be a second one."""
    root = tmp_path / "files"
    (root / "sessions").mkdir(parents=True)
    (root / "sessions/one.json").write_text('{"id":"one"}')
    assert terminal.run("start", root, database.url, "--once").status == 0
    copied(terminal, database, other)
    done = handed(terminal, other, "cutover", status=7)
    assert "follows another side" in done.err
    assert f"try: crossfade list --store {shlex.quote(database.location.url)}\n" in done.err
    assert has_it(database, other) == ""

    assert terminal.run("cutover", "--store", database.url, "--writers-stopped").status == 0
    done = handed(terminal, other, "cutover", status=7)
    assert "is not finished" in done.err
    assert f" --store {shlex.quote(database.location.url)}   # or rollback\n" in done.err
    assert terminal.run("finish", "--store", database.url).status == 0
    handed(terminal, other, "cutover")
    assert has_it(database, other) == "other"


def test_two_trees_of_one_schema_are_refused(terminal: Terminal, one: Database):
    """They share the lock that a feed is drained behind: a page would wait for whoever drains."""
    target = f"{one.url}&store=second"
    assert terminal.run("start", f"{one.url}&store=tree", target, "--once").status == 0
    done = handed(terminal, one, "cutover", status=7)
    assert "error[CF704]" in done.err
    handed(terminal, one, "rollback")
    assert one.all("SELECT name, authority FROM stores JOIN routes USING (store_id) ORDER BY name DESC") == [
        ("tree", "here"),
        ("second", "elsewhere"),
    ]


def test_what_is_written_by_hand_on_the_retired_side_is_found_and_mended(terminal: Terminal, one: Database, other: Database):
    """Validation takes the target at its word, once it has the authority."""
    copied(terminal, one, other, "cutover")
    assert terminal.run("validate", "--store", other.url).status == 0
    one.run("UPDATE sessions SET id = 'rogue' WHERE ctid = (SELECT min(ctid) FROM sessions)")
    found = terminal.run("validate", "--store", other.url)
    mended = terminal.run("validate", "--store", other.url, "--repair")

    assert found.status == 3, found
    assert mended.status == 0, mended
    assert one.one("SELECT count(*) FROM sessions WHERE id = 'rogue'") == 0


def test_what_the_source_refuses_on_the_way_back_is_counted_listed_placed_and_ignored(
    terminal: Terminal, one: Database, other: Database
):
    """It stands in the source's books, whoever asks: the status, the rehearsal, the verbs of the quarantine, and the gate."""
    copied(terminal, one, other, "cutover")
    one.run("ALTER TABLE events ADD CONSTRAINT picky CHECK (id <> 'bad') NOT VALID")
    lines = b'{"id":"bad"}\n' * (BUDGET + 1)
    assert writes(other, "events/r/j/events-bad.jsonl", lines) == ""
    spent = handed(terminal, other, "rollback", status=2)
    assert f"error[CF208]: {BUDGET + 1} items went to quarantine" in spent.err
    assert "try: crossfade quarantine " in spent.err

    assert held_in_all(terminal, other) == BUDGET + 1
    shut = handed(terminal, other, "rollback", "--dry-run", status=7)
    assert f"SHUT  {BUDGET + 1} items in quarantine" in shut.out
    listed = json.loads(handed_item(terminal, other, "list", "--json", status=4).out)["items"]
    assert [item["name"] for item in listed] == [f"source:{item['item']}" for item in listed]
    assert len(listed) == BUDGET + 1
    first = listed[0]["name"]
    assert f"  {first}    events  " in handed_item(terminal, other, "list", status=4).out
    assert handed_item(terminal, other, "show", first).out == '{"id":"bad"}\n'
    assert "0 items placed, 1 item still held" in handed_item(terminal, other, "replay", first, status=4).err

    one.run("ALTER TABLE events DROP CONSTRAINT picky")
    assert "1 item placed, 0 items still held" in handed_item(terminal, other, "replay", first).err
    assert one.one("SELECT count(*) FROM events WHERE id = 'bad'") == 1
    assert f"{BUDGET} items ignored" in handed_item(terminal, other, "ignore").err
    assert handed_item(terminal, other, "list").out == ""
    assert held_in_all(terminal, other) == 0
    assert "open  nothing in quarantine" in handed(terminal, other, "rollback", "--dry-run").out
    handed(terminal, other, "rollback")
    assert has_it(one, other) == "one"
    told = other.all("SELECT event, detail::json FROM journal WHERE event ~ '^quarantine ' ORDER BY seq")
    assert [(event, detail["count"], detail.get("side")) for event, detail in told] == [
        ("quarantine replayed", 0, None),
        ("quarantine replayed", 1, "source"),
        ("quarantine ignored", BUDGET, "source"),
    ]


BUDGET = 100
"""So many items may be in quarantine where nothing else is said."""


def handed_item(terminal: Terminal, other: Database, *words: str, status: int = 0):
    """A verb of the quarantine."""
    return handed(terminal, other, "quarantine", *words, status=status)


def held_in_all(terminal: Terminal, other: Database) -> int:
    """How many items the status says are held."""
    return sum(kind["quarantined"] for kind in json.loads(handed(terminal, other, "status", "--json").out)["kinds"])


def test_a_source_that_is_away_hides_no_status_and_fakes_no_quarantine(terminal: Terminal, one: Database, other: Database):
    """What stands in its books is not known then, and that is said."""
    copied(terminal, one, other, "cutover")
    other.run("UPDATE migrations SET source = 'embedded:///gone'")
    status = handed(terminal, other, "status")
    listed = handed(terminal, other, "quarantine", "list", status=2)

    assert "what is in quarantine in embedded:///gone is not counted: embedded:///gone does not exist" in status.err
    assert "error[CF201]" in listed.err
    assert "nothing is in quarantine" not in listed.err


def test_the_source_points_to_where_the_control_state_is(terminal: Terminal, one: Database, other: Database):
    copied(terminal, one, other, "cutover")
    migration = other.one("SELECT migration_id FROM migrations")
    done = Terminal(terminal.home.parent / "somewhere else").run("status", "--store", one.url)

    assert done.status == 0, done
    assert str(migration) in done.out
