"""Limits from the command line: of the processors, and of the rate, for a copy and while following; also when they are changed."""

from __future__ import annotations

import os
import resource
import threading
import time
from contextlib import AbstractContextManager
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from crossfade.migrate.follow.live import Live
from crossfade.migrate.governor import Governor
from crossfade.migrate.plan import Manner
from crossfade.migrate.prepare import Request, prepared
from crossfade.migrate.throttle.gate import PAUSE_SECONDS_MAX
from crossfade.migrate.throttle.machine import cpu_seconds_of, cpus
from crossfade.observe.progress import Progress
from crossfade.store.backends.postgres.ledger import Ledger
from crossfade.store.location import parse
from crossfade.testing import prodigy
from support.following import following, stopped_at_the_end
from support.person import Person, refused, said
from support.running import Terminal, finish, kill_group, meanwhile, wait_for
from support.servers import Database


def _status(person: Person, store: Path, database: Database) -> dict[str, Any]:
    return dict(person.asks("status", store, database.url))


def _is_held_back(person: Person, store: Path, database: Database) -> bool:
    run = person.types("status", store, database.url, "--json")
    return run.status == 0 and said(run)["throttle"]["active"]


@pytest.fixture(scope="module")
def large_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some seconds of work: what it costs to begin does not count."""
    root = tmp_path_factory.mktemp("large") / "prodigy"
    prodigy.write_logs(str(root), events=80_000, logs=40)
    return root


@pytest.mark.parametrize("workers", [2])
def test_a_copy_keeps_to_its_part_of_the_processors(terminal: Terminal, large_store: Path, database: Database, workers: int):
    """By the kernel's counts of all its processes; the report's own figures agree, and tell what the server used."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run = terminal.run("start", large_store, database.url, "--once", "--json", "--workers", workers, "--cpu-max", 15)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    report = said(run)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    overhead, seconds = report["overhead"], report["duration_seconds"]
    print(f"{used:.2f} s of {seconds:.2f} s on {cpus():g}; {overhead}; held back {report['throttle']['seconds_total']} s")

    assert run.status == 0, run
    starting = 1.0 * (1 + workers)  # interpreters, before anybody can hold them back
    assert used <= 0.15 * cpus() * run.seconds * 1.1 + starting
    is_crowded = (
        used < 0.8 * 0.15 * cpus() * run.seconds
    )  # others left it less than its part, so there was nothing to hold back
    assert report["throttle"]["seconds_total"] > 1 or is_crowded
    assert overhead["cpus"] == cpus()
    assert 0 < overhead["cpu_percent"] <= 20
    assert overhead["postgres_cpu_percent"] > 0
    assert overhead["cpu_percent"] / 100 * cpus() * seconds == pytest.approx(used, abs=starting)
    assert overhead["not_seen"] == []


def test_a_ceiling_has_to_be_a_share(person: Person, tiny: Path, database: Database):
    """Nothing at all, or more than the machine has, is no ceiling."""
    for percent in ("0", "101", "-1"):
        refused(person.types("start", tiny, database.url, "--once", "--cpu-max", percent), "CF103", 1)
    assert person.moves(tiny, database.url, "--cpu-max", 100).status == 0


def test_a_rate_is_changed_while_the_copy_runs(terminal: Terminal, person: Person, long_store: Path, database: Database):
    """Wished from elsewhere: the workers hear of it in the middle of their wait, and the journal says who wished what."""
    process = terminal.popen("start", long_store, database.url, "--once", "--workers", 2, "--rate-limit", "200", "--json")
    wait_for("it is held back", lambda: _is_held_back(person, long_store, database))
    migration = _status(person, long_store, database)["migration"]
    assert _status(person, long_store, database)["throttle"]["reason"] == "--rate-limit, 200 records/s"
    ledger = Ledger(database.server, database.location.schema)
    assert ledger.wishes(migration) == {
        "records_per_second": 200.0,
        "bytes_per_second": 0.0,
        "cpu_max": None,
        "once": True,
        "error_budget": {"share": 0.001, "items": 100, "fail_fast": False},
        "merge": False,
        "delete_extra": False,
        "skip_unreadable": False,
    }
    ledger.wish(migration, {"records_per_second": 50_000.0})
    done = finish(process, 60)
    ledger.close()

    assert done.status == 0, done
    assert said(done)["duration_seconds"] < 50, "at 200 a second it would take more than a minute and a half"
    (wished,) = [line for line in person.asks("audit", migration)["lines"] if line["event"] == "wished"]
    assert wished["detail"] == {"records_per_second": 50_000.0}


def test_a_wish_is_for_the_run_that_hears_it(terminal: Terminal, person: Person, tiny: Path, database: Database):
    """The next command says for itself how fast it may go."""
    person.moves(tiny, database.url, "--rate-limit", "100")
    migration = _status(person, tiny, database)["migration"]
    ledger = Ledger(database.server, database.location.schema)
    ledger.wish(migration, {"records_per_second": 1.0})
    person.moves(tiny, database.url)
    assert ledger.wishes(migration)["records_per_second"] == 0.0
    ledger.close()


def test_who_waits_for_a_hand_over_waits_for_no_processors(
    terminal: Terminal, person: Person, database: Database, tmp_path: Path
):
    """A follower that owes the machine minutes of rest heeds an order at once; until then, its status says how far it falls behind."""
    sessions = tmp_path / "live/sessions"
    sessions.mkdir(parents=True)
    runner = following(terminal, tmp_path / "live", database)
    try:
        assert person.types("throttle", tmp_path / "live", database.url, "--cpu-max", "1").status == 0
        time.sleep(1.5)  # a wish is heard within a second
        for number in range(1000):
            (sessions / f"{number}.json").write_text(f'{{"id": "{number}"}}')
        wait_for("it is held back", lambda: _is_held_back(person, tmp_path / "live", database))
        wait_for("its lag", lambda: _status(person, tmp_path / "live", database)["lag"]["seconds"] > 8)
        done = person.types("cutover", tmp_path / "live", database.url, "--writers-stopped", "--timeout", "20")
        assert done.status == 0, done
    finally:
        kill_group(runner)
    assert database.one("SELECT count(*) FROM sessions") == 1000


