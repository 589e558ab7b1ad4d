"""``validate`` while somebody writes and somebody follows; while nobody follows; and while the server comes and goes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from crossfade.migrate.validate import looks, validator
from support.person import Person, refused, said
from support.proxy import Proxy
from support.running import Run, Terminal, finish, kill_group, wait_for
from support.servers import Database

LOG = "events/repo/job-1/events-20251116_101500.jsonl"
CHANGING = "sessions/changing.json"

WRITER = f"""
import itertools, os, sys, time
root = sys.argv[1]
for number in itertools.count():
    with open(os.path.join(root, "{LOG}"), "a") as log:
        log.write('{{"id":"new %d"}}\\n' % number)
    with open(os.path.join(root, "{CHANGING}"), "w") as file:
        file.write('{{"session_id":"changing","status":"%d"}}' % number)
    open(os.path.join(root, "sessions", "new-%d.json" % (number % 7)), "w").write("{{}}")
    if number % 5 == 4:
        os.unlink(os.path.join(root, "sessions", "new-%d.json" % (number % 7)))
    time.sleep(0.02)
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A log of more than a segment, and documents."""
    root = tmp_path / "tree"
    for name in (LOG, CHANGING):
        (root / name).parent.mkdir(parents=True)
    (root / LOG).write_text("".join(f'{{"id":"{number:06}","pad":"{"x" * 400}"}}\n' for number in range(3_000)))
    for number in range(50):
        (root / "sessions" / f"{number}.json").write_text(f'{{"session_id":"{number}"}}')
    (root / CHANGING).write_text("{}")
    return root


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks that do not take a quarter of a minute."""
    monkeypatch.setattr(looks, "_WAITS", (0.2, 0.5, 1.0))
    monkeypatch.setattr(looks, "_LAG_SECONDS_MIN", 1.0)


@contextmanager
def _writing(tree: Path) -> Iterator[None]:
    """A program that appends, rewrites, makes and removes files, fifty times a second."""
    size = (tree / LOG).stat().st_size
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tree)])
    try:
        wait_for("its first line", lambda: (tree / LOG).stat().st_size > size)
        yield
    finally:
        writer.kill()
        writer.wait()


@contextmanager
def _following(terminal: Terminal, tree: Path, url: str, person: Person) -> Iterator[subprocess.Popen[bytes]]:
    """A runner that keeps the database in step, once it is: while it looks over all of it, it mends what a test plants."""
    runner = terminal.popen("start", tree, url, "--cpu-max", "100")  # else it gives way to the tests beside this one
    try:
        wait_for("being in step", lambda: _is_in_step(person, url), 120)
        yield runner
    finally:
        kill_group(runner)


def _is_in_step(person: Person, url: str) -> bool:
    return '"in_step": true' in person.types("status", "--store", url, "--json").out


def _validate(person: Person, tree: Path, database: Database, *options: object) -> dict[str, Any]:
    return dict(said(person.types("validate", tree, database.url, "--jobs", "1", "--json", *options)))


def test_what_is_on_its_way_is_no_difference(
    terminal: Terminal, person: Person, database: Database, tree: Path, monkeypatch: pytest.MonkeyPatch
):
    """What changes faster than anybody could look is said to be on its way; a real difference beside it is found."""
    monkeypatch.setattr(looks, "_LAG_SECONDS_MIN", 5.0)
    with _following(terminal, tree, database.url, person), _writing(tree):
        time.sleep(1.0)
        found = _validate(person, tree, database)
        assert (found["state"], found["differences"]) == ("equal", []), found
        assert set(found["moving"]) & {LOG, CHANGING}
        assert found["unasked"]

        entry = f"(SELECT entry_id FROM entries WHERE path = '{LOG}')"
        database.run(f"UPDATE events SET id = 'spoilt' WHERE pos = 0 AND entry_id = {entry}")
        found = _validate(person, tree, database)
        assert found["state"] == "different"
        assert ("column", LOG, 0) in {(each["class"], each["path"], each["offset"]) for each in found["differences"]}
    certificate = tree.parent / "made.json"
    with _following(terminal, tree, database.url, person), _writing(tree):
        person.types("validate", tree, database.url, "--jobs", "1", "--certificate", certificate)
    assert json.loads(certificate.read_text())["verdict"] in ("moving", "different")


