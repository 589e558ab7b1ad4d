"""Writers of crossfade's own, where the marker beside the files does not say it all: they find the side that decides, or are refused."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from crossfade.errors import Fenced, LocationInvalid, TargetUnreachable
from crossfade.store.backends.file.gate import Gate, Marker
from crossfade.store.writer import Writer
from support.person import Person
from support.running import finish
from support.servers import Database

LOG = b"events/r/j/events-1.jsonl"
FIRST, SECOND = b'{"id":"first"}\n', b'{"id":"second"}\n'


@pytest.fixture
def person(tmp_path: Path) -> Person:
    return Person(tmp_path / "state")


def tree(root: Path) -> Path:
    (root / LOG.decode()).parent.mkdir(parents=True)
    (root / LOG.decode()).write_bytes(FIRST)
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tree(tmp_path / "live")


def done(person: Person, *words: object) -> None:
    found = person.types(*words)
    assert found.status == 0, found


def hand_over(person: Person, verb: str, root: Path, database: Database) -> None:
    done(person, verb, root, database.url, "--writers-stopped")


def in_the_files(root: Path) -> bytes:
    return (root / LOG.decode()).read_bytes()


def in_the_database(database: Database, name: str = "live") -> list[object]:
    schema = database.location.schema
    query = f'SELECT id FROM "{schema}".events JOIN "{schema}".stores USING (store_id) WHERE name = %s ORDER BY pos'
    return [identity for (identity,) in database.all(query, name)]


def half_done(root: Path, database: Database) -> Gate:
    """The marker as a runner leaves it that dies between the decision and the last step."""
    gate = Gate(bytes(root))
    there = gate.read()
    marker = there or Marker("0123456789ab", database.location.url, root.name, 1, {})
    before = Marker(marker.migration, marker.database, marker.store, marker.epoch - 1, {"": "undecided"})
    gate.write(before, instead_of=there)
    return gate


def test_while_nothing_is_decided_the_routes_epoch_counts(person: Person, root: Path, database: Database):
    """The marker has the epoch from before the decision: whoever knows that one is the old writer."""
    done(person, "start", "--once", root, database.url)
    hand_over(person, "cutover", root, database)
    hand_over(person, "rollback", root, database)
    half_done(root, database)

    with Writer(bytes(root), database.url, epoch=2) as writer, pytest.raises(Fenced):
        writer.append(LOG, SECOND)
    assert in_the_files(root) == FIRST
    with Writer(bytes(root), database.url, epoch=3) as writer:
        writer.append(LOG, SECOND)
    assert in_the_files(root) == FIRST + SECOND


def test_a_writer_asks_about_its_own_tree_among_several(person: Person, root: Path, database: Database, tmp_path: Path):
    """It was not told the name: the marker has it."""
    other = tree(tmp_path / "another")
    done(person, "start", "--once", other, database.url)
    done(person, "start", "--once", root, database.url)
    hand_over(person, "cutover", root, database)
    half_done(root, database)

    with Writer(bytes(root), database.url) as writer:
        writer.append(LOG, SECOND)
    assert in_the_files(root) == FIRST
    assert in_the_database(database) == ["first", "second"]
    assert in_the_database(database, "another") == ["first"]


def test_where_the_marker_is_gone_the_database_says_who_decides(
    person: Person, root: Path, database: Database, tmp_path: Path
):
    """A new volume has none, nor has one that holds the tree alone. Another spelling of the path is the same tree."""
    done(person, "start", "--once", tree(tmp_path / "another"), database.url)
    done(person, "start", "--once", root, database.url)
    hand_over(person, "cutover", root, database)
    shutil.rmtree(tmp_path / "live.crossfade")
    link = tmp_path / "link"
    link.symlink_to(root)

    with Writer(bytes(link), database.url, epoch=1) as writer, pytest.raises(Fenced):
        writer.append(LOG, SECOND)
    with Writer(bytes(link), database.url, epoch=2) as writer:
        writer.append(LOG, SECOND)
    assert in_the_files(root) == FIRST
    assert in_the_database(database) == ["first", "second"]


def test_a_tree_that_was_never_handed_over_is_decided_by_its_files(person: Person, root: Path, database: Database):
    """Before there is a schema, and when there is; a hand-over that comes later has a marker."""
    with Writer(bytes(root), database.url) as early:
        early.append(LOG, SECOND)
        assert in_the_files(root) == FIRST + SECOND
        done(person, "start", "--once", root, database.url)
        with Writer(bytes(root), database.url, epoch=1) as writer:
            writer.append(LOG, b'{"id":"third"}\n')
        assert in_the_files(root).endswith(b'"third"}\n')
        hand_over(person, "cutover", root, database)
        early.append(LOG, b'{"id":"fourth"}\n')
    assert in_the_database(database) == ["first", "second", "third", "fourth"]


def test_who_decides_is_never_guessed(person: Person, root: Path, database: Database):
    """A database that is away is waited for; of two trees that come from here, one has to be named."""
    away = Writer(bytes(root), "postgresql://127.0.0.1:1/state", patience_seconds=0.3)
    with away as writer, pytest.raises(TargetUnreachable):
        writer.append(LOG, SECOND)
    for name in ("one", "two"):
        done(person, "start", "--once", root, database.url, "--store-name", name)
    with Writer(bytes(root), database.url) as writer, pytest.raises(LocationInvalid, match="one, two"):
        writer.append(LOG, SECOND)
    with Writer(bytes(root), database.url, store="two") as writer:
        writer.append(LOG, SECOND)
    assert in_the_files(root) == FIRST + SECOND


CONTAINER = """
import os, sys
os.getpid = lambda: 1
from crossfade.store.writer import Writer
root, url, name = sys.argv[1:]
with Writer(root, url) as writer:
    for number in range(1500):
        writer.put(b"sessions/%s.json" % name.encode(), name.encode() * 100)
        assert open(f"{root}/sessions/{name}.json").read() == name * 100, number
