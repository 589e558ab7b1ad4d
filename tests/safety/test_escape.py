"""Not a byte outside of the target, whatever a database says and whoever works in the target meanwhile."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossfade.model.changes import Change, Page, Remove, Touch
from crossfade.model.entries import Entry
from crossfade.model.paths import leaves_root, path_of, text_of
from crossfade.store.backends.file.store import FileStore
from crossfade.store.location import parse
from crossfade.store.port import Applied, Reading
from crossfade.testing.contract.bench import LAYOUT, TIME, directory, link, puts
from support import snapshots
from support.folding import folding
from support.person import Person
from support.servers import Database

CONTENT = b'{"id": "written"}\n'


class Guarded:
    """A target, and beside it what nobody may touch: a directory, a file, names that begin like the target's."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.target, self.outside = home / "target", home / "outside"
        for path in (self.target, self.outside, home / "target-too"):
            path.mkdir(parents=True)
        (self.outside / "secret.txt").write_text("untouched")
        (self.outside / "below").mkdir()
        (home / "target.txt").write_text("untouched")
        self._before = self._look()

    def _look(self) -> dict[str, Any]:
        """All but the target, and the directory that holds both: a staging directory comes and goes there."""
        beside = [path for path in self.home.iterdir() if path != self.target]
        return {name: status for path in beside for name, status in snapshots.of_tree(path).items()}

    def holds(self) -> None:
        """Nothing outside of the target is another than it was, and nothing more is there."""
        assert self._look() == self._before

    def apply(self, *changes: Change, guards: bool = False) -> Applied:
        """One page, by a store of its own; *guards* says that nothing was seen where it writes."""
        store = FileStore(parse(str(self.target)), LAYOUT)
        try:
            return store.apply(Page(changes, seen={change.entry.path: None for change in changes} if guards else {}))
        finally:
            store.close()

    def written(self) -> dict[bytes, bytes]:
        """Every regular file in the target; nothing is followed."""
        found: dict[bytes, bytes] = {}
        root = os.fsencode(self.target)
        for folder, _, names, handle in os.fwalk(root):
            for name in names:
                if stat.S_ISREG(os.stat(name, dir_fd=handle, follow_symlinks=False).st_mode):
                    with open(os.open(name, os.O_RDONLY, dir_fd=handle), "rb") as file:
                        found[os.path.relpath(os.path.join(folder, name), root)] = file.read()
        return found


def _bytes(path: bytes) -> bytes:
    with open(path, "rb") as file:
        return file.read()


@pytest.fixture
def guarded(tmp_path: Path) -> Guarded:
    """An empty target."""
    return Guarded(tmp_path / "guarded")