class Log:
    """A log of *root* that a program appends to, and what the database has of it."""

    def __init__(self, root: Path, database: Database) -> None:
        self._file = next(root.glob("events/**/*.jsonl"))
        self._database = database
        self.lines = self._file.read_bytes().count(b"\n")

    def append(self, lines: int) -> None:
        """At once."""
        with self._file.open("ab", 0) as file:
            file.write(b'{"id": 1}\n' * lines)
        self.lines += lines

    @property
    def rows(self) -> int:
        """How many of its lines have arrived."""
        return int(str(self._database.one("SELECT count(*) FROM events")))


def test_a_follower_keeps_to_its_rate_and_a_change_is_felt_within_a_second(
    terminal: Terminal, person: Person, tiny: Path, database: Database
):
    """Held back for a minute, it is freed in the middle of its wait: within a second in the median of some rounds, on a machine that
    has more to do, and within five always.
    """
    log = Log(tiny, database)
    with stopped_at_the_end(following(terminal, tiny, database, "--rate-limit", "250")):
        began = time.monotonic()
        log.append(1_000)
        wait_for("a thousand lines", lambda: log.rows == log.lines, 60)
        seconds = time.monotonic() - began
        freed = [_freed_seconds(person, tiny, log, database) for _ in range(3)]
    print(f"1,000 lines at 250 a second: {seconds:.2f} s; freed within {freed} s")
    assert seconds > 3
    assert median(freed) < 1
    assert max(freed) < 5


def _freed_seconds(person: Person, root: Path, log: Log, database: Database) -> float:
    """Have it held back by a rate, then take the rate away: after how long something moves again, and then all comes."""

    def is_held_back() -> bool:
        log.append(100)  # what comes before the rate is heard of is not held back
        return "--rate-limit, 5 records/s" in str(_status(person, root, database)["throttle"]["reason"])

    person.types("throttle", root, database.url, "--rate-limit", "5")
    wait_for("it is held back", is_held_back)
    held = log.rows
    assert held < log.lines
    began = time.monotonic()
    assert person.types("throttle", root, database.url, "--rate-limit", "none").status == 0
    wait_for("it moves", lambda: log.rows > held)
    seconds = time.monotonic() - began
    wait_for("the rest, for which the rate would want a minute", lambda: log.rows == log.lines)
    return seconds


def test_a_follower_keeps_to_its_part_of_the_processors(terminal: Terminal, person: Person, tiny: Path, database: Database):
    """With a program that gives it more to do than that. It rests a moment at a time, so that it may be ahead by what is owed at most.

    Listening to what the program does has no ceiling, or it would be missed: a part of a percent.
    """
    part = 0.05 * cpus()
    process = following(terminal, tiny, database)
    with stopped_at_the_end(process), _rewritten(tiny):
        assert person.types("throttle", tiny, database.url, "--cpu-max", "5").status == 0
        wait_for("it is held back", lambda: _is_held_back(person, tiny, database))
        began, used = time.monotonic(), cpu_seconds_of(process.pid)
        time.sleep(10)
        seconds, used = time.monotonic() - began, cpu_seconds_of(process.pid) - used
    print(f"{used:.2f} s of {seconds:.2f} s, its part is {part * seconds:.2f} s")
    assert used <= part * (seconds + PAUSE_SECONDS_MAX) * 1.1


def test_a_follower_lets_others_go_first(terminal: Terminal, tiny: Path, database: Database):
    """Where processors are short the kernel goes by that, for each thread by itself."""
    process = following(terminal, tiny, database)
    with stopped_at_the_end(process):
        threads = [
            stat.read_bytes().rpartition(b")")[2].split() for stat in Path("/proc").glob(f"{process.pid}/task/*/stat")
        ]
    assert {int(fields[16]) for fields in threads} == {max(10, os.nice(0))}


def _rewritten(root: Path) -> AbstractContextManager[None]:
    """A program that rewrites documents, one after another, without end."""

    def rewrite(number: int) -> None:
        (root / f"sessions/{number % 500}.json").write_text(f'{{"id": "{number}", "pad": "{"x" * 5000}"}}')

    return meanwhile(rewrite, 0.001)


def test_a_follower_knows_when_it_was_done_with_its_last_page(
    monkeypatch: pytest.MonkeyPatch, database: Database, tiny: Path, tmp_path: Path
):
    """What passed since then was its rest."""
    turns: list[float] = []
    turn = Governor.turn

    def noted(self: Governor, *amounts: int, **how: Any) -> None:
        turns.append(time.monotonic() - how.get("last_page_at", -1e9))
        turn(self, *amounts, **how)

    monkeypatch.setattr(Governor, "turn", noted)
    stop = threading.Event()

    def watch(progress: Progress) -> None:
        if progress.step == "following":
            (tiny / f"sessions/session-{len(turns)}.json").write_text("{}")
        if sum(passed < 60 for passed in turns) >= 2:
            stop.set()

    with prepared(Request(parse(str(tiny)), parse(database.url), manner=Manner(workers=1))) as run:
        Live(run, watch=watch, stop=stop, grace_seconds=5.0).follow()
    assert sum(passed < 60 for passed in turns) >= 2
