"""What is put aside is kept, however often that is, and wherever there is room for it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from crossfade.store.backends.file.aside import Aside

ELSEWHERE = -1
"""A device that is not that of any directory: as if the root were a file system of its own."""


@pytest.mark.parametrize("device", [None, ELSEWHERE])
def test_what_was_put_aside_first_is_not_covered_by_what_comes_next(tmp_path: Path, device: int | None):
    root = tmp_path / "tree"
    root.mkdir()
    aside = Aside(os.fsencode(root))
    places = []
    for number in range(3):
        place = aside._place(b"d/one.json", 7, root.stat().st_dev if device is None else device)
        Path(os.fsdecode(place)).write_text(str(number))
        places.append(place)
        assert aside.find(b"d/one.json", 7) == place
    os.unlink(places[1])

    assert [Path(os.fsdecode(place)).read_text() for place in (places[0], places[2])] == ["0", "2"]
    assert aside.find(b"d/one.json", 7) == places[2]
    assert aside.find(b"d/one.json", 8) == b""
    assert (b"tree.crossfade" in places[0]) == (device is None)