@contextmanager
def fresh() -> Iterator[Guarded]:
    """An empty target for each example; in memory, where that is possible: a disk would be synced each time."""
    home = Path(tempfile.mkdtemp(prefix="cf-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))
    try:
        yield Guarded(home / "guarded")
    finally:
        shutil.rmtree(home)


def entry(path: bytes, **more: Any) -> Entry:
    """A file as a database shows it."""
    kind = LAYOUT.place(path).kind
    return Entry(path=path, kind=kind.name, form=kind.form, mtime_ns=TIME, mode=0o640, **more)


# Whatever the path

names = st.sampled_from(
    [
        *(
            b"",
            b".",
            b"..",
            b"...",
            b"a",
            b"A",
            b"outside",
            b"target",
            b"target.crossfade",
            b".crossfade",
            b"\0",
            b"a\0b",
            b"\n",
        ),
        *(b"..\n", b" ..", b"\xc3\xa9", b"e\xcc\x81", b"\xff", b"\\..\\", b"~", b"%2e%2e", b"con", b"n" * 255, b"n" * 256),
    ]
) | st.binary(max_size=12)
paths = st.lists(names, min_size=1, max_size=5).map(b"/".join) | st.sampled_from(
    [b"/etc/passwd", b"//", b"/", b"../" * 40 + b"tmp/x", b"d/" * 200 + b"f", (b"m" * 255 + b"/") * 20 + b"f", b"x" * 4096]
)


@settings(max_examples=80)
@given(
    st.lists(paths, min_size=1, max_size=6, unique=True),
    st.sampled_from(["file", "dir", "link"]),
    st.binary(max_size=30) | names,
)
def test_no_path_leads_out(listed: list[bytes], type_: str, text: bytes):
    """What stays inside is there with its bytes, or refused for a reason; what leaves, or is nowhere, is always refused."""
    with fresh() as guarded:
        changes: list[Change] = []
        for path in listed:
            if type_ == "file":
                changes += puts(entry(path), CONTENT)
            else:
                changes.append(directory(path) if type_ == "dir" else link(path, text))
        applied = guarded.apply(*changes)

        guarded.holds()
        refused = {refusal.entry.path: refusal.code for refusal in applied.refusals}
        placed = {found.path for found in applied.entries}
        root = {b""} if type_ == "dir" else set()
        assert {path for path in listed if leaves_root(path)} - root <= set(refused)
        assert set(listed) == placed | set(refused)
        if type_ == "file":
            assert dict.fromkeys(placed, CONTENT) == guarded.written()


# Whatever stands in the target


def _link_to_a_directory(place: Path, outside: Path) -> None:
    place.symlink_to(outside)


def _link_to_a_file(place: Path, outside: Path) -> None:
    place.symlink_to(outside / "secret.txt")


def _relative_link(place: Path, outside: Path) -> None:
    place.symlink_to(Path("..") / outside.name / "below")


def _dangling_link(place: Path, outside: Path) -> None:
    place.symlink_to(outside / "made-by-you")


def _loop(place: Path, outside: Path) -> None:
    place.symlink_to(place.name)


def _hard_link(place: Path, outside: Path) -> None:
    place.hardlink_to(outside / "secret.txt")


def _pipe(place: Path, outside: Path) -> None:
    os.mkfifo(place)


def _socket(place: Path, outside: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(place))


PLANTED = [_link_to_a_directory, _link_to_a_file, _relative_link, _dangling_link, _loop, _hard_link, _pipe, _socket]


@pytest.mark.parametrize("plant", PLANTED)
def test_what_is_planted_in_the_target_is_no_way_out(guarded: Guarded, plant: Callable[[Path, Path], None]):
    """Below it nothing is placed; in its place a file takes its name, and what it stood for is left alone."""
    for name in ("below", "at", "gone", "a-dir"):
        plant(guarded.target / name, guarded.outside)
    if plant is _hard_link:
        guarded = _again(guarded)  # its count is now what it is
    changes = [*puts(entry(b"below/file"), CONTENT), *puts(entry(b"below/deep/file"), CONTENT), link(b"below/link", b"x")]
    applied = guarded.apply(*changes, directory(b"below/dir"), directory(b"a-dir"), Remove(entry(b"below/secret.txt")))

    assert {refusal.code for refusal in applied.refusals} == {"stranger"}
    assert {refusal.entry.path for refusal in applied.refusals} >= {
        b"below/file",
        b"below/deep/file",
        b"below/link",
        b"a-dir",
    }
    guarded.holds()
    applied = guarded.apply(*puts(entry(b"at"), CONTENT), Remove(entry(b"gone")))
    assert (len(applied.entries), applied.refusals) == (1, ())
    assert _bytes(os.fsencode(guarded.target / "at")) == CONTENT
    assert not os.path.lexists(guarded.target / "gone")
    _holds_but_for_counts(guarded, plant)


def _again(guarded: Guarded) -> Guarded:
    guarded._before = guarded._look()
    return guarded


def _holds_but_for_counts(guarded: Guarded, plant: Callable[[Path, Path], None]) -> None:
    """A hard link that is gone changes the count, and so the time of change, of what it was a name of."""
    if plant is _hard_link:
        assert (guarded.outside / "secret.txt").read_text() == "untouched"
        assert (guarded.outside / "secret.txt").stat().st_mode & 0o777 != 0o640
    else:
        guarded.holds()


@pytest.mark.parametrize("plant", [_link_to_a_directory, _link_to_a_file, _dangling_link, _pipe])
def test_what_is_planted_in_place_of_the_staging_directory_is_not_used(
    guarded: Guarded, plant: Callable[[Path, Path], None]
):
    """Beside a target in a place where others may write, too."""
    plant(guarded.home / "target.crossfade", guarded.outside)
    _again(guarded)
    applied = guarded.apply(*puts(entry(b"file"), CONTENT))

    assert applied.refusals == ()
    assert guarded.written() == {b"file": CONTENT}
    guarded.holds()


def test_a_staging_directory_of_somebody_else_is_not_used(guarded: Guarded):
    """Its owner could put there, under a name that can be foretold, another name of a file of ours."""
    staging = guarded.home / "target.crossfade"
    staging.mkdir(mode=0o777)
    os.chown(staging, 65534, 65534) if os.geteuid() == 0 else staging.chmod(0o777)
    _again(guarded)
    guarded.apply(*puts(entry(b"file"), CONTENT))

    assert guarded.written() == {b"file": CONTENT}
    guarded.holds()


# Whoever works in the target meanwhile


@contextmanager
def _swapping(place: Path, other: Path) -> Iterator[None]:
    """Somebody exchanges the directory *place* for a link to *other*, and back, as fast as can be."""
    over = threading.Event()
    aside = place.with_name("aside")

    def swap() -> None:
        while not over.is_set():
            with suppress(OSError):
                place.rename(aside)
                place.symlink_to(other)
                place.unlink()
                aside.rename(place)

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        yield
    finally:
        over.set()
        swapper.join()


def test_a_directory_that_is_exchanged_for_a_link_again_and_again(guarded: Guarded):
    """Between the look at it and the use of it, too: a directory is opened once, and everything happens in what is open."""
    (guarded.target / "d").mkdir()
    placed = 0
    with _swapping(guarded.target / "d", guarded.outside):
        for number in range(150):
            with suppress(FileNotFoundError):  # caught while it was away
                applied = guarded.apply(*puts(entry(b"d/%d" % number), CONTENT), directory(b"d"))
                placed += len(applied.entries)
    shutil.rmtree(guarded.home / "target.crossfade", ignore_errors=True)  # what was staged when it was away
    guarded.holds()
    assert placed


def test_a_file_that_is_exchanged_for_a_link_before_its_mode_is_changed(guarded: Guarded, monkeypatch: pytest.MonkeyPatch):
    """At the worst moment: after the look, before the change."""
    place, looked = guarded.target / "file", os.stat
    place.write_bytes(CONTENT)
    place.chmod(0o600)

    def exchanged(name: Any, *given: Any, **named: Any) -> os.stat_result:
        found = looked(name, *given, **named)
        if name == b"file" and place.is_file() and not place.is_symlink():
            place.unlink()
            place.symlink_to(guarded.outside / "secret.txt")
        return found

    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", exchanged)
        with suppress(OSError):
            guarded.apply(Touch(entry(b"file")))
    guarded.holds()


@pytest.mark.parametrize("plant", [_link_to_a_directory, _link_to_a_file, _pipe, _socket])
def test_what_is_exchanged_before_it_is_read_is_not_read(guarded: Guarded, plant: Callable[[Path, Path], None]):
    """The way in: no file outside of the source is ever copied as if it were in it, and no pipe is waited for."""
    for path in ("a/secret.txt", "b"):
        (guarded.target / path).parent.mkdir(exist_ok=True)
        (guarded.target / path).write_bytes(CONTENT)
    store = FileStore(parse(str(guarded.target)), LAYOUT)
    listed = [found for found in store.entries() if found.type == "file"]
    shutil.rmtree(guarded.target / "a")
    (guarded.target / "b").unlink()
    plant(guarded.target / "a", guarded.outside)
    plant(guarded.target / "b", guarded.outside)
    store.close()
    store = FileStore(parse(str(guarded.target)), LAYOUT)
    read = []
    for one in listed:
        with suppress(OSError):
            read += [block.data for block in store.read([Reading(one)])]
    store.close()

    assert b"untouched" not in b"".join(read)
    guarded.holds()


# A database that somebody edited


def test_a_database_full_of_hostile_entries(person: Person, database: Database, tiny: Path, tmp_path: Path):
    """Planted by SQL: what can be placed is restored, all else is in quarantine by its reason, and the run ends with 4."""
    person.moves(tiny, database.url)
    guarded = Guarded(tmp_path / "guarded")
    hostile = _hostile()
    with database.connect() as connection:
        ((store,),) = connection.execute("SELECT store_id FROM stores").fetchall()
        for key, type_, text in hostile:
            connection.execute(
                "INSERT INTO entries (store_id, path, key, type, kind, form, generation, size, records, raws, mode, mtime_ns,"
                " link, digest, complete, unstable) VALUES (%s, %s, %s, %s, %s, 'blob', 1, 0, 0, 0, 420, %s, %s, %s, true, false)",
                [store, text_of(path_of(key)), key, type_, "other" if type_ == "file" else "", TIME, text, _EMPTY],
            )
    run = person.types("start", database.url, guarded.target, "--once", "--error-budget", "100")
    items = person.asks("quarantine", database.url, guarded.target, "list")["items"]

    guarded.holds()
    assert run.status == 4, run
    assert {bytes.fromhex(item["key"]) for item in items} == {key for key, _, _ in hostile}
    assert (guarded.target / "sessions" / "one.json").read_bytes() == (tiny / "sessions" / "one.json").read_bytes()
    again = person.types("start", database.url, guarded.target, "--once", "--error-budget", "100")
    assert again.status == 4, again
    guarded.holds()


_EMPTY = bytes.fromhex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")


def _hostile() -> list[tuple[bytes, str, bytes]]:
    """Keys (NUL stands for a slash), types and link texts that no tree has."""
    keys = [b"..\0escaped", b"\0etc\0passwd", b"a\0..\0..\0escaped", b"a\0\0b", b"a\0", b".", b"..", b"a\0.\0b", b"n" * 256]
    files = [(key, "file", b"") for key in keys]
    links = [
        (b"..\0link", "link", b"/etc"),
        (b"no-text", "link", b""),
        (b"nul", "link", b"a\0b"),
        (b"long", "link", b"l" * 5000),
    ]
    return [*files, *links, (b"..\0dir", "dir", b"")]


@pytest.mark.parametrize("key", [b"/etc/escaped", b"x/../../escaped", b"sessions/one.json"])
def test_a_key_with_a_slash_is_no_path(person: Person, database: Database, tiny: Path, tmp_path: Path, key: bytes):
    """It would be another entry's path, or a way out; every verb that comes upon it stops."""
    person.moves(tiny, database.url)
    guarded = Guarded(tmp_path / "guarded")
    database.run(f"UPDATE entries SET key = '\\x{key.hex()}' WHERE path = 'latest'")
    for words in (("start", database.url, guarded.target, "--once"), ("validate", tiny, database.url)):
        run = person.types(*words)
        assert "error[CF205]" in run.err, run
        assert run.status == 2
    guarded.holds()


# A target that takes two spellings for one name


@settings(max_examples=20)
@given(
    st.permutations(
        [b"Readme", b"README", b"readme", b"caf\xc3\xa9", b"cafe\xcc\x81", b"CAF\xc3\x89", b"stra\xc3\x9fe", b"7"]
    ),
    st.booleans(),
)
def test_spellings_of_one_name_are_not_written_over_one_another(spellings: list[bytes], guards: bool):
    """The first is placed, the others are refused; so it is with directories and what is in them."""
    with fresh() as guarded, folding():
        one_page = guarded.apply(*(put for name in spellings for put in puts(entry(name), b"in " + name)), guards=guards)
        first = {refusal.entry.path for refusal in one_page.refusals}
        below = [puts(entry(b"below/" + name + b"/file"), b"in " + name) for name in spellings]
        later = [guarded.apply(*some, guards=guards) for some in below]
        refused = {refusal.entry.path[6:-5]: refusal.code for applied in later for refusal in applied.refusals}

        placed = [name for name in spellings if name not in first]
        assert len(placed) == 4  # readme, café, straße, 7
        assert refused == dict.fromkeys(first, "name-collides")
        assert {refusal.code for refusal in one_page.refusals} == {"name-collides"}
        every = {name: b"in " + name for name in placed}
        assert guarded.written() == every | {b"below/%b/file" % name: content for name, content in every.items()}


def test_a_stranger_under_another_spelling_is_left_alone(guarded: Guarded):
    """Also where strangers may stay; and what we wrote ourselves is written anew under its own."""
    (guarded.target / "README").write_text("a stranger's")
    with folding():
        applied = guarded.apply(*puts(entry(b"readme"), CONTENT), *puts(entry(b"ours"), CONTENT))
        again = guarded.apply(*puts(entry(b"ours"), CONTENT + CONTENT))

    assert [refusal.code for refusal in applied.refusals] == ["name-collides"]
    assert again.refusals == ()
    assert guarded.written() == {b"README": b"a stranger's", b"ours": CONTENT + CONTENT}


def test_where_spellings_are_told_apart_all_are_placed(guarded: Guarded):
    """And a hard link under another spelling is not taken for one."""
    (guarded.target / "FILE").write_bytes(b"")
    (guarded.target / "file").hardlink_to(guarded.target / "FILE")
    spellings = [b"a", b"A", b"caf\xc3\xa9", b"cafe\xcc\x81", b"file"]
    applied = guarded.apply(*(put for name in spellings for put in puts(entry(name), name)))

    assert applied.refusals == ()
    assert guarded.written() == {name: name for name in spellings} | {b"FILE": b""}
