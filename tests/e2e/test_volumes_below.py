"""A tree of which a part is mounted by itself: it can be followed, and it cannot be written as pages are, so nothing is handed over."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from support.disks import with_volumes
from support.person import Person
from support.running import CROSSFADE, Run, Terminal, compare
from support.servers import Database

PUT = """
import sys
from crossfade.store.writer import Writer
with Writer(sys.argv[1], sys.argv[2]) as writer:
    writer.put(b"sessions/one.json", b"{}")
"""


def crossfade(*words: object) -> list[object]:
    return [*CROSSFADE, *words]


def is_refused(done: Run, *words: str) -> None:
    assert done.status == 2, done
    assert "error[CF206]" in done.err
    assert all(word in done.err for word in words), done


@pytest.mark.parametrize(
    ("volume", "options", "why"),
    [("sessions", "", "below sessions: it is a volume of its own"), ("", "ro", "it is read-only")],
    ids=["a volume below the root", "a root that is read-only"],
)
def test_files_that_could_not_follow_do_not_hand_over(
    terminal: Terminal, person: Person, tiny: Path, database: Database, volume: str, options: str, why: str
):
    """There would be no way back: what the database gets would not come to the files, and a roll back needs that."""
    person.moves(tiny, database.url)
    cutover = ("cutover", tiny, database.url, "--writers-stopped", "--hold-max", "5s")
    rehearsed = with_volumes(terminal, [tiny / volume], crossfade(*cutover, "--dry-run"), options=options)
    assert rehearsed.status == 7, rehearsed
    assert f"{why}: there would be no way back" in next(line for line in rehearsed.out.splitlines() if "SHUT" in line)
    is_refused(with_volumes(terminal, [tiny / volume], crossfade(*cutover), options=options), why)

    assert database.one("SELECT authority FROM routes") == "elsewhere"
    assert database.one("SELECT fed FROM stores") is False
    assert not (tiny / ".crossfade").exists()
    done = person.types(*cutover)
    assert done.status == 0, done


def test_a_volume_that_does_not_move_is_in_nobodys_way(terminal: Terminal, tiny: Path, database: Database):
    (tiny / "worktrees/repo/session").mkdir(parents=True)
    commands = [("start", tiny, database.url, "--once"), ("cutover", tiny, database.url, "--writers-stopped")]
    done = with_volumes(terminal, [tiny / "worktrees/repo/session"], *(crossfade(*words) for words in commands))
    assert done.status == 0, done


def test_a_target_with_a_volume_in_it_is_refused_before_anything_is_written(
    terminal: Terminal, person: Person, tiny: Path, database: Database, tmp_path: Path
):
    person.moves(tiny, database.url)
    target = tmp_path / "target"
    (target / "events").mkdir(parents=True)
    is_refused(
        with_volumes(terminal, [target / "events"], crossfade("start", database.url, target, "--once")), "below events"
    )
    assert not list((target / "events").iterdir())
    is_refused(with_volumes(terminal, [tiny / "sessions"], crossfade("restore", database.url, tiny)), "below sessions")


def test_a_root_that_is_mounted_from_beside_is_filled_from_within(
    terminal: Terminal, person: Person, tiny: Path, database: Database, tmp_path: Path
):
    """One file system, two mounts, as where a part of a volume is mounted into a container: no rename leads from beside it."""
    person.moves(tiny, database.url)
    target = tmp_path / "target"
    target.mkdir()
    done = with_volumes(terminal, [target], crossfade("start", database.url, target, "--once"))

    assert done.status == 0, done
    compare(tiny, target)
    assert not (target / ".crossfade").exists()


def test_a_program_that_writes_there_is_told(terminal: Terminal, person: Person, tiny: Path, database: Database):
    person.moves(tiny, database.url)
    before = (tiny / "sessions/one.json").read_bytes()
    done = with_volumes(terminal, [tiny / "sessions"], [sys.executable, "-c", PUT, tiny, database.url])

    assert "TargetUnwritable: sessions/one.json lies on a volume of its own" in done.err
    assert (tiny / "sessions/one.json").read_bytes() == before
    assert not [path.name for path in tiny.with_name("tiny.crossfade").iterdir() if len(path.name) == 40]
