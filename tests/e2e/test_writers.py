"""Writers of crossfade's own, where the marker beside the files does not say it all: they find the side that decides, or are refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from crossfade.errors import Fenced, LocationInvalid, TargetUnreachable
from crossfade.store.backends.file.gate import Gate, Marker
from crossfade.store.writer import Writer
from support.running import Terminal
from support.servers import Database

LOG = b"events/r/j/events-1.jsonl"
FIRST, SECOND = b'{"id":"first"}\n', b'{"id":"second"}\n'


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    return Terminal(tmp_path / "state")


def tree(root: Path) -> Path:
    (root / LOG.decode()).parent.mkdir(parents=True)
    (root / LOG.decode()).write_bytes(FIRST)
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tree(tmp_path / "live")


def done(terminal: Terminal, *words: object) -> None:
    found = terminal.run(*words)
    assert found.status == 0, found


def hand_over(terminal: Terminal, verb: str, root: Path, database: Database) -> None:
    done(terminal, verb, root, database.url, "--writers-stopped")


def in_the_files(root: Path) -> bytes:
    return (root / LOG.decode()).read_bytes()


def in_the_database(database: Database, name: str = "live") -> list[object]:
    schema = database.location.schema
    query = f'SELECT id FROM "{schema}".events JOIN "{schema}".stores USING (store_id) WHERE name = %s ORDER BY pos'
    return [identity for (identity,) in database.all(query, name)]


def half_done(root: Path, database: Database) -> Gate:
    """The marker as a runner leaves it that dies between the decision and the last step."""
    gate = Gate(bytes(root))
    marker = gate.read() or Marker("0123456789ab", database.location.url, root.name, 1, {})
    gate.write(Marker(marker.migration, marker.database, marker.store, marker.epoch - 1, {"": "undecided"}))
    return gate


def test_while_nothing_is_decided_the_routes_epoch_counts(terminal: Terminal, root: Path, database: Database):
    """The marker has the epoch from before the decision: whoever knows that one is the old writer."""
    done(terminal, "start", "--once", root, database.url)
    hand_over(terminal, "cutover", root, database)
    hand_over(terminal, "rollback", root, database)
    half_done(root, database)

    with Writer(bytes(root), database.url, epoch=2) as writer, pytest.raises(Fenced):
        writer.append(LOG, SECOND)
    assert in_the_files(root) == FIRST
    with Writer(bytes(root), database.url, epoch=3) as writer:
        writer.append(LOG, SECOND)
    assert in_the_files(root) == FIRST + SECOND


def test_a_writer_asks_about_its_own_tree_among_several(terminal: Terminal, root: Path, database: Database, tmp_path: Path):
    """It was not told the name: the marker has it."""
    other = tree(tmp_path / "another")
    done(terminal, "start", "--once", other, database.url)
    done(terminal, "start", "--once", root, database.url)
    hand_over(terminal, "cutover", root, database)
    half_done(root, database)

    with Writer(bytes(root), database.url) as writer:
        writer.append(LOG, SECOND)
    assert in_the_files(root) == FIRST
    assert in_the_database(database) == ["first", "second"]
    assert in_the_database(database, "another") == ["first"]


def test_where_the_marker_is_gone_the_database_says_who_decides(terminal: Terminal, root: Path, database: Database, tmp_path: Path):
    """A new volume has none, nor has one that holds the tree alone. Another spelling of the path is the same tree."""
    done(terminal, "start", "--once", tree(tmp_path / "another"), database.url)
    done(terminal, "start", "--once", root, database.url)
    hand_over(terminal, "cutover", root, database)
    shutil.rmtree(tmp_path / "live.crossfade")
    link = tmp_path / "link"
    link.symlink_to(root)

    with Writer(bytes(link), database.url, epoch=1) as writer, pytest.raises(Fenced):
        writer.append(LOG, SECOND)
    with Writer(bytes(link), database.url, epoch=2) as writer:
        writer.append(LOG, SECOND)
    assert in_the_files(root) == FIRST
    assert in_the_database(database) == ["first", "second"]


def test_a_tree_that_was_never_handed_over_is_decided_by_its_files(terminal: Terminal, root: Path, database: Database):
    """Before there is a schema, and when there is; a hand-over that comes later has a marker."""
    with Writer(bytes(root), database.url) as early:
        early.append(LOG, SECOND)
        assert in_the_files(root) == FIRST + SECOND
        done(terminal, "start", "--once", root, database.url)
        with Writer(bytes(root), database.url, epoch=1) as writer:
            writer.append(LOG, b'{"id":"third"}\n')
        assert in_the_files(root).endswith(b'"third"}\n')
        hand_over(terminal, "cutover", root, database)
        early.append(LOG, b'{"id":"fourth"}\n')
    assert in_the_database(database) == ["first", "second", "third", "fourth"]


def test_who_decides_is_never_guessed(terminal: Terminal, root: Path, database: Database):
    """A database that is away is waited for; of two trees that come from here, one has to be named."""
    with Writer(bytes(root), "postgresql://127.0.0.1:1/state", patience_seconds=0.3) as writer:
        with pytest.raises(TargetUnreachable):
            writer.append(LOG, SECOND)
    for name in ("one", "two"):
        done(terminal, "start", "--once", root, database.url, "--store-name", name)
    with Writer(bytes(root), database.url) as writer, pytest.raises(LocationInvalid, match="one, two"):
        writer.append(LOG, SECOND)
    with Writer(bytes(root), database.url, store="two") as writer:
        writer.append(LOG, SECOND)
    assert in_the_files(root) == FIRST + SECOND
