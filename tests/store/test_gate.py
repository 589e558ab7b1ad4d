"""Writers and a hand-over meet at the gate: no write is cut through, none is starved, none goes to the wrong side."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from crossfade.errors import GateShut
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