"""


def test_two_containers_on_one_volume_do_not_mix_their_bytes(root: Path, database: Database):
    """Each is process 1, and counts from the first."""
    programs = [
        subprocess.Popen([sys.executable, "-c", CONTAINER, root, database.url, name], stderr=subprocess.PIPE)
        for name in ("one", "two")
    ]
    for program in programs:
        done = finish(program, 60)
        assert done.status == 0, done


def test_a_tree_that_is_a_file_system_of_its_own_takes_writes(root: Path, database: Database):
    """Nothing can be renamed into it from beside it. Nothing of ours is left there."""
    elsewhere = Path(tempfile.mkdtemp(dir="/dev/shm"))
    assert elsewhere.stat().st_dev != root.stat().st_dev
    try:
        root.with_name("live.crossfade").symlink_to(elsewhere)
        with Writer(bytes(root), database.url) as writer:
            writer.put(b"sessions/one.json", b"{}")
        assert (root / "sessions/one.json").read_bytes() == b"{}"
        assert [path for path in root.rglob("*") if path.is_file() and path.suffix not in (".json", ".jsonl")] == []
    finally:
        shutil.rmtree(elsewhere)


def test_a_file_that_is_replaced_keeps_its_mode(root: Path, database: Database):
    session = root / "sessions" / "one.json"
    with Writer(bytes(root), database.url) as writer:
        writer.put(b"sessions/one.json", b"{}")
        session.chmod(0o640)
        writer.put(b"sessions/one.json", b'{"id":"one"}')

    assert session.stat().st_mode & 0o777 == 0o640
    assert session.read_bytes() == b'{"id":"one"}'


def test_a_line_for_which_there_is_no_room_is_not_left_in_half(root: Path, database: Database):
    """The next one would be glued to it. A limit of the process stands in for a disk that is full."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Writer(bytes(root), database.url) as writer:
        writer.append(LOG, SECOND)
        resource.setrlimit(resource.RLIMIT_FSIZE, (os.stat(root / LOG.decode()).st_size + 5, limits[1]))
        try:
            with pytest.raises(OSError, match="too large"):
                writer.append(LOG, b'{"id":"third"}\n')
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        writer.append(LOG, b'{"id":"fourth"}\n')
    assert in_the_files(root) == FIRST + SECOND + b'{"id":"fourth"}\n'