def test_once_nobody_writes_all_of_it_is_equal(
    terminal: Terminal, person: Person, database: Database, tree: Path, monkeypatch: pytest.MonkeyPatch
):
    """And nothing is on its way."""
    monkeypatch.setattr(looks, "_WAITS", (0.2, 0.5, 1.0, 2.0, 4.0, 8.0))
    monkeypatch.setattr(looks, "_LAG_SECONDS_MIN", 10.0)
    with _following(terminal, tree, database.url, person):
        with _writing(tree):
            time.sleep(1.0)
        found = _validate(person, tree, database)
        assert (found["state"], found["moving"]) == ("equal", []), found


def test_a_follower_that_stands_still_does_not_excuse_a_difference(
    terminal: Terminal, person: Person, database: Database, tree: Path
):
    """Its lease holds for a while; but what it should have brought is older than any lag."""
    with _following(terminal, tree, database.url, person) as runner:
        runner.send_signal(signal.SIGSTOP)
        (tree / "sessions" / "1.json").write_text('{"session_id":"changed"}')
        found = _validate(person, tree, database)
        assert found["state"] == "different"
        assert {each["path"] for each in found["differences"]} >= {"sessions/1.json"}
        runner.send_signal(signal.SIGCONT)


def _at_the_first_look(monkeypatch: pytest.MonkeyPatch, deed: Callable[[], object]) -> None:
    """Once what differs is known, and before any of it is looked at again."""
    look, done = looks._look, list[object]()

    def looking(*arguments: Any) -> Any:
        if not done:
            done.append(deed() or True)
        return look(*arguments)

    monkeypatch.setattr(looks, "_look", looking)


def test_one_that_is_interrupted_while_it_looks_again_says_nothing(
    terminal: Terminal, person: Person, database: Database, tree: Path, monkeypatch: pytest.MonkeyPatch
):
    """What was to be looked at again is no difference yet: the proof stands, and the next one goes on."""
    proof = "SELECT proved_at FROM migrations"
    with _following(terminal, tree, database.url, person) as runner:
        assert person.types("validate", tree, database.url, "--jobs", "1").status == 0
        proven = database.all(proof)
        runner.send_signal(signal.SIGSTOP)
        (tree / "sessions" / "1.json").write_text('{"session_id":"changed"}')
        with monkeypatch.context() as patched:
            _at_the_first_look(patched, lambda: signal.raise_signal(signal.SIGINT))
            run = person.types("validate", tree, database.url, "--jobs", "1")
        assert refused(run, "CF601", 6)
        assert database.all(proof) == proven

        found = _validate(person, tree, database)
        runner.send_signal(signal.SIGCONT)
    assert (found["state"], found["resumed"]) == ("different", True)
    assert {each["path"] for each in found["differences"]} >= {"sessions/1.json"}


@pytest.mark.parametrize("is_awake", [True, False])
def test_more_than_can_be_looked_at_again_is_compared_anew(
    terminal: Terminal, person: Person, database: Database, tree: Path, monkeypatch: pytest.MonkeyPatch, is_awake: bool
):
    """A pair that merely lags is equal in the end, however much was on its way; one of which nobody takes care is not."""
    monkeypatch.setattr(validator, "_HELD", 3)
    monkeypatch.setattr(looks, "_LAG_SECONDS_MIN", 4.0)
    with _following(terminal, tree, database.url, person) as runner:
        runner.send_signal(signal.SIGSTOP)
        for number in range(40):
            (tree / "sessions" / f"late-{number}.json").write_text("{}")
        if is_awake:
            _at_the_first_look(monkeypatch, lambda: runner.send_signal(signal.SIGCONT))
        found = _validate(person, tree, database, "--max-report", "3")
        runner.send_signal(signal.SIGCONT)

    assert found["state"] == ("equal" if is_awake else "different"), found
    assert len(found["differences"]) == (0 if is_awake else 3)


def test_another_look_loses_nothing(
    terminal: Terminal, person: Person, database: Database, tree: Path, monkeypatch: pytest.MonkeyPatch
):
    """However many differences each path has by then: four paths with one, and then with two."""
    monkeypatch.setattr(validator, "_HELD", 4)
    paths = "path IN ('sessions/1.json', 'sessions/2.json', 'sessions/3.json', 'sessions/4.json')"
    spoil = f"UPDATE sessions SET status = 'x' WHERE entry_id IN (SELECT entry_id FROM entries WHERE {paths})"
    with _following(terminal, tree, database.url, person):
        database.run(f"UPDATE entries SET mode = 384 WHERE {paths}")
        _at_the_first_look(monkeypatch, lambda: database.run(spoil))
        found = _validate(person, tree, database, "--max-report", "4")

    assert (found["classes"].get("metadata"), found["classes"].get("column")) == (4, 4), found
    assert len(found["differences"]) == 4


