"""The authority changes hands, there and back, while programs write; judged by SQL and by the independent comparer."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from crossfade.errors import Fenced
from crossfade.store.backends.file.gate import Gate
from crossfade.store.location import parse
from crossfade.store.writer import Writer
from support.person import typed
from support.running import Terminal, compare, finish, kill_group, wait_for
from support.servers import Database
from support.sql_programs import follower, new_tree, quiet

_WANTED = """SELECT count(*) FROM "{}".migrations WHERE wanted ? 'switch'"""
LOG = b"events/r/j/events-1.jsonl"


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    return Terminal(tmp_path / "state")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "live"
    (root / "events/r/j").mkdir(parents=True)
    (root / "sessions").mkdir()
    (root / LOG.decode()).write_bytes(b'{"id":"first"}\n')
    (root / "sessions/s1.json").write_bytes(b'{"id":"s1","status":"running"}')
    return root


def phase(database: Database) -> object:
    return database.one(f'SELECT max(phase) FROM "{database.location.schema}".migrations')


@contextmanager
def following(terminal: Terminal, root: Path, database: Database) -> Iterator[subprocess.Popen[bytes]]:
    """A follower that has arrived; told to stop at the end."""
    process = terminal.popen("start", root, database.url, "--cpu-max", "100")
    table = f"{database.location.schema}.migrations"

    def has_arrived() -> bool:
        assert process.poll() is None, finish(process)
        return database.one("SELECT to_regclass(%s)", table) is not None and phase(database) == "following"

    try:
        wait_for("a follower", has_arrived, 60)
        yield process
        process.send_signal(signal.SIGTERM)
        done = finish(process, 60)
        assert done.status == 0, done
    finally:
        kill_group(process)


class Program(threading.Thread):
    """Appends events and rewrites a session through crossfade, wherever the authority is; keeps what it wrote."""

    def __init__(self, root: Path, database: Database, name: str) -> None:
        super().__init__(name=name)
        self._root = root
        self._database = database
        self._over = threading.Event()
        self.written: list[str] = []
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            with Writer(bytes(self._root), self._database.url) as writer:
                while not self._over.wait(0.005):
                    identity = f"{self.name}-{len(self.written)}"
                    writer.append(b"events/r/j/events-%s.jsonl" % self.name.encode(), b'{"id":"%s"}\n' % identity.encode())
                    writer.put(b"sessions/%s.json" % self.name.encode(), b'{"id":"%s"}' % identity.encode())
                    self.written.append(identity)
        except BaseException as error:
            self.error = error
            raise

    def stop(self) -> None:
        self._over.set()
        self.join()


def plant_still(root: Path) -> None:
    """Documents and logs that no program writes, beside those that programs do."""
    for number in range(20):
        (root / f"sessions/still-{number}.json").write_bytes(b'{"id":"still","n":%d}' % number)
        (root / f"events/r/j/events-still-{number}.jsonl").write_bytes(b'{"id":"first"}\n' * 30)


def still(root: Path, database: Database) -> tuple[dict[Path, tuple[int, int]], dict[str, list[tuple]]]:
    """Those files and their rows, with what would be another one had any of it been brought once more."""
    files = {path: path.stat() for path in root.rglob("*still-*")}
    rows = """SELECT r.entry_id, r.pos, r.xmin::text FROM "{0}".{1} AS r JOIN "{0}".entries AS e USING (entry_id)
              WHERE e.path LIKE '%%still-%%' ORDER BY 1, 2"""
    return (
        {path: (stat.st_ino, stat.st_ctime_ns) for path, stat in files.items()},
        {kind: database.all(rows.format(database.location.schema, kind)) for kind in ("events", "sessions")},
    )


def test_what_is_written_before_and_after_a_cut_over_and_a_roll_back_is_on_both_sides(
    terminal: Terminal, root: Path, database: Database, tmp_path: Path
):
    """No write fails, none is lost, and the sides are equal at the end. What nobody writes stays where it is, on both of them."""
    schema = database.location.schema
    plant_still(root)
    with following(terminal, root, database):
        before = still(root, database)
        programs = [Program(root, database, name) for name in ("one", "two")]
        for program in programs:
            program.start()
        for verb, authority, after in [("cutover", "here", "cut-over"), ("rollback", "elsewhere", "following")] * 2:
            done = typed(
                terminal, verb, "--store", database.url, "--writers-stopped", "--hold-max", "10s", "--timeout", "2m"
            )
            assert done.status == 0, done
            assert database.one(f'SELECT authority FROM "{schema}".routes') == authority
            reached = len(programs[0].written) + 20
            wait_for("more writes", lambda reached=reached: len(programs[0].written) > reached, 60)
            assert phase(database) == after
        for program in programs:
            program.stop()
        assert [program.error for program in programs] == [None, None]
        written = sorted(identity for program in programs for identity in program.written)
        query = f"""SELECT id FROM "{schema}".events WHERE id <> 'first'"""

        def arrived() -> bool:
            return sorted(identity for (identity,) in database.all(query)) == written

        wait_for("the last of them", arrived, 60)
    assert still(root, database) == before
    assert (len(before[0]), {kind: len(rows) for kind, rows in before[1].items()}) == (40, {"events": 600, "sessions": 20})
    assert typed(terminal, "start", "--once", root, database.url).status == 0
    assert typed(terminal, "start", "--once", database.url, tmp_path / "back").status == 0
    compare(root, tmp_path / "back")


class Scribbler(Program):
    """Writes each path once: no later write makes good for one that was missed."""

    def run(self) -> None:
        try:
            with Writer(bytes(self._root), self._database.url) as writer:
                while not self._over.wait(0.002):
                    identity = f"{self.name}-{len(self.written)}"
                    writer.put(b"sessions/%s.json" % identity.encode(), b'{"id":"%s"}' % identity.encode())
                    self.written.append(identity)
        except BaseException as error:
            self.error = error
            raise


def test_what_is_written_once_between_a_roll_back_and_the_next_cut_over_is_on_both_sides(
    terminal: Terminal, root: Path, database: Database
):
    """The next cut-over is asked for at once: no watch hears of what comes before it is up, and the tree is large."""
    for number in range(3000):
        (root / f"sessions/many-{number}.json").write_bytes(b"{}")
    with following(terminal, root, database):
        program = Scribbler(root, database, "once")
        program.start()
        for verb in ("cutover", "rollback", "cutover", "rollback", "cutover"):
            done = typed(
                terminal, verb, "--store", database.url, "--writers-stopped", "--hold-max", "10s", "--timeout", "2m"
            )
            assert done.status == 0, done
        program.stop()
        assert program.error is None
        rows = database.all(f"""SELECT id FROM "{database.location.schema}".sessions WHERE id LIKE 'once-%%'""")
        assert sorted(identity for (identity,) in rows) == sorted(program.written)
        assert database.one(f"""SELECT count(*) FROM "{database.location.schema}".drift WHERE state = 'open'""") == 0


def test_what_the_kernel_had_no_room_to_tell_is_there_when_the_database_decides(
    terminal: Terminal, root: Path, database: Database
):
    """The queue of hints overflows while the runner stands still; what is missing in it nobody hears of again."""
    most = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    query = f"""SELECT count(*) FROM "{database.location.schema}".sessions WHERE id = 'untold'"""
    with following(terminal, root, database) as process:
        assert typed(terminal, "status", "--store", database.url, "--wait-for", "ready", "--timeout", "60").status == 0
        process.send_signal(signal.SIGSTOP)
        for number in range(most // 3 + 1000):  # each is created, written to, and closed
            (root / f"sessions/untold-{number}.json").write_bytes(b'{"id":"untold"}')
        asked = terminal.popen("cutover", "--store", database.url, "--writers-stopped", "--timeout", "120")
        wait_for("the order", lambda: database.one(_WANTED.format(database.location.schema)), 60)
        process.send_signal(signal.SIGCONT)
        done = finish(asked, 150)
        assert done.status == 0, done
        assert database.one(query) == most // 3 + 1000


def crash_at(failpoint: str, terminal: Terminal, root: Path, database: Database) -> None:
    """A follower that dies at *failpoint* of a cut-over."""
    process = terminal.popen("start", root, database.url, "--cpu-max", "100", environment={"CROSSFADE_FAILPOINT": failpoint})
    wait_for("a follower", lambda: arrived_at(database, "following"), 60)
    asked = terminal.popen("cutover", "--store", database.url, "--writers-stopped", "--timeout", "30", "--hold-max", "10s")
    process.wait(60)
    kill_group(asked)
    assert process.returncode == -signal.SIGKILL


def arrived_at(database: Database, wanted: str) -> bool:
    table = f"{database.location.schema}.migrations"
    return database.one("SELECT to_regclass(%s)", table) is not None and phase(database) == wanted


@pytest.mark.parametrize(
    ("failpoint", "authority"),
    [
        ("gate.marker:after@1", "elsewhere"),
        ("gate.marker:after@2", "elsewhere"),
        ("postgres.decision:before", "elsewhere"),
        ("postgres.decision:after", "here"),
        ("gate.marker:before@3", "here"),
        ("gate.marker:after@3", "here"),
    ],
)
def test_a_crash_leaves_one_authority_and_writers_find_it(
    terminal: Terminal, root: Path, database: Database, failpoint: str, authority: str
):
    """Before the decision nothing has happened; behind it, whoever comes next completes it. A writer asks, and is right."""
    schema = database.location.schema
    crash_at(failpoint, terminal, root, database)
    assert database.one(f'SELECT authority FROM "{schema}".routes') == authority
    with Writer(bytes(root), database.url) as writer:
        writer.append(LOG, b'{"id":"second"}\n')
    written = (root / LOG.decode()).read_bytes().count(b"second")
    assert written == (authority == "elsewhere")

    doctor = typed(terminal, "doctor", "--store", database.url)
    is_half_done = failpoint != "gate.marker:after@3"
    assert ("crossfade repair" in doctor.out) == is_half_done, doctor
    rehearsal = typed(terminal, "repair", "--store", database.url, "--dry-run")
    assert ("would " in rehearsal.out) == is_half_done, rehearsal
    repair = typed(terminal, "repair", "--store", database.url)
    assert (rehearsal.status, repair.status) == (0, 0), (rehearsal, repair)
    assert repair.out == re.sub("^would ", "", rehearsal.out, flags=re.MULTILINE)
    healed = typed(terminal, "doctor", "--store", database.url)
    assert "crossfade repair" not in healed.out, healed
    marker = Gate(bytes(root)).read()
    assert marker is None or marker.side_of("") == ("database" if authority == "here" else "files")


@pytest.mark.parametrize("failpoint", ["gate.marker:before@2", "postgres.decision:before"])
def test_a_crash_before_the_decision_leaves_no_feed_that_nobody_reads(
    terminal: Terminal, root: Path, database: Database, failpoint: str
):
    """What the database gets was to be noted from then on; now that is all that comes from the files, and would never be read."""
    changes = f'SELECT count(*) FROM "{database.location.schema}".changes'
    fed = f'SELECT fed FROM "{database.location.schema}".stores'
    crash_at(failpoint, terminal, root, database)
    assert database.one(fed) is True
    assert "nobody reads them" in typed(terminal, "doctor", "--store", database.url).out
    with following(terminal, root, database):
        with (root / LOG.decode()).open("ab", 0) as log:
            log.write(b'{"id":"second"}\n')
        arrived = f"""SELECT count(*) FROM "{database.location.schema}".events WHERE id = 'second'"""
        wait_for("what is written next", lambda: database.one(arrived) == 1, 60)

    assert (database.one(fed), database.one(changes)) == (False, 0)


def test_a_feed_that_could_not_be_turned_off_is_a_moment_later(terminal: Terminal, root: Path, database: Database):
    """A hand-over that fails takes back what it prepared; where that fails, too, whoever follows tries again."""
    schema = database.location.schema
    with following(terminal, root, database):
        database.run(f'UPDATE "{schema}".stores SET fed = true')
        wait_for("a feed that is off", lambda: database.one(f'SELECT fed FROM "{schema}".stores') is False, 30)
    completed = f"""SELECT detail FROM "{schema}".journal WHERE event = 'completed' ORDER BY seq DESC LIMIT 1"""
    assert '"notes"' in str(database.one(completed))


def test_a_rehearsal_shows_each_gate_and_changes_nothing(terminal: Terminal, root: Path, database: Database):
    assert typed(terminal, "start", "--once", root, database.url).status == 0
    before = database.one(f'SELECT count(*) FROM "{database.location.schema}".journal')
    done = typed(terminal, "cutover", "--store", database.url, "--dry-run", "--writers-stopped")

    assert done.status == 0, done
    assert "open  nobody follows: this command does" in done.out
    assert "SHUT" not in done.out
    assert "decide" in done.out
    assert database.one(f'SELECT count(*) FROM "{database.location.schema}".journal') == before


def test_without_a_runner_the_verbs_do_it_themselves(terminal: Terminal, root: Path, database: Database):
    """Files that were still, a cut-over, what SQL writes, the way back, and once more to the end."""
    schema = database.location.schema
    assert typed(terminal, "start", "--once", root, database.url).status == 0
    verb = ("--store", database.url, "--writers-stopped")
    assert typed(terminal, "cutover", *verb).status == 0
    database.run(f"""SELECT "{schema}".append('{LOG.decode()}', '{{"id":"by sql"}}' || chr(10))""")
    assert typed(terminal, "rollback", *verb).status == 0
    assert (root / LOG.decode()).read_bytes() == b'{"id":"first"}\n{"id":"by sql"}\n'
    refused = typed(terminal, "finish", "--store", database.url)
    assert refused.status == 7, refused
    assert typed(terminal, "cutover", *verb).status == 0
    assert typed(terminal, "finish", "--store", database.url).status == 0
    assert typed(terminal, "start", root, database.url).status == 7
    with Writer(bytes(root), database.url) as writer:
        writer.append(LOG, b'{"id":"last"}\n')
    assert database.one(f"""SELECT count(*) FROM "{schema}".events WHERE id = 'last'""") == 1


def test_a_writer_of_files_that_follow_a_database_finds_the_database(terminal: Terminal, database: Database, tmp_path: Path):
    """No authority was ever handed over there: the files say whose they are from their first copy on, and so after a cut-over."""
    files, query = tmp_path / "files", "SELECT count(*) FROM events WHERE id = 'by writer'"
    new_tree(database)
    database.run(f"SELECT {database.location.schema}.put('sessions/s1.json', '{{}}'::text)")
    process = follower(terminal, database.url, files, database)
    with Writer(bytes(files), database.url) as writer:
        writer.append(LOG, b'{"id":"by writer"}\n')
        assert database.one(query) == 1
        wait_for("the line in the files", (files / LOG.decode()).exists, 30)
        done = typed(terminal, "cutover", "--store", database.url, "--writers-stopped", "--hold-max", "10s")
        assert done.status == 0, done
        writer.append(LOG, b'{"id":"by writer"}\n')
    assert (files / LOG.decode()).read_bytes().count(b"by writer") == 2
    wait_for("the line in the database", lambda: database.one(query) == 2, 30)
    quiet(process)


def test_a_writer_with_an_old_epoch_is_refused(terminal: Terminal, root: Path, database: Database):
    """On the side that it knew, and on the other."""
    assert typed(terminal, "start", "--once", root, database.url).status == 0
    verb = ("--store", database.url, "--writers-stopped")
    assert typed(terminal, "cutover", *verb).status == 0
    with Writer(bytes(root), database.url, epoch=1) as writer, pytest.raises(Fenced):
        writer.append(LOG, b"{}\n")
    assert typed(terminal, "rollback", *verb).status == 0
    with Writer(bytes(root), database.url, epoch=1) as writer, pytest.raises(Fenced):
        writer.append(LOG, b"{}\n")
    assert (root / LOG.decode()).read_bytes() == b'{"id":"first"}\n'


def test_a_roll_back_before_the_cut_over_leaves_the_source_and_says_what_stays(
    terminal: Terminal, root: Path, database: Database
):
    assert typed(terminal, "start", "--once", root, database.url).status == 0
    done = typed(terminal, "rollback", "--store", database.url)

    assert done.status == 0, done
    assert "is as it was" in done.out
    assert " keeps 2 entries, " in done.out
    assert phase(database) == "rolled-back"


def test_validation_after_a_cut_over_takes_the_database_at_its_word(terminal: Terminal, root: Path, database: Database):
    """A rogue write in the retired files is the difference, and is what --repair mends."""
    assert typed(terminal, "start", "--once", root, database.url).status == 0
    assert typed(terminal, "cutover", "--store", database.url, "--writers-stopped").status == 0
    session = root / "sessions/s1.json"
    before = session.read_bytes()
    session.write_bytes(b'{"id":"rogue"}')
    found = typed(terminal, "validate", "--store", database.url)
    value = json.loads(typed(terminal, "validate", root, database.url, "--json").out)
    mended = typed(terminal, "validate", "--store", database.url, "--repair")

    assert found.status == 3, found
    assert "sessions/s1.json" in found.out
    assert f"--repair   # mends file://{root}\n" in found.out
    assert (value["source"], value["target"]) == (parse(database.url).url, f"file://{root}")
    assert mended.status == 0, mended
    assert session.read_bytes() == before
    assert database.one(f"""SELECT count(*) FROM "{database.location.schema}".sessions WHERE id = 'rogue'""") == 0


def test_while_one_direction_waits_for_its_rate_a_status_shows_both(terminal: Terminal, root: Path, database: Database):
    """One process brings both: the other one falls behind meanwhile, and is not said to be in step."""

    def behind() -> int:
        return int(json.loads(typed(terminal, "status", "--store", database.url, "--json").out)["lag"]["entries"])

    with following(terminal, root, database):
        done = typed(terminal, "cutover", "--only", "events", "--store", database.url, "--writers-stopped")
        assert done.status == 0, done
        assert typed(terminal, "throttle", "--store", database.url, "--rate-limit", "0.5").status == 0
        with Writer(bytes(root), database.url) as writer:
            writer.append(LOG, b"".join(b'{"id":"%d"}\n' % number for number in range(60)))
        wait_for("the log waits for its turn", lambda: behind() == 1, 30)
        for number in range(3):
            (root / f"sessions/late{number}.json").write_bytes(b"{}")
        wait_for("the sessions are behind as well", lambda: behind() >= 4, 30)
        assert typed(terminal, "throttle", "--store", database.url, "--rate-limit", "none").status == 0
        wait_for("both are in step", lambda: behind() == 0, 60)


def test_kinds_are_cut_over_one_after_another(terminal: Terminal, root: Path, database: Database):
    """The events first: they are followed out of the database, while the sessions still are followed into it."""
    schema, session = database.location.schema, root / "sessions/s1.json"

    def hand_over(*words: str) -> None:
        done = typed(terminal, *words, "--store", database.url, "--writers-stopped")
        assert done.status == 0, done

    with following(terminal, root, database):
        hand_over("cutover", "--only", "events")
        session.write_bytes(b'{"id":"s1","status":"failed"}')
        with Writer(bytes(root), database.url) as writer:
            writer.append(LOG, b'{"id":"second"}\n')
            writer.append(b"events/r/new/events-2.jsonl", b'{"id":"third"}\n')
            writer.put(b"sessions/s2.json", b'{"id":"s2"}')
        assert (root / "sessions/s2.json").exists()
        wait_for("events in the files", (root / "events/r/new/events-2.jsonl").exists, 30)
        wait_for("the log in the files", lambda: (root / LOG.decode()).read_bytes().count(b"second") == 1, 30)
        query = f"""SELECT count(*) FROM "{schema}".sessions WHERE status = 'failed' OR id = 's2'"""
        wait_for("the sessions in the database", lambda: database.one(query) == 2, 30)
        hand_over("cutover")
        database.run(f"""SELECT "{schema}".put('sessions/s1.json', '{{"id":"s1","status":"done"}}')""")
        wait_for("the session in the files", lambda: b"done" in session.read_bytes(), 30)
        hand_over("rollback", "--only", "sessions")
        hand_over("rollback")
        assert database.all(f'SELECT DISTINCT authority FROM "{schema}".routes') == [("elsewhere",)]
    assert typed(terminal, "start", "--once", root, database.url).status == 0
    assert typed(terminal, "cutover", "--only", "nonsense", "--store", database.url).status == 1


def test_what_follows_in_reverse_is_ready_again(terminal: Terminal, root: Path, database: Database):
    """In step and verified, as before the cut-over: whoever waits to roll back waits for that."""
    with following(terminal, root, database):
        assert typed(terminal, "cutover", "--store", database.url, "--writers-stopped", "--timeout", "1m").status == 0
        ready = typed(terminal, "status", "--store", database.url, "--wait-for", "ready", "--timeout", "60s")
        assert ready.status == 0, ready
