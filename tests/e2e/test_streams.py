"""Standard streams that nobody reads, that are full, or closed: what a verb does is the same, and so is how it ends."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from crossfade.console.commands import start as start_verb
from support.person import Person, refused, said
from support.pipes import full_pipe
from support.running import Run, Terminal, finish, kill_group, wait_for
from support.servers import Database

LOST = "error[CF215]: the output could not be written: no space left on device\n  try: "
DRIFTED = (
    "INSERT INTO drift (migration_id, side, path, key, kind, class, type, size, mtime_ns, ctime_ns, inode)"
    " SELECT migration_id, 'target', path, key, kind, 'changed', 'file', 7, 0, 0, 0 FROM migrations, entries WHERE type = 'file'"
)
HELD = (
    "INSERT INTO quarantine (migration_id, path, key, kind, size, code)"
    " SELECT migration_id, path, key, kind, size, '23514' FROM migrations, entries WHERE path LIKE 'sessions/%'"
)
ALTERED = (
    "CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.status := 'Odd'; RETURN NEW; END $$",
    "CREATE TRIGGER meddle BEFORE INSERT ON sessions FOR EACH ROW EXECUTE FUNCTION meddle()",
)


@pytest.fixture
def moved(person: Person, tiny: Path, database: Database) -> str:
    """The id of a finished migration of *tiny* into *database*."""
    return str(person.asks("start", tiny, database.url, "--once")["migration"])


@contextmanager
def unread() -> Iterator[int]:
    """A pipe that nobody reads any more."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


@contextmanager
def full() -> Iterator[int]:
    """A file on a disk without room."""
    file = os.open("/dev/full", os.O_WRONLY)
    yield file
    os.close(file)


@contextmanager
def stuck() -> Iterator[int]:
    """One that has no room, and does not wait for any."""
    with full_pipe() as (_, writer):
        yield writer


def into(terminal: Terminal, stream: Any, *words: object) -> Run:
    """*words*, with what ``stream()`` opens for stdout."""
    with stream() as number:
        done = finish(terminal.popen(*words, stdout=number))
    assert "Traceback" not in done.err, done
    return done


def without(terminal: Terminal, *numbers: int) -> Any:
    """How to give a command without these streams, as ``>&-`` does."""

    def run(*words: object) -> Run:
        done = finish(terminal.popen(*words, preexec_fn=lambda: [os.close(number) for number in numbers]))
        assert "Traceback" not in done.err + done.out, done
        return done

    return run


def statuses(terminal: Terminal, stream: Any, verbs: dict[str, tuple[object, ...]]) -> dict[str, int]:
    return {name: into(terminal, stream, *words).status for name, words in verbs.items()}


@pytest.mark.parametrize("stream", [unread, full])
def test_what_was_found_is_the_status_whoever_reads_it(
    terminal: Terminal, person: Person, tiny: Path, database: Database, moved: str, stream: Any
):
    """``validate | head`` is no way to a 0 where something differs."""
    (tiny / "sessions" / "two.json").write_text('{"id": "two", "status": "Running"}\n')
    database.run(DRIFTED, HELD, *ALTERED)
    database.run("ALTER TABLE journal DISABLE TRIGGER USER", "UPDATE journal SET reason = 'another' WHERE seq = 1")
    verbs: dict[str, tuple[object, ...]] = {
        "start": ("start", tiny, database.url, "--once", "--json"),
        "validate": ("validate", moved),
        "validate --json": ("validate", moved, "--json"),
        "drift": ("drift", moved, "list"),
        "drift --json": ("drift", moved, "list", "--json"),
        "quarantine": ("quarantine", moved, "list"),
        "audit": ("audit", moved, "--verify", "--json"),
        "cutover": ("cutover", moved, "--dry-run"),
    }
    expected = dict(zip(verbs, (3, 3, 3, 3, 3, 4, 3, 7), strict=True))
    assert {name: person.types(*words).status for name, words in verbs.items()} == expected
    assert statuses(terminal, stream, verbs) == expected


def test_a_run_whose_report_nobody_reads_has_not_failed(terminal: Terminal, tiny: Path, database: Database):
    """Neither to whoever asks for its status, nor to the journal."""
    done = into(terminal, unread, "start", tiny, database.url, "--once")

    assert done.status == 0, done
    assert "error" not in done.err
    assert database.one("SELECT count(*) FROM journal WHERE event = 'failed'") == 0
    assert database.one("SELECT count(*) FROM journal WHERE event = 'proved'") == 1