def test_a_source_that_never_rests_does_not_excuse_a_follower_that_does(
    terminal: Terminal, person: Person, database: Database, tree: Path
):
    """What it should have brought meanwhile is missed, though no state of the source is older than the lag."""
    with _following(terminal, tree, database.url, person) as runner:
        runner.send_signal(signal.SIGSTOP)
        with _writing(tree):
            wait_for("a change", lambda: (tree / CHANGING).read_text() != "{}")
            found = _validate(person, tree, database)
        runner.send_signal(signal.SIGCONT)
    assert found["state"] == "different"
    assert {LOG, CHANGING} <= {each["path"] for each in found["differences"]}


def test_a_source_that_changes_underneath_is_different(person: Person, database: Database, tree: Path):
    """Nobody brings anything over: exit 3, the paths, and no traceback, however often it is asked."""
    person.moves(tree, database.url)
    with _writing(tree):
        for _ in range(4):
            run = person.types("validate", tree, database.url, "--jobs", "1", "--json")
            assert run.status == 3, run
            assert "Traceback" not in run.err
            found = said(run)
            assert LOG in {each["path"] for each in found["differences"]}
            assert {each["path"] for each in found["differences"]} <= {
                LOG,
                CHANGING,
                "sessions",
                *(f"sessions/new-{number}.json" for number in range(7)),
                "",
            }


def test_a_source_that_changes_under_a_copy_ends_it_with_6(person: Person, database: Database, tree: Path):
    """Never with 3: nothing is wrong with the target."""
    with _writing(tree):
        run = person.types("start", tree, database.url, "--once")
        assert run.status == 6, run
        assert "error[CF602]" in run.err
        again = person.types("start", tree, database.url, "--once")
        assert again.status == 6, again
    person.moves(tree, database.url)


# The server comes and goes


@contextmanager
def _interrupted(tree: Path, cluster: Any, schema: str, person: Person) -> Iterator[tuple[Proxy, str]]:
    with Proxy(cluster.port) as proxy:
        url = f"postgresql://crossfade@127.0.0.1:{proxy.port}/postgres?schema={schema}"
        person.environment |= {"PGPASSWORD": cluster.password, "CROSSFADE_PATIENCE_SECONDS": "60"}
        person.moves(tree, url)
        yield proxy, url


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_connection_that_breaks_is_made_anew(jobs: str, terminal: Terminal, person: Person, cluster: Any, tmp_path: Path):
    """Whichever side is asked: nothing is written, so that nothing can be done twice."""
    root = tmp_path / "many"
    (root / "sessions").mkdir(parents=True)
    for number in range(4_000):
        (root / "sessions" / f"{number}.json").write_text(f'{{"session_id":"{number}"}}')
    with _interrupted(root, cluster, f"breaks_{jobs}", person) as (proxy, url):
        terminal.environment |= person.environment
        run = _with_interruptions(terminal, proxy, tmp_path, "validate", root, url, "--jobs", jobs, "--json")

    assert run.status == 0, run
    assert said(run)["compared"] == 4_000


def test_an_end_of_a_copy_survives_a_server_that_comes_and_goes(
    terminal: Terminal, person: Person, cluster: Any, tree: Path
):
    """Its validation is patient, too."""
    with Proxy(cluster.port) as proxy:
        url = f"postgresql://crossfade@127.0.0.1:{proxy.port}/postgres?schema=comes"
        terminal.environment |= {"PGPASSWORD": cluster.password, "CROSSFADE_PATIENCE_SECONDS": "60"}
        run = _with_interruptions(terminal, proxy, tree.parent, "start", tree, url, "--once", "--json")

    assert run.status == 0, run
    assert said(run)["validation"]["holds"] is True


def _with_interruptions(terminal: Terminal, proxy: Proxy, folder: Path, *words: object) -> Run:
    """Run a command; once it validates, all its connections break several times a second."""
    with (folder / "talk").open("wb") as talk:
        process = terminal.popen(*words, stderr=talk)
        wait_for("the validation", lambda: b"validating" in (folder / "talk").read_bytes(), 60)
        for _ in range(100):
            proxy.drop()
            time.sleep(0.2)
            if process.poll() is not None:
                break
        return finish(process)
