"""The verified position while following: what was applied is found in its place, or brought anew; and a proof grows old."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.following import following
from support.person import Person, said
from support.running import Terminal, finish, kill_group, meanwhile, wait_for
from support.servers import Database

LOG = "events/r/j/events-1.jsonl"
LINE = '{"id":"%d","timestamp":"2026-11-23T00:00:00Z","event":{"event_type":"x"}}\n'
BY_HAND = "SET crossfade.origin = 'by hand'"


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    return Terminal(tmp_path / "state")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "live"
    (root / LOG).parent.mkdir(parents=True)
    (root / "sessions").mkdir()
    (root / LOG).write_text("".join(LINE % number for number in range(100)))
    (root / "sessions/one.json").write_text('{"session_id":"one","status":"Running"}')
    return root


def position(database: Database) -> dict[str, Any]:
    """What the follower said last."""
    progress = database.one("SELECT progress FROM migrations")
    return dict((progress or {}).get("position") or {})


def is_verified(database: Database, applied: int = 1) -> bool:
    found = position(database)
    return bool(found) and found["applied"] >= applied and not found["unverified"]


def append(root: Path, number: int) -> None:
    with (root / LOG).open("a") as log:
        log.write(LINE % number)


@contextmanager
def writing(root: Path) -> Iterator[None]:
    """A program that writes a log all the time."""
    log = (root / LOG).with_name("events-2.jsonl").open("a", buffering=1)
    with log, meanwhile(lambda _: log.write(LINE % 0), 0.002):
        yield


def events(database: Database, event: str) -> int:
    return int(database.one("SELECT count(*) FROM journal WHERE event = %s", event))


def test_what_is_applied_is_verified_within_moments(terminal: Terminal, person: Person, root: Path, database: Database):
    """The position says how many changes, and up to when; it survives the run. A proof of the whole is renewed meanwhile.

    The first proof is that of the copy, though a program wrote under it: what moved is followed.
    """
    with writing(root):
        process = following(terminal, root, database)
    assert database.one("SELECT proved_at IS NOT NULL FROM migrations")
    before = database.one("SELECT clock_timestamp()")
    database.run("UPDATE migrations SET proved_at = clock_timestamp() + interval '1 hour'")  # a clock that was set back
    assert person.asks("status", "--store", database.url)["positions"]["verified"]["stale"]
    database.run("UPDATE migrations SET proved_at = clock_timestamp() - interval '25 hours'")
    append(root, 100)
    (root / "sessions/two.json").write_text('{"session_id":"two"}')
    (root / "sessions/one.json").unlink()

    wait_for("the changes to be verified", lambda: is_verified(database, 3), 60)
    stale = person.asks("status", "--store", database.url)
    assert stale["state"] == "following"
    assert stale["positions"]["verified"]["stale"]
    assert stale["next_steps"][0]["command"].startswith("crossfade validate")
    run = person.types("validate", root, database.url, "--jobs", "1", "--json")
    assert run.status == 0, run
    assert said(run)["state"] == "equal"
    assert database.one("SELECT proved_at > %s FROM migrations", before)
    wait_for("the state", lambda: person.asks("status", "--store", database.url)["state"] == "ready", 60)
    positions = person.asks("status", "--store", database.url)["positions"]
    assert (positions["verified"]["stale"], positions["verified"]["bytes"]) == (False, positions["applied"]["bytes"])
    assert positions["authority"]["changes"] == positions["applied"]["changes"] == positions["verified"]["changes"] >= 3
    assert "\nverified  all, " in person.types("status", "--store", database.url).out
    process.terminate()
    assert finish(process).status == 0
    assert database.one("SELECT verified_at > %s FROM migrations", before)
    assert events(database, "verification differs") == 0


def test_what_a_killed_follower_had_not_verified_is_verified_by_the_next(terminal: Terminal, root: Path, database: Database):
    """Something went wrong in the target between the two: it is noticed, noted, and brought anew."""
    process = following(terminal, root, database)
    append(root, 100)
    wait_for("the event", lambda: database.one("SELECT count(*) FROM events") == 101, 60)
    kill_group(process)
    database.run(BY_HAND, "UPDATE events SET body = '{\"id\":\"spoilt\"}' WHERE id = '7'")

    process = following(terminal, root, database)
    wait_for("the journal", lambda: events(database, "verification differs") == 1, 60)
    wait_for("what was there", lambda: database.one("SELECT count(*) FROM events WHERE body->>'id' = '7'") == 1, 60)
    wait_for("a verified position", lambda: is_verified(database), 60)
    process.terminate()
    assert finish(process).status == 0


def test_a_clock_that_was_put_back_hides_nothing_from_the_next_run(terminal: Terminal, root: Path, database: Database):
    """What was applied since bears an earlier time than the position: so all is looked at, and the position goes back as well."""
    process = following(terminal, root, database)
    append(root, 100)
    wait_for("the event", lambda: database.one("SELECT count(*) FROM events") == 101, 60)
    kill_group(process)
    database.run(
        BY_HAND,
        "UPDATE events SET body = '{\"id\":\"spoilt\"}' WHERE id = '7'",
        "UPDATE migrations SET verified_at = clock_timestamp() + interval '1 hour'",
    )

    process = following(terminal, root, database)
    wait_for("the log", lambda: database.one("SELECT count(*) FROM drift WHERE path = %s", LOG) == 1, 60)
    wait_for("a position", lambda: database.one("SELECT verified_at < clock_timestamp() FROM migrations"), 60)
    process.terminate()
    assert finish(process).status == 0


def test_what_stays_wrong_though_it_was_brought_anew_ends_the_run(terminal: Terminal, root: Path, database: Database):
    """A server that changes what it is given: no run goes on as if nothing were."""
    process = following(terminal, root, database)
    database.run(
        "CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN NEW.body := replace(NEW.body::text, 'Running', 'Paused')::json; RETURN NEW; END $$",
        "CREATE TRIGGER spoils BEFORE INSERT ON sessions FOR EACH ROW EXECUTE FUNCTION spoil()",
    )
    (root / "sessions/two.json").write_text('{"session_id":"two","status":"Running"}')
    done = finish(process, 60)

    assert done.status == 3, done
    assert "error[CF301]: sessions/two.json: " in done.err
    assert "though it was brought anew" in done.err
    assert database.one("SELECT phase FROM migrations") == "different"
    assert events(database, "verification differs") == 1
