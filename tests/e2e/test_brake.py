"""A volume that is not there is no deletion: what was brought stays, however a run begins, until somebody says that it may go."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from crossfade.migrate import engine
from crossfade.migrate.follow import gone
from crossfade.store.backends.file import mounts
from support.following import following, stopped_at_the_end
from support.person import Person, refused
from support.running import Run, Terminal, finish, kill_group, wait_for
from support.servers import Database

FILES = 20
SEES = """
from crossfade.store.backends.file import mounts
mounts._TABLE = {!r}
from crossfade.console.main import run
run()
"""
"""A runner that is told by a file what is mounted."""

BEGINNINGS = {"start": (), "once": ("--once",), "incremental": ("--incremental",)}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Twenty files, in more than half as many directories."""
    root = tmp_path / "volume"
    (root / "sessions").mkdir(parents=True)
    for number in range(FILES // 2):
        (root / f"sessions/s{number}.json").write_bytes(b'{"id":"%d"}' % number)
        (root / f"events/r/j{number}").mkdir(parents=True)
        (root / f"events/r/j{number}/events-1.jsonl").write_bytes(b'{"id":"%d"}\n' % number)
    return root


@pytest.fixture
def saved(person: Person, root: Path, database: Database) -> Database:
    """A database that holds what is in the volume."""
    person.moves(root, database.url)
    return database


def _entries(database: Database) -> list[tuple]:
    return database.all("SELECT path, type, size, digest, generation FROM entries ORDER BY key")


def _files(database: Database) -> list[str]:
    return [path for path, kind, *_ in _entries(database) if kind == "file"]


def _new_file_system(root: Path) -> int:
    (root / "lost+found").mkdir(mode=0o700)
    return 0


def _program_that_began(root: Path) -> int:
    """It makes all its directories, and writes one file."""
    for number in range(FILES // 2):
        (root / f"events/r/j{number}").mkdir(parents=True)
    (root / "sessions").mkdir()
    (root / "sessions/new.json").write_bytes(b'{"id":"new"}')
    return 1


def _step_of_braked(person: Person, database: Database) -> str:
    """What the status of the only migration says to type where the removal is meant."""
    (row,) = person.asks("list", "--store", database.url)["migrations"]
    status = person.asks("status", row["migration"], "--store", database.url)
    assert status["state"] == "braked", status
    return next(step["command"] for step in status["next_steps"] if "--allow-removals" in step["command"])


def _without_talk(run: Run) -> Run:
    run.err = run.err[max(run.err.find("error["), 0) :]
    return run


@pytest.mark.parametrize("fill", [_new_file_system, _program_that_began], ids=lambda fill: fill.__name__[1:])
@pytest.mark.parametrize("how", BEGINNINGS)
def test_a_fresh_volume_takes_nothing_away(
    how: str, fill: Callable[[Path], int], person: Person, terminal: Terminal, root: Path, saved: Database
):
    """Whatever stands in it, and however small the tree was; once somebody says that it is meant, it goes."""
    before = _entries(saved)
    shutil.rmtree(root)
    root.mkdir()
    left, options = fill(root), BEGINNINGS[how]
    is_empty = not left and how != "start"
    types = person.types if options else partial(person.apart, seconds=40)
    sentence, hint = refused(
        _without_talk(types("start", root, saved.url, *options)), "CF801" if is_empty else "CF707", 8 if is_empty else 7
    )

    assert _entries(saved) == before
    assert "--allow-removals if it is meant" in hint
    if left:
        assert sentence.startswith("20 of the 20 files that the target holds are gone from the source"), sentence
        assert "move away what is there, and crossfade restore " in hint
    if how == "start":
        with stopped_at_the_end(following(terminal, root, saved, "--allow-removals"), _nothing_said(root)):
            assert len(_files(saved)) == left
    else:
        meant = person.types("start", root, saved.url, *options, "--allow-removals")
        assert meant.status == 0, meant
        assert len(_files(saved)) == left


def _nothing_said(root: Path) -> Path:
    said = root.with_name("said")
    said.touch()
    return said


def test_that_an_empty_source_may_be_copied_does_not_say_that_what_was_brought_may_go(
    person: Person, root: Path, saved: Database
):
    """``--allow-empty`` may stand in the command of a container, for its first start."""
    before = _entries(saved)
    shutil.rmtree(root)
    root.mkdir()
    sentence, _ = refused(_without_talk(person.types("start", root, saved.url, "--once", "--allow-empty")), "CF707", 7)
    assert sentence == "the source's root is empty: nothing was removed from the target"
    assert _entries(saved) == before


def test_a_fresh_volume_mends_nothing(person: Person, root: Path, saved: Database):
    """However small the tree was: --repair removes what the files lack, as a copy does."""
    before = _entries(saved)
    shutil.rmtree(root)
    root.mkdir()
    _program_that_began(root)
    repair = ("validate", root, saved.url, "--jobs", "1", "--repair")
    for rehearsal in ((), ("--dry-run",)):
        sentence, _ = refused(person.types(*repair, *rehearsal), "CF707", 7)
        assert sentence.startswith("20 of the 20 files that the target holds are gone from the source"), sentence
    assert _entries(saved) == before

    assert person.types(*repair, "--allow-removals").status == 0
    assert _files(saved) == ["sessions/new.json"]


def test_a_copy_that_was_braked_says_so_and_goes_on_when_the_volume_is_back(person: Person, root: Path, saved: Database):
    parked = root.with_name("parked")
    root.rename(parked)
    root.mkdir()
    _program_that_began(root)
    refused(_without_talk(person.types("start", root, saved.url, "--once")), "CF707", 7)
    assert _step_of_braked(person, saved)

    shutil.rmtree(root)
    parked.rename(root)
    person.moves(root, saved.url)
    assert len(_files(saved)) == FILES


@pytest.mark.parametrize("how", ["once", "incremental"])
def test_a_few_that_go_are_believed(how: str, person: Person, root: Path, saved: Database):
    """So is a small tree of which half goes."""
    (root / "sessions/s0.json").unlink()
    (root / "sessions/s1.json").unlink()
    assert person.types("start", root, saved.url, *BEGINNINGS[how]).status == 0
    assert len(_files(saved)) == FILES - 2
    shutil.rmtree(root / "events")
    assert person.types("start", root, saved.url, *BEGINNINGS[how]).status == 0
    assert len(_files(saved)) == FILES // 2 - 2


def test_more_than_half_of_many_is_asked_about(person: Person, root: Path, database: Database):
    """As while following: by a copy as well."""
    for number in range(280):
        (root / f"sessions/more{number}.json").write_bytes(b"{}")
    person.moves(root, database.url)
    before = _entries(database)
    for number in range(160):
        (root / f"sessions/more{number}.json").unlink()
    sentence, _ = refused(_without_talk(person.types("start", root, database.url, "--once")), "CF707", 7)
    assert sentence.startswith("160 of the 300 files")
    assert _entries(database) == before


def test_what_was_renamed_is_not_gone(person: Person, root: Path, saved: Database):
    """All of it, at once: the entries go along, and new files stand where some of them were."""
    for path in [*root.glob("sessions/*.json"), *root.glob("events/r/*/events-1.jsonl")]:
        path.rename(path.with_stem(f"{path.stem}-renamed"))
    (root / "sessions/s0.json").write_bytes(b'{"id":"another"}')
    person.moves(root, saved.url)
    assert len(_files(saved)) == FILES + 1


def test_a_volume_below_the_root_that_is_not_mounted_any_more_takes_nothing_away(
    person: Person, root: Path, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Half of a tree may go, but not where an earlier run saw it on a volume of its own."""
    table = tmp_path / "mountinfo"
    monkeypatch.setattr(mounts, "_TABLE", str(table))
    above = b"25 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
    table.write_bytes(above + b"26 25 8:2 / %s/events rw - ext4 /dev/sda2 rw\n" % os.fsencode(root.resolve()))
    person.moves(root, database.url)
    before = _entries(database)
    table.write_bytes(above)
    shutil.rmtree(root / "events")
    (root / "events").mkdir()
    for _ in range(2):
        sentence, _ = refused(_without_talk(person.types("start", root, database.url, "--once")), "CF707", 7)
        assert sentence.startswith("what was mounted at events in the source is not there any more")
        assert _entries(database) == before
    refused(_without_talk(person.types("validate", root, database.url, "--repair")), "CF707", 7)
    assert _entries(database) == before

    person.moves(root, database.url, "--allow-removals")
    assert len(_files(database)) == FILES // 2
    for number in range(4):
        (root / f"sessions/s{number}.json").unlink()
    person.moves(root, database.url)


def test_what_was_on_a_volume_may_be_a_part_of_the_tree_by_now(
    person: Person, root: Path, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Its content was copied into the tree, or another host has all of it on one volume: what goes from it is believed."""
    table = tmp_path / "mountinfo"
    monkeypatch.setattr(mounts, "_TABLE", str(table))
    table.write_bytes(b"26 25 8:2 / %s/events rw - ext4 /dev/sda2 rw\n" % os.fsencode(root.resolve()))
    person.moves(root, database.url)
    table.write_bytes(b"")
    (root / "events/r/j0/events-1.jsonl").unlink()

    person.moves(root, database.url)
    assert len(_files(database)) == FILES - 1


def _vanishes(directory: Path, table: Path) -> None:
    """What was mounted there is not any more."""
    table.write_bytes(b"")
    shutil.rmtree(directory)
    directory.mkdir()


@pytest.mark.parametrize("is_first", [True, False], ids=["of a first copy", "of a later one"])
def test_a_volume_that_vanishes_in_the_middle_stops_a_copy(
    is_first: bool, person: Person, root: Path, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """What was on it is neither gone nor copied whole, and nothing is proven."""
    table = tmp_path / "mountinfo"
    table.write_bytes(b"26 25 8:2 / %s/sessions rw - ext4 /dev/sda2 rw\n" % os.fsencode(root.resolve()))
    monkeypatch.setattr(mounts, "_TABLE", str(table))
    if not is_first:
        person.moves(root, database.url)
        (root / "events/r/j0/events-1.jsonl").write_bytes(b'{"id":"another"}\n')
    share_out = engine.shared_out

    def late(work, *rest, **options):  # it is counted what is gone, and the first log is found
        _vanishes(root / "sessions", table)
        return share_out(work, *rest, **options)

    with monkeypatch.context() as patched:
        patched.setattr(engine, "shared_out", late)
        sentence, hint = refused(_without_talk(person.types("start", root, database.url, "--once")), "CF707", 7)

    assert sentence == (
        "what was mounted at sessions in the source is not there any more: nothing was removed from the target"
    )
    assert "--allow-removals" in hint
    assert len(_files(database)) == (FILES // 2 if is_first else FILES)


def _mounted(directory: Path, table: Path) -> None:
    """A volume of its own, by what the system says."""
    table.write_bytes(b"26 25 8:2 / %s rw - ext4 /dev/sda2 rw\n" % os.fsencode(directory.resolve()))


def _is_asked_about_each_time(person: Person, root: Path, database: Database, place: str) -> None:
    """A supervisor gives the command again and again; a person decides."""
    before = _files(database)
    for _ in range(2):
        sentence, _ = refused(_without_talk(person.types("start", root, database.url, "--once")), "CF707", 7)
        assert sentence.startswith(f"what was mounted at {place} in the source is not there any more")
        assert _files(database) == before


def test_a_volume_that_vanishes_while_it_is_counted_what_is_gone_takes_nothing_away(
    person: Person, root: Path, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The count met all of it; the run that stops then knows of it still, and so does the next one."""
    table = tmp_path / "mountinfo"
    _mounted(root / "sessions", table)
    monkeypatch.setattr(mounts, "_TABLE", str(table))
    person.moves(root, database.url)
    (root / "events/r/j0/events-1.jsonl").write_bytes(b'{"id":"another"}\n')

    def counted(*sides):
        found = gone.moved(*sides)
        _vanishes(root / "sessions", table)
        return found

    with monkeypatch.context() as patched:
        patched.setattr(engine, "moved", counted)
        refused(_without_talk(person.types("start", root, database.url, "--once")), "CF707", 7)
    assert len(_files(database)) == FILES
    _is_asked_about_each_time(person, root, database, "sessions")


def test_a_volume_that_is_mounted_in_the_middle_is_known_to_the_next_run(
    person: Person, root: Path, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """It was copied with the rest, though it was not there when the copy began."""
    table, parked = tmp_path / "mountinfo", tmp_path / "parked"
    table.touch()
    monkeypatch.setattr(mounts, "_TABLE", str(table))
    (root / "sessions").rename(parked)
    (root / "sessions").mkdir()
    share_out, at = engine.shared_out, root.stat().st_mtime_ns

    def late(work, *rest, **options):
        (root / "sessions").rmdir()
        parked.rename(root / "sessions")
        os.utime(root, ns=(at, at))
        _mounted(root / "sessions", table)
        return share_out(work, *rest, **options)

    with monkeypatch.context() as patched:
        patched.setattr(engine, "shared_out", late)
        person.moves(root, database.url)
    assert len(_files(database)) == FILES
    _vanishes(root / "sessions", table)
    _is_asked_about_each_time(person, root, database, "sessions")


def test_a_volume_that_was_mounted_while_it_was_followed_takes_nothing_away(
    terminal: Terminal, person: Person, root: Path, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Few files are on it. Whoever follows stops, and whoever begins next has heard of the volume from nobody else."""
    table, late = tmp_path / "mountinfo", root / "late"
    table.touch()
    process = following(terminal, root, database, program=SEES.format(str(table)))
    try:
        _mounted(late, table)
        late.mkdir()
        for number in range(5):
            (late / f"{number}.json").write_bytes(b'{"n":%d}' % number)
        wait_for("what is mounted", lambda: len(_files(database)) == FILES + 5)
        table.write_bytes(b"")
        late.rename(tmp_path / "unmounted")
        late.mkdir()
        done = finish(process, 60)
    finally:
        kill_group(process)

    assert done.status == 7, done
    assert "what was mounted at late in the source is not there any more: nothing more was removed" in done.err
    assert len(_files(database)) == FILES + 5
    monkeypatch.setattr(mounts, "_TABLE", str(table))
    _is_asked_about_each_time(person, root, database, "late")
    person.moves(root, database.url, "--allow-removals")
    assert len(_files(database)) == FILES


def test_a_volume_that_vanishes_in_what_does_not_move_stops_no_copy(
    person: Person, root: Path, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    cache, table = root / "worktrees/r/w/cache", tmp_path / "mountinfo"
    cache.mkdir(parents=True)
    table.write_bytes(b"26 25 8:2 / %s rw - ext4 /dev/sda2 rw\n" % os.fsencode(cache.resolve()))
    monkeypatch.setattr(mounts, "_TABLE", str(table))
    share_out = engine.shared_out

    def late(work, *rest, **options):
        _vanishes(cache, table)
        return share_out(work, *rest, **options)

    monkeypatch.setattr(engine, "shared_out", late)
    person.moves(root, database.url)
    assert len(_files(database)) == FILES


def test_a_copy_that_was_never_finished_is_not_offered_for_a_restore(
    terminal: Terminal, person: Person, root: Path, database: Database
):
    """It would be refused."""
    options = ("--workers", 1, "--batch-records", 2)
    died = terminal.run("start", "--once", root, database.url, *options, CROSSFADE_FAILPOINT="postgres.page:after@8")
    assert died.status == -9, died
    shutil.rmtree(root)
    (root / "sessions").mkdir(parents=True)
    (root / "sessions/new.json").write_bytes(b"{}")
    _, hint = refused(_without_talk(person.types("start", "--once", root, database.url)), "CF707", 7)
    assert "restore" not in hint
    assert "--allow-removals" in hint


def test_a_restore_of_nothing_is_told_by_its_own_option(person: Person, database: Database, tmp_path: Path):
    """A store without an entry, whose migration is known."""
    (tmp_path / "void").mkdir()
    person.moves(tmp_path / "void", database.url, "--allow-empty")
    (tmp_path / "void").rmdir()
    _, hint = refused(_without_talk(person.types("restore", database.url, tmp_path / "void")), "CF801", 8)
    assert "--allow-empty" in hint


def test_most_of_a_tree_that_goes_while_it_is_followed_is_asked_about(
    terminal: Terminal, person: Person, root: Path, database: Database
):
    """Within a minute; a third is believed. What is proposed then has it go."""
    for number in range(280):
        (root / f"sessions/more{number}.json").write_bytes(b'{"n":%d}' % number)
    process = following(terminal, root, database)
    for number in range(180):
        (root / f"sessions/more{number}.json").unlink()
    done = finish(process, 60)

    assert done.status == 7, done
    assert "error[CF707]" in done.err
    assert "files are gone within a minute" in done.err
    assert "nothing more was removed" in done.err
    assert len(_files(database)) >= 150
    meant = _step_of_braked(person, database)
    process = terminal.popen(*shlex.split(meant)[1:], "--cpu-max", "100")
    with stopped_at_the_end(process, _nothing_said(root)):
        wait_for("what is meant to go", lambda: len(_files(database)) == 120)