def test_a_report_that_finds_no_room_is_no_success_and_is_told_as_what_it_is(
    terminal: Terminal, tiny: Path, database: Database
):
    """The target has room enough, and holds all of it."""
    done = into(terminal, full, "start", tiny, database.url, "--once", "--json")

    assert done.status == 2, done
    assert LOST in done.err
    assert "CF207" not in done.err
    assert database.one("SELECT count(*) FROM journal WHERE event = 'failed'") == 0
    for words in (("list",), ("--help",), ("--version",), ("layouts",), ("audit", tiny, database.url)):
        done = into(terminal, full, *words)
        assert done.status == 2, done
        assert LOST in done.err


ONE_BY_ONE = """
from crossfade.console.main import run
from crossfade.store.backends.postgres import drift

drift.PAGE = 1
run()
"""


def test_what_is_dealt_with_is_dealt_with_whoever_reads_of_it(terminal: Terminal, database: Database, moved: str):
    """All of it, and not what comes before the pipe is found to be closed. These two changed since they were seen."""
    database.run(DRIFTED)
    with unread() as number:
        done = finish(terminal.popen("drift", moved, "ignore", stdout=number, program=ONE_BY_ONE))
    assert done.status == 3, done
    assert "0 items dealt with, 2 items left open" in done.err
    assert database.one("SELECT count(*) FROM drift WHERE outcome <> ''") == 2


def test_a_listing_that_nobody_reads_any_more_is_over(terminal: Terminal, database: Database, moved: str):
    """One that has no end, first of all."""
    database.run("UPDATE migrations SET phase = 'interrupted'")
    for words in (("status", moved, "--watch"), ("audit", moved)):
        done = into(terminal, unread, *words)
        assert done.status == 0, done
        assert "error" not in done.err


def test_whoever_waits_for_a_phase_waits_for_it_though_nobody_reads(terminal: Terminal, database: Database, moved: str):
    done = into(terminal, unread, "status", moved, "--watch", "--wait-for", "finished", "--timeout", "3s")

    assert done.status == 2, done
    assert "error[CF214]" in done.err


def test_streams_that_are_closed_are_nobody(terminal: Terminal, tiny: Path, database: Database):
    """What is said goes into no value, and no socket gets the number of a stream."""
    quiet = without(terminal, 2)
    done = quiet("start", tiny, database.url, "--once", "--workers", "2", "--json")
    assert done.status == 0, done
    assert said(done)["state"] == "copied"
    for words in (("validate", "--json"), ("status", "--json")):
        done = quiet(words[0], tiny, database.url, *words[1:])
        assert (done.status, said(done)["state"]) == (0, "equal" if words[0] == "validate" else "copied")
    for numbers in ((1,), (0, 1, 2)):
        done = without(terminal, *numbers)("status", tiny, database.url)
        assert (done.status, done.out) == (0, ""), done
    (tiny / "sessions" / "two.json").write_text("{}")
    assert without(terminal, 0, 1, 2)("validate", tiny, database.url).status == 3


IMPATIENT = """
from crossfade.console import streams
from crossfade.console.main import run

streams._ROOM_SECONDS = 0.5
run()
"""


@pytest.mark.parametrize("stream", [full, stuck])
def test_a_log_without_room_stops_nobody(terminal: Terminal, tiny: Path, database: Database, stream: Any):
    """Who follows goes on following; what it would have said is lost."""
    with stream() as number:
        process = terminal.popen("start", tiny, database.url, "--cpu-max", "100", stderr=number, program=IMPATIENT)
        try:
            table = f"{database.location.schema}.migrations"
            phase = "SELECT max(phase) FROM migrations"
            is_there = lambda: database.one("SELECT to_regclass(%s)", table) and database.one(phase) == "following"  # noqa: E731
            wait_for("a follower", is_there, 60)
            (tiny / "sessions" / "two.json").write_text('{"id": "two"}')
            wait_for("what was written", lambda: database.one("SELECT count(*) FROM sessions") == 2)
            process.terminate()
            assert finish(process, 60).status == 0
        finally:
            kill_group(process)


def test_talk_that_nobody_listens_to_is_no_reason_to_call_it_equal(terminal: Terminal, database: Database, moved: str):
    """``validate 2>&1 | true``: it compares to the end, and says by its status what it found."""
    database.run("UPDATE entries SET mode = 384 WHERE type = 'file'")
    with unread() as number:
        process = terminal.popen("validate", moved, stdout=number, stderr=subprocess.STDOUT)
        assert finish(process).status == 3


def test_a_pipe_that_breaks_elsewhere_is_a_failure(person: Person, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """To a process of ours that is gone, say: not everything that breaks was somebody who had read enough."""

    def broken(*_: object, **__: object) -> int:
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr(start_verb, "start_once", broken)
    sentence, _ = refused(person.types("start", tmp_path, "memory:", "--once"), "CF206", 2)
    assert sentence == "the system refused: Broken pipe"
