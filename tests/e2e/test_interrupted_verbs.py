"""A Ctrl-C in the middle of a verb that changes something: what was asked for stands, and nobody is told that nothing was changed."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from crossfade.console.commands import demo as demo_verb
from crossfade.console.commands import doctor as doctor_verb
from crossfade.console.commands import quarantine as quarantine_verb
from crossfade.console.commands import repair as repair_verb
from crossfade.migrate.prepare import Run as Prepared
from crossfade.store.backends.embedded import Orphan
from support.following import following
from support.person import Person, refused
from support.running import Terminal, finish, kill_group, wait_for
from support.servers import Database

MAY_STAND = "stopped; what was asked for before may stand"
DRIFTED = (
    "INSERT INTO drift (migration_id, side, path, key, kind, class, type, size, mtime_ns, ctime_ns, inode)"
    " SELECT migration_id, 'target', path, key, kind, 'changed', 'file', 7, 0, 0, 0 FROM migrations, entries"
    " WHERE path = 'sessions/one.json'"
)
HELD = (
    "INSERT INTO quarantine (migration_id, path, key, kind, entry_id, pos, size, code)"
    " SELECT migration_id, path, key, kind, entry_id, 0, size, '23514' FROM migrations, entries WHERE form = 'log'"
)


@pytest.fixture
def moved(person: Person, tiny: Path, database: Database) -> str:
    """The id of a finished migration of *tiny* into *database*."""
    return str(person.asks("start", tiny, database.url, "--once")["migration"])


@pytest.fixture
def sleeper(terminal: Terminal, tiny: Path, database: Database) -> Iterator[subprocess.Popen[bytes]]:
    """A follower that has arrived, and hears nothing more. It holds on to no lock."""
    process = following(terminal, tiny, database)
    wait_for("a moment between two transactions", lambda: stops(process, database))
    yield process
    kill_group(process)


def stops(process: subprocess.Popen[bytes], database: Database) -> bool:
    """Stop *process*, unless it is in a transaction."""
    os.killpg(process.pid, signal.SIGSTOP)
    busy = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE %s AND state <> 'idle'"
    if database.one(busy, "crossfade%") == 0:
        return True
    os.killpg(process.pid, signal.SIGCONT)
    return False


def interrupted(terminal: Terminal, database: Database, words: tuple[object, ...], wished: str) -> str:
    """What is advised where *words* are interrupted once *wished*, a query, says that it stands."""
    asked = terminal.popen(*words, "--store", database.url)
    wait_for("a wish", lambda: database.one(wished) or asked.poll() is not None)
    asked.send_signal(signal.SIGINT)
    sentence, hint = refused(finish(asked, 30), "CF601", 6)

    assert sentence == MAY_STAND
    return hint


@pytest.mark.parametrize(
    ("words", "before", "wished"),
    [
        (("pause",), "SELECT 1", "SELECT count(*) FROM migrations WHERE wanted ->> 'state' = 'paused'"),
        (("drift", "ignore"), DRIFTED, "SELECT count(*) FROM drift WHERE wish = 'ignore'"),
    ],
)
def test_who_stops_waiting_for_a_runner_hears_that_the_wish_may_stand(
    terminal: Terminal,
    person: Person,
    database: Database,
    sleeper: subprocess.Popen[bytes],
    words: tuple[str, ...],
    before: str,
    wished: str,
):
    """Its runner sleeps, and will do it when it wakes."""
    database.run(before)
    hint = interrupted(terminal, database, words, wished)

    assert database.one(wished) == 1
    looked = person.types(*shlex.split(hint)[1:])
    assert looked.status == 0, looked
    assert "state " in looked.out


def test_who_has_not_asked_for_anything_yet_hears_that_nothing_was_changed(
    person: Person, database: Database, moved: str, monkeypatch: pytest.MonkeyPatch
):
    from crossfade.console.commands import pause

    def look(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pause, "look_again", look)
    sentence, hint = refused(person.types("pause", moved), "CF601", 6)
    assert (sentence, hint) == ("stopped before anything was changed", f"crossfade pause {moved}")


def test_a_replay_that_is_interrupted_has_placed_what_it_has_placed(
    person: Person, database: Database, moved: str, monkeypatch: pytest.MonkeyPatch
):
    def stopped(*_: object) -> bool:
        raise KeyboardInterrupt

    database.run(HELD)
    monkeypatch.setattr(quarantine_verb, "_replay", stopped)
    sentence, hint = refused(person.types("quarantine", moved, "replay"), "CF601", 6)
    assert (sentence, hint) == (MAY_STAND, f"crossfade status {moved}")


def test_a_repair_is_done_to_its_end(
    person: Person, tiny: Path, database: Database, moved: str, monkeypatch: pytest.MonkeyPatch
):
    """The first Ctrl-C does not cut through what completes a hand-over."""
    complete, completed = repair_verb.complete, []

    def completing(run: Prepared) -> object:
        signal.raise_signal(signal.SIGINT)
        completed.append(complete(run))
        return completed[-1]

    monkeypatch.setattr(repair_verb, "complete", completing)
    done = person.types("repair", moved)
    assert done.status == 0, done
    assert completed == [[]]


def test_a_doctor_who_is_interrupted_may_have_stopped_a_server(person: Person, monkeypatch: pytest.MonkeyPatch):
    def stopped(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(doctor_verb, "orphans", lambda: [Orphan("/nowhere", 1, 0)])
    monkeypatch.setattr(doctor_verb, "stop_orphan", stopped)
    sentence, hint = refused(person.types("doctor", "--stop-orphans"), "CF601", 6)
    assert (sentence, hint) == ("stopped; a server that was told to stop may do so yet", "crossfade doctor")


def test_an_interrupted_demo_begins_anew_beside_what_it_has_made(
    person: Person, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Its directory keeps that, and is refused from then on, with the same advice."""
    (tmp_path / "demo-2").mkdir()

    def building(root: str, **_: object) -> None:
        os.makedirs(root)
        raise KeyboardInterrupt

    monkeypatch.setattr(demo_verb.prodigy, "build", building)
    run = person.types("demo", tmp_path / "demo", "--events", "3")
    assert run.status == 6, run
    assert f"error[CF601]: stopped; {tmp_path}/demo keeps what was made until then" in run.err
    hint = run.err.rsplit("\n  try: ", 1)[1].strip()
    assert hint == f"crossfade demo {tmp_path}/demo-3 --events 3"
    assert refused(person.types("demo", tmp_path / "demo", "--events", "3"), "CF103", 1)[1] == hint
