"""A follower that is told to stop brings over what it can within its grace, says what it could not, and exits 0."""

from __future__ import annotations

import mmap
import re
import signal
import time
from pathlib import Path

import pytest

from support.following import following
from support.person import Person, said
from support.running import Terminal, finish, kill_group, once_each, wait_for
from support.servers import Database

FILES = 300


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A live tree."""
    root = tmp_path / "live"
    (root / "sessions").mkdir(parents=True)
    (root / "sessions/one.json").write_text('{"id":"one"}')
    return root


def write_much(root: Path) -> None:
    """In the last moment; of what is changed through mapped memory, no file system ever tells."""
    with (root / "sessions/one.json").open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        mapped[7:10] = b"two"
        mapped.flush()
    for number in range(FILES):
        (root / f"sessions/{number}.json").write_text(f'{{"id":"{number}"}}')


def test_what_was_written_in_the_last_moment_is_brought_over(
    terminal: Terminal, person: Person, root: Path, database: Database
):
    """A volume may vanish with the container, so all is looked at once more: not just what was heard of."""
    process = following(terminal, root, database)
    assert person.types("status", "--store", database.url, "--wait-for", "ready", "--timeout", "60s").status == 0
    write_much(root)
    process.send_signal(signal.SIGTERM)
    done = finish(process)

    assert done.status == 0, done
    assert "stopped; all is in step" in done.err
    assert re.search(r"took \d+ % of \d+ processors", done.err), done.err
    with database.connect() as connection:
        once_each(connection, database.location.schema, root)
    assert database.one("SELECT count(*) FROM sessions") == FILES + 1
    assert database.one("SELECT count(*) FROM sessions WHERE id = 'two'") == 1


def test_what_does_not_fit_into_the_grace_is_said_and_found_again(
    terminal: Terminal, person: Person, root: Path, database: Database
):
    """Nothing of it is lost, and the exit status is that of an order that was carried out."""
    process = following(terminal, root, database, "--grace", "0s")
    write_much(root)
    process.send_signal(signal.SIGTERM)
    done = finish(process)

    assert done.status == 0, done
    assert "not all of it was looked at once more: the next run goes on there" in done.err
    assert "not all of it was looked at" in database.one("SELECT reason FROM journal WHERE event = 'stopped'")
    person.moves(root, database.url)
    with database.connect() as connection:
        once_each(connection, database.location.schema, root)


@pytest.mark.parametrize("verb", ["start", "resume"])
def test_a_follower_ends_with_a_value_for_programs(
    terminal: Terminal, person: Person, root: Path, database: Database, verb: str
):
    """What it has cost stands there, and in the journal; nothing else is on stdout."""
    process = following(terminal, root, database, "--json")
    if verb == "resume":
        process.send_signal(signal.SIGTERM)
        assert finish(process).status == 0
        process = terminal.popen("resume", "--store", database.url, "--json")
    (root / "sessions/two.json").write_text('{"id":"two"}')
    wait_for("what was written", lambda: database.one("SELECT count(*) FROM sessions") == 2)
    process.send_signal(signal.SIGTERM)
    done = finish(process)
    value = said(done)

    assert done.status == 0, done
    assert (value["schema_version"], value["state"], value["left"]) == (1, "interrupted", "")
    assert value["reason"].startswith("stopped")
    assert value["brought"]["bytes"] >= len('{"id":"two"}')
    assert value["duration_seconds"] > 0
    assert value["throttle"]["active"] is False
    assert value["overhead"]["cpu_percent"] > 0
    assert value["next_steps"][-1]["why"] == "continue where it stopped"
    assert f"journal head {value['head']}" in done.err
    stopped = database.one("SELECT detail::json FROM journal WHERE event = 'stopped' ORDER BY seq DESC LIMIT 1")
    assert stopped["overhead"].keys() == value["overhead"].keys()
    assert stopped["overhead"]["cpu_percent"] > 0


def test_an_interrupted_follower_ends_with_its_value_too(terminal: Terminal, root: Path, database: Database):
    """By a Ctrl-C, which is exit 6."""
    process = following(terminal, root, database, "--json")
    process.send_signal(signal.SIGINT)
    done = finish(process)

    assert done.status == 6, done
    assert said(done)["state"] == "interrupted"


def test_no_more_time_is_taken_than_the_grace(terminal: Terminal, root: Path, database: Database):
    """What is out of step without end, a line that somebody goes on writing, is given up then; all before it is there."""
    log = root / "events/r/j/events-1.jsonl"
    log.parent.mkdir(parents=True)
    log.write_bytes(b'{"id":"whole"}\n')
    process = following(terminal, root, database, "--grace", "2s")
    with log.open("ab", 0) as file:
        file.write(b'{"id":"later"}\n{"id":"')
        process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        while process.poll() is None and time.monotonic() - began < 30:
            file.write(b"x")
            time.sleep(0.05)
    seconds = time.monotonic() - began
    done = finish(process)

    assert done.status == 0, done
    assert "stopped; 1 path is still out of step" in done.err
    assert 2 <= seconds < 9, "which is nearer to what was said than to what is usual"
    assert database.all("SELECT id FROM events ORDER BY pos") == [("whole",), ("later",)]


def test_a_first_copy_that_is_told_to_stop_has_carried_out_an_order(
    terminal: Terminal, person: Person, long_store: Path, database: Database
):
    """A supervisor's SIGTERM is no failure, whenever it comes; a Ctrl-C is an interruption."""
    process = terminal.popen("start", long_store, database.url, "--rate-limit", "2000", "--cpu-max", "100")
    wait_for("the first events", lambda: rows(database), 60)
    process.send_signal(signal.SIGTERM)
    done = finish(process)
    assert done.status == 0, done
    assert "stopped; the first copy is not finished: the next run goes on there" in done.err
    kill_group(process)
    assert person.asks("status", "--store", database.url)["state"] == "interrupted"
    process = terminal.popen("start", long_store, database.url, "--rate-limit", "2000", "--cpu-max", "100")
    before = rows(database)
    wait_for("more events", lambda: rows(database) > before, 60)
    process.send_signal(signal.SIGINT)
    assert finish(process).status == 6


def rows(database: Database) -> int:
    """Events that are there, once there is a table."""
    if database.one("SELECT to_regclass(%s)", f"{database.location.schema}.events") is None:
        return 0
    return int(str(database.one("SELECT count(*) FROM events")))
