"""A cut-over from files where nobody vouches for anything: it looks for whoever writes them, and waits until they have been still."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from crossfade.migrate.handover import foreign
from support.following import following, stopped_at_the_end
from support.person import Person, refused
from support.running import Terminal, meanwhile
from support.seeing import sees_all
from support.servers import Database

HOLDS = "import sys; file = open(sys.argv[1], 'ab'); print('open', flush=True); sys.stdin.read()"

ALONE = """
from crossfade.migrate.handover import foreign
foreign._sees_all, foreign._processes = lambda: True, lambda: []
from crossfade.console.main import run
run()
"""
"""A runner on a machine where nobody else runs."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "live"
    (root / "sessions").mkdir(parents=True)
    (root / "sessions/one.json").write_bytes(b'{"id":"one"}')
    return root


@pytest.fixture
def copied(person: Person, root: Path, database: Database) -> Database:
    """Holds all of it, and nobody follows."""
    person.moves(root, database.url)
    return database


def authority(database: Database) -> str:
    """Who decides about all of it."""
    return str(database.one("SELECT max(authority) FROM routes"))


@contextmanager
def holding(file: Path) -> Iterator[int]:
    """A process that has *file* open for writing; its number."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"open\n"
        yield process.pid
        process.stdin.close()


def written_again_and_again(file: Path) -> AbstractContextManager[None]:
    """By a program that has it open for a moment only, each time."""
    return meanwhile(lambda number: file.write_text(f'{{"id":"{number}"}}'), 0.1)


def test_files_that_nobody_writes_are_handed_over_once_they_have_been_still(
    person: Person, root: Path, copied: Database, monkeypatch: pytest.MonkeyPatch
):
    """Nobody has one of them open, as far as is seen; how still they were before anybody looked, nobody knows."""
    sees_all(monkeypatch)
    done = person.types("cutover", root, copied.url, "--settle", "1s")

    assert done.status == 0, done
    assert done.seconds > 1
    assert authority(copied) == "here"


def test_a_process_that_has_a_file_open_for_writing_is_named(
    person: Person, root: Path, copied: Database, monkeypatch: pytest.MonkeyPatch
):
    """By a rehearsal as well. It is not waited for: it may write in an hour. Once it is gone, nothing is in the way."""
    sees_all(monkeypatch)
    with holding(root / "sessions/one.json") as pid:
        rehearsal = person.types("cutover", root, copied.url, "--dry-run")
        sentence, hint = refused(person.types("cutover", root, copied.url, "--timeout", "1h"), "CF709", 7)
    assert f"(process {pid}); nothing was handed over" in sentence
    assert sentence.startswith("files are open for writing in ")
    assert "--writers-stopped" in hint
    assert rehearsal.status == 7, rehearsal
    assert "SHUT  files are open for writing in " in rehearsal.out
    assert f"(process {pid})\n" in rehearsal.out
    assert authority(copied) == "elsewhere"

    rehearsal = person.types("cutover", root, copied.url, "--dry-run")
    assert rehearsal.status == 0, rehearsal
    assert "open  no process has a file open for writing" in rehearsal.out
    done = person.types("cutover", root, copied.url, "--settle", "100ms")
    assert done.status == 0, done


def test_where_processes_cannot_be_seen_somebody_has_to_vouch(
    person: Person, root: Path, copied: Database, monkeypatch: pytest.MonkeyPatch
):
    """A writer that nobody sees may be left, however still the files are."""
    monkeypatch.setattr(foreign, "_sees_all", lambda: False)
    sentence, hint = refused(person.types("cutover", root, copied.url, "--settle", "0"), "CF709", 7)

    assert sentence == "processes are not visible here, so a writer may be left; nothing was handed over"
    assert "--writers-stopped" in hint
    assert authority(copied) == "elsewhere"
    assert person.types("cutover", root, copied.url, "--writers-stopped").status == 0


def test_files_that_are_written_again_and_again_are_waited_for_and_then_not_handed_over(
    terminal: Terminal, person: Person, root: Path, database: Database
):
    """Though nobody ever has one open when it is looked; a second time, once it has ended, they are."""
    with stopped_at_the_end(following(terminal, root, database, program=ALONE)):
        with written_again_and_again(root / "sessions/one.json"):
            done = person.types("cutover", root, database.url, "--settle", "5s", "--timeout", "3s")
        sentence, hint = refused(done, "CF709", 7)
        assert sentence.startswith("the files have been still for ")
        assert sentence.endswith(" s (wanted 5 s); nothing was handed over")
        assert "stop what writes them" in hint
        assert done.seconds > 2.5
        assert authority(database) == "elsewhere"

        done = person.types("cutover", root, database.url, "--settle", "1s")
        assert done.status == 0, done
        assert authority(database) == "here"
