"""What a review found: each test is a way in which something once went wrong without a word."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from crossfade.console import book
from crossfade.console.commands import demo
from crossfade.errors import LocationInvalid
from crossfade.migrate import survey
from crossfade.migrate.carry import Carrier
from crossfade.model import layouts
from crossfade.model.kinds import Kind
from crossfade.model.layouts import RESERVED_COLUMNS
from crossfade.store.backends.file.store import FileStore
from crossfade.store.backends.postgres import schema
from crossfade.store.backends.postgres.server import translate
from crossfade.store.backends.postgres.store import PostgresStore
from crossfade.store.location import parse
from crossfade.store.port import Reading
from support.cluster import Cluster
from support.person import Person, refused
from support.powerless import obey_permissions
from support.running import Run, Terminal, compare, finish
from support.servers import Database

LOG = "events/repo/job-1/events-20251116_101500.jsonl"


def _lines(count: int, letter: str) -> str:
    return "".join(f'{{"id":"{number:06}","pad":"{letter * 100}"}}\n' for number in range(count))


class _Cut(BaseException):
    """The process ends here. No Exception: the command line makes a coded error of those."""


@pytest.fixture
def cut_short(monkeypatch: pytest.MonkeyPatch, person: Person) -> Callable[..., None]:
    """Run a copy that ends without a word after some pages."""

    def run(source: Path, url: str, pages: int) -> None:
        applied, left = PostgresStore.apply, iter(range(pages))

        def apply(store: PostgresStore, page: Any) -> Any:
            if next(left, None) is None:
                raise _Cut
            return applied(store, page)

        with monkeypatch.context() as patch:
            patch.setattr(PostgresStore, "apply", apply)
            with pytest.raises(_Cut):
                person.types("start", source, url, "--once", "--batch-bytes", "500kB")

    return run


# A source that moves


@pytest.mark.parametrize("begun", ["resumed", "refreshed"])
def test_a_log_that_is_replaced_while_its_tail_is_read_is_never_called_proven(
    person: Person,
    database: Database,
    tmp_path: Path,
    cut_short: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    begun: str,
):
    """Its beginning was looked at, or copied, earlier: the tail of another file does not make it whole."""
    log = tmp_path / "tree" / LOG
    log.parent.mkdir(parents=True)
    log.write_text(_lines(60_000, "a"))
    if begun == "resumed":
        cut_short(tmp_path / "tree", database.url, 10)
    else:
        person.moves(tmp_path / "tree", database.url)
        with log.open("a") as file:
            file.write(_lines(20_000, "b"))
    known = "_known" if begun == "resumed" else "_begun"
    before = getattr(Carrier, known)

    def meanwhile(carrier: Carrier, *words: Any) -> Any:
        found = before(carrier, *words)
        log.write_text(_lines(80_000, "z"))
        return found

    with monkeypatch.context() as patch:
        patch.setattr(Carrier, known, meanwhile)
        refused(person.types("start", tmp_path / "tree", database.url, "--once"), "CF602", 6)
    person.moves(tmp_path / "tree", database.url)
    person.moves(database.url, tmp_path / "back")
    compare(tmp_path / "tree", tmp_path / "back")


def _becomes_a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _becomes_a_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/hostname")


def _becomes_a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _loses_its_directory(path: Path) -> None:
    shutil.rmtree(path.parent)
    path.parent.write_text("a file")


@pytest.mark.parametrize("change", [_becomes_a_directory, _becomes_a_link, _becomes_a_pipe, _loses_its_directory])
def test_a_file_that_becomes_something_else_has_moved(
    person: Person, database: Database, tiny: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None]
):
    """That is exit 6, and the next run brings what stands there; not an error of the disk."""
    read = FileStore.read

    def meanwhile(store: FileStore, readings: Any) -> Iterator[Any]:
        path = tiny / "sessions" / "one.json"
        if path.is_file() and not path.is_symlink():
            change(path)
        return read(store, readings)

    with monkeypatch.context() as patch:
        patch.setattr(FileStore, "read", meanwhile)
        refused(person.types("start", tiny, database.url, "--once"), "CF602", 6)
    person.moves(tiny, database.url)
    assert database.one("SELECT count(*) FROM sessions") == 0


def test_a_file_is_not_taken_in_the_tick_in_which_it_changed(tmp_path: Path):
    """A second change in that tick would leave size and times as they were, and never be seen."""
    (tmp_path / "one.json").write_text("{}")
    store = FileStore(parse(str(tmp_path)), layouts.load("prodigy"))
    entry = next(entry for entry in store.entries() if entry.path == b"one.json")
    for _ in range(3):
        (tmp_path / "one.json").write_text("{}")
        (block,) = store.read([Reading(entry)])
        assert block.entry.signature is not None
        assert time.time_ns() - block.entry.signature.ctime_ns > 10_000_000
    store.close()


# What is not whole, and what is not seen


def test_an_entry_whose_own_copy_is_unfinished_is_not_restored(
    person: Person, database: Database, tmp_path: Path, cut_short: Callable[..., None]
):
    """A log that ends in the middle would look like any other. Everything else comes, if that is wanted."""
    (tmp_path / "tree" / LOG).parent.mkdir(parents=True)
    (tmp_path / "tree" / LOG).write_text(_lines(30_000, "a"))
    (tmp_path / "tree" / "note.txt").write_text("x")
    cut_short(tmp_path / "tree", database.url, 4)
    assert database.one("SELECT complete FROM entries WHERE path = %s", LOG) is False

    sentence, _ = refused(person.types("start", database.url, tmp_path / "back", "--once"), "CF202", 2)
    assert LOG in sentence
    assert "not finished" in sentence
    person.moves(database.url, tmp_path / "back", "--skip-unreadable", status=4)
    assert not (tmp_path / "back" / LOG).exists()

    person.moves(tmp_path / "tree", database.url)
    person.moves(database.url, tmp_path / "back")
    compare(tmp_path / "tree", tmp_path / "back")


@pytest.fixture
def held_to_permissions(terminal: Terminal, cluster: Cluster) -> Callable[..., Run]:
    """A command by somebody who is not above permission bits."""
    terminal.environment["PGPASSWORD"] = cluster.password
    return lambda *words: finish(terminal.popen(*words, preexec_fn=obey_permissions))


def test_what_lies_below_an_unreadable_directory_is_not_gone(
    held_to_permissions: Callable[..., Run], cluster: Cluster, tmp_path: Path
):
    """--skip-unreadable leaves it as it was copied; it does not take it away from the target."""
    source, url = tmp_path / "tree", cluster.url("hidden")
    (source / "d" / "deep").mkdir(parents=True)
    (source / "d" / "deep" / "one.txt").write_text("1")
    (source / "e.txt").write_text("2")
    assert held_to_permissions("start", source, url, "--once", "--workers", "1").status == 0

    (source / "d").chmod(0)
    (source / "e.txt").unlink()
    run = held_to_permissions("start", source, url, "--once", "--workers", "1", "--skip-unreadable")
    (source / "d").chmod(0o755)
    assert run.status == 4, run
    with cluster.connect() as connection:
        found = connection.execute("SELECT path FROM hidden.entries WHERE type = 'file'").fetchall()
    assert found == [("d/deep/one.txt",)]


def test_read_only_directories_gain_and_lose_entries(
    held_to_permissions: Callable[..., Run], cluster: Cluster, tmp_path: Path
):
    """Their mode is theirs, also for what is restored into them."""
    source, target, url = tmp_path / "tree", tmp_path / "back", cluster.url("read_only")
    (source / "ro").mkdir(parents=True)
    (source / "ro" / "one.txt").write_text("1")

    def both() -> None:
        (source / "ro").chmod(0o555)
        for pair in ((source, url), (url, target)):
            run = held_to_permissions("start", *pair, "--once", "--workers", "1")
            assert run.status == 0, run
        compare(source, target)
        (source / "ro").chmod(0o755)

    both()
    (source / "ro" / "deep" / "er").mkdir(parents=True)
    (source / "ro" / "deep" / "two.txt").write_text("2")
    (source / "ro" / "void").mkdir()
    both()
    shutil.rmtree(source / "ro" / "deep")
    both()
    (target / "ro").chmod(0o755)


def test_a_name_of_ours_is_moved_when_it_is_the_users(person: Person, database: Database, tiny: Path, tmp_path: Path):
    """``.crossfade`` at the root is where pages are staged; a file or directory of that name is moved like any."""
    (tiny / ".crossfade").mkdir()
    (tiny / ".crossfade" / "mine").write_text("1")
    person.moves(tiny, database.url)
    person.moves(database.url, tmp_path / "back")

    assert (tmp_path / "back" / ".crossfade" / "mine").read_text() == "1"
    compare(tiny, tmp_path / "back")


# A target that somebody touched


def test_an_edit_that_kept_the_time_is_still_a_conflict(person: Person, database: Database, tiny: Path, tmp_path: Path):
    """The same size, the same mode, the same time: only the bytes tell, and they are somebody's work."""
    person.moves(tiny, database.url)
    person.moves(database.url, tmp_path / "back")
    path = tmp_path / "back" / "sessions" / "one.json"
    status = path.stat()
    path.write_text(path.read_text().replace("Running", "Stopped"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    sentence, _ = refused(person.types("start", database.url, tmp_path / "back", "--once"), "CF703", 7)
    assert "sessions/one.json was changed" in sentence
    assert "Stopped" in path.read_text()


def test_what_an_earlier_run_staged_does_not_replace_what_is_there(
    person: Person, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A restore is interrupted, somebody brings the file by other means, and it is adopted: as it is, not as it was begun."""
    (tmp_path / "tree" / LOG).parent.mkdir(parents=True)
    (tmp_path / "tree" / LOG).write_text(_lines(30_000, "a"))
    person.moves(tmp_path / "tree", database.url)
    read, left = PostgresStore.read, iter(range(2))

    def cut(store: PostgresStore, readings: Any) -> Iterator[Any]:
        for block in read(store, readings):
            if next(left, None) is None:
                raise _Cut
            yield block

    with monkeypatch.context() as patch:
        patch.setattr(PostgresStore, "read", cut)
        with pytest.raises(_Cut):
            person.types("start", database.url, tmp_path / "back", "--once", "--batch-bytes", "500kB")
    assert list((tmp_path / "back.crossfade").iterdir())
    shutil.copytree(tmp_path / "tree", tmp_path / "back", symlinks=True, dirs_exist_ok=True)

    person.moves(database.url, tmp_path / "back")
    compare(tmp_path / "tree", tmp_path / "back")
    assert not (tmp_path / "back.crossfade").exists()


def test_another_layout_for_the_same_tree_is_refused_under_any_url(
    person: Person, database: Database, tiny: Path, tmp_path: Path
):
    """The same database by another spelling is another plan, but not another tree."""
    layout = tmp_path / "other.toml"
    layout.write_text('[[kind]]\nname = "notes"\nform = "document"\nmatch = ["**/*.json"]\n')
    person.moves(tiny, database.url)
    spelled = database.url + "&connect_timeout=9"

    sentence, _ = refused(person.types("start", tiny, spelled, "--once", "--layout", layout), "CF701", 7)
    assert "in another layout, 'prodigy'" in sentence


# Plans, names, secrets


def test_a_plan_reads_a_part_of_a_long_log(
    person: Person, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A sample of one entry is no copy of it."""
    (tmp_path / "tree" / LOG).parent.mkdir(parents=True)
    (tmp_path / "tree" / LOG).write_text(_lines(80_000, "a"))
    monkeypatch.setattr(survey, "SAMPLE_BYTES", 2 << 20)

    there = person.asks("plan", tmp_path / "tree", database.url)["estimate"]
    assert 2 << 20 <= there["sampled_bytes"] <= 4 << 20
    assert there["database_bytes"] > 9_000_000
    person.moves(tmp_path / "tree", database.url)
    back = person.asks("plan", database.url, tmp_path / "back")["estimate"]
    assert 2 << 20 <= back["sampled_bytes"] <= 4 << 20


def test_long_index_names_stay_apart():
    """A server cuts them off, and "if not exists" would then pass over the second."""
    column = "a_column_with_a_name_that_is_quite_long_indeed"
    kind = Kind("a_kind_with_a_long_name_too", "log", (), ((column, "x"), (column, "y")))
    names = [text.split('"')[1] for text in schema.index_statements("crossfade", kind)]

    assert len(set(names)) == 3
    assert max(map(len, names)) <= 60


def test_columns_of_postgresql_itself_are_reserved():
    """The layout is refused with its line, not the table with an SQLSTATE."""
    assert {"ctid", "xmin", "tableoid"} <= RESERVED_COLUMNS


@pytest.mark.parametrize(
    "text",
    [
        "host=db password=hunter2 dbname=x",
        "password = hunter2",
        "postgresql://db/x?sslkey=k&sslpassword=hunter2",
        "postgresql://db/x?oauth_client_secret=hunter2",
    ],
)
def test_secrets_in_other_places_than_the_password_are_refused(person: Person, tmp_path: Path, text: str):
    """Nothing could keep them out of the registry, or of the next command that is shown."""
    with pytest.raises(LocationInvalid) as caught:
        parse(text)
    assert "hunter2" not in str(caught.value) + caught.value.hint

    run = person.types("start", text, tmp_path, "--once")
    assert run.status == 1, run
    assert "hunter2" not in run.err + run.out


def test_a_refused_row_that_speaks_of_passwords_is_no_refused_login():
    """What a statement's error says may come from a record."""
    error = psycopg.errors.CheckViolation('new row violates a constraint, DETAIL: {"password": 1}')

    assert translate(error, "db").code == "CF210"


def test_a_user_without_a_home_leaves_nothing_where_they_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """``~`` that nobody can resolve is no directory to make."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(book, "user_state_dir", lambda _: "~/.local/state/crossfade")
    with pytest.raises(FileNotFoundError, match="no home"):
        book.remember(book.Line("0" * 12, "a", "b", "b"))

    assert list(tmp_path.iterdir()) == []


def test_names_that_the_terminal_cannot_show_stop_nothing(terminal: Terminal, database: Database, tmp_path: Path):
    """An encoding without an umlaut is no reason for a traceback."""
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "größe.txt").write_bytes(b"")
    run = terminal.run("plan", tmp_path / "tree", database.url, PYTHONIOENCODING="ascii")

    assert run.status == 0, run
    assert r"gr\xf6\xdfe.txt" in run.out


def test_the_demo_takes_a_relative_directory(person: Person, short_dir: Path, monkeypatch: pytest.MonkeyPatch):
    """Its commands are shown, and work, with absolute ones."""
    monkeypatch.chdir(short_dir)
    words: list[str] = []
    monkeypatch.setattr(demo, "_run", lambda *more: words.extend(more) or 0)
    monkeypatch.setattr(demo, "_query", words.append)
    monkeypatch.setattr(demo, "live", lambda *_: 0)
    run = person.types("demo", "here", "--events", "1")

    assert run.status == 0, run
    places = [parse(word) for word in words if "/" in word]
    assert len(places) == 9
    assert {place.path.rpartition(b"/")[0] for place in places} == {os.fsencode(short_dir / "here")}


def test_the_release_is_named(person: Person):
    """``crossfade --version`` is the first thing that a report of a bug wants."""
    run = person.types("--version")

    assert (run.status, run.err) == (0, "")
    assert run.out.startswith("crossfade 0.")
