"""Writers and a hand-over meet at the gate: no write is cut through, none is starved, none goes to the wrong side."""

from __future__ import annotations

import json
import os
import shlex
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from crossfade.errors import Fenced, GateShut, TargetUnfit
from crossfade.store.backends.file.gate import Gate, Marker


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    (tmp_path / "tree").mkdir()
    return Gate(bytes(tmp_path / "tree"))


def test_a_tree_without_a_marker_says_nothing_of_who_decides(gate: Gate):
    """Whoever writes has to ask the database: the marker may have stood on a volume that is gone."""
    with gate.entered() as marker:
        assert marker is None


def test_a_marker_stands_beside_the_tree_and_is_read_again(gate: Gate, tmp_path: Path):
    written = Marker("0123456789ab", "postgresql://db/state", "prodigy", 4, {"": "database", "sessions": "files"})
    gate.write(written)

    with gate.entered() as marker:
        assert marker == written
        assert (marker.side_of("events"), marker.side_of("sessions")) == ("database", "files")
    assert not list((tmp_path / "tree").iterdir())


def test_a_write_in_flight_is_waited_for_and_no_longer_than_said(gate: Gate):
    with gate.entered(), pytest.raises(GateShut), gate.closed(0.05):
        pytest.fail("it closed over a write")
    with gate.closed(0.05):
        pass


def test_busy_writers_do_not_keep_it_open(gate: Gate):
    """Shared locks overlap without a gap; only the turnstile lets an exclusive one through."""
    over, inside, clashes = threading.Event(), threading.Event(), []

    def write() -> None:
        while not over.is_set():
            with gate.entered():
                time.sleep(0.002)
                if inside.is_set():
                    clashes.append(1)

    writers = [threading.Thread(target=write) for _ in range(4)]
    for writer in writers:
        writer.start()
    try:
        for _ in range(5):
            with gate.closed(5):
                inside.set()
                time.sleep(0.01)
                inside.clear()
    finally:
        over.set()
        for writer in writers:
            writer.join()
    assert not clashes


def test_a_writer_waits_no_longer_than_it_said(gate: Gate):
    """Whoever closed it may have been stopped."""
    began = time.monotonic()
    with gate.closed(1), pytest.raises(GateShut), gate.entered(0.1):
        pytest.fail("it came in while the gate was closed")
    assert time.monotonic() - began < 5
    with gate.entered(0.1):
        pass


MARKER = Marker("0123456789ab", "postgresql://db/state", "prodigy", 2, {"": "database"}, runner=7)


@pytest.mark.parametrize("late", [{"epoch": 1, "runner": 9}, {"runner": 6}, {"migration": "cba987654321", "epoch": 1}])
def test_a_runner_that_slept_puts_no_old_marker_over_a_new_one(gate: Gate, late: dict[str, int]):
    """The route was handed over since, or another one runs the migration."""
    gate.write(MARKER)
    with pytest.raises(Fenced):
        gate.write(replace(MARKER, authority={"": "files"}, **late))
    assert gate.read() == MARKER
    gate.write(replace(MARKER, authority={"": "undecided"}))
    assert gate.read() == replace(MARKER, authority={"": "undecided"})


def test_a_marker_of_a_database_that_was_made_anew_is_written_over_by_name(gate: Gate):
    """Its numbers begin anew. What was looked at may be replaced, and nothing that came since."""
    gate.write(MARKER)
    anew = replace(MARKER, authority={"": "files"}, epoch=1, runner=1)
    gate.write(anew, instead_of=MARKER)
    assert gate.read() == anew
    gate.write(MARKER)
    with pytest.raises(Fenced):
        gate.write(anew, instead_of=replace(MARKER, runner=6))


def test_files_that_another_database_decides_about_are_handed_to_nobody_else(gate: Gate):
    """While they decide themselves, each may have them."""
    other = replace(MARKER, migration="cba987654321", database="postgresql://db/other", authority={"": "undecided"}, epoch=5)
    gate.write(MARKER)
    with pytest.raises(GateShut, match="migration 0123456789ab has handed these files over"):
        gate.write(other)
    gate.write(replace(MARKER, authority={"": "files"}, epoch=3))
    gate.write(other)
    assert gate.read() == other


def test_what_leads_on_from_another_s_marker_is_named_as_a_shell_takes_it(tmp_path: Path):
    """The database, and the file that may go where that is gone for good."""
    (tmp_path / "it's a tree").mkdir()
    gate, database = Gate(bytes(tmp_path / "it's a tree")), "postgresql://db/state?sslmode=require&schema=other"
    gate.write(replace(MARKER, database=database))
    with pytest.raises(GateShut) as refusal:
        gate.write(replace(MARKER, migration="cba987654321", epoch=5))
    command, _, removal = refusal.value.hint.partition("   # or, where that one is gone for good: ")
    assert shlex.split(command) == ["crossfade", "rollback", "0123456789ab", "--store", database]
    assert shlex.split(removal) == ["rm", os.fsdecode(os.path.join(gate.directory, b"route.json"))]


def test_a_marker_of_a_newer_release_is_refused_with_a_word(gate: Gate):
    """It may say more than this release understands: whoever writes stops, and learns why."""
    gate.write(MARKER)
    path = os.path.join(gate.directory, b"route.json")
    with open(path, encoding="utf-8") as file:
        values = json.load(file)
    with open(path, "w", encoding="utf-8") as file:
        json.dump({**values, "schema_version": 2, "since": "tomorrow"}, file)

    with pytest.raises(TargetUnfit, match="was written by a newer release"), gate.entered():
        pytest.fail("it came in")
