"""What is somebody else's on the side that does not decide, decided on values; where two versions part; what is put aside."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfade.migrate.decide import beside_database, beside_files
from crossfade.migrate.versions import differs_at
from crossfade.model.entries import Entry, Signature, altered
from crossfade.store.backends.file.aside import Aside

SEEN, LATER = Signature(3, 1, 1, 7), Signature(3, 2, 2, 7)
HELD = Entry(b"a", kind="k", size=3, digest=b"d", marked=b"d", signature=SEEN, row=1)
"""An entry of a database, with the mark of a file."""

FILE = Entry(b"a", kind="k", size=3, signature=SEEN)
GONE = altered(HELD, type="gone", digest=None)
LINK = Entry(b"a", "link", link=b"text", marked=hashlib.sha256(b"text").digest(), signature=SEEN, row=1)
DIRECTORY = Entry(b"a", "dir", signature=SEEN, row=1)


def verb(task) -> str:
    return "nothing" if task is None else task.verb


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        (HELD, FILE, "nothing"),
        (HELD, None, "absent"),
        (altered(HELD, digest=b"new"), None, "put"),
        (altered(HELD, signature=None, marked=None), None, "put"),
        (HELD, altered(FILE, signature=LATER, mtime_ns=2), "conflict"),
        (None, FILE, "stranger"),
        (LINK, None, "absent"),
        (DIRECTORY, None, "absent"),
        (altered(LINK, link=b"other"), None, "touch"),
        (altered(LINK, marked=None), None, "touch"),  # a directory was marked, and made way
        (altered(HELD, marked=None), None, "put"),
        (altered(DIRECTORY, marked=b"d"), None, "touch"),
        (GONE, None, "nothing"),
        (GONE, FILE, "remove"),
        (GONE, altered(FILE, signature=LATER), "conflict"),
    ],
)
def test_beside_files_what_somebody_removed_is_not_written_again(source, target, expected):
    """Unless the authority has another version by now: nothing of anybody's is lost by that."""
    assert expected == verb(beside_files(source, target))


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        (FILE, HELD, "nothing"),
        (FILE, altered(HELD, digest=b"x"), "conflict"),
        (None, altered(HELD, digest=b"x"), "conflict"),
        (FILE, altered(HELD, digest=b"x", complete=False), "resume"),
        (altered(FILE, signature=LATER), HELD, "refresh"),
        (None, HELD, "remove"),
        (None, altered(HELD, signature=None, marked=None), "stranger"),
        (FILE, altered(HELD, signature=None, marked=None), "refresh"),
        (FILE, GONE, "absent"),
        (altered(FILE, signature=LATER), GONE, "put"),
        (FILE, altered(GONE, signature=None), "put"),
        (FILE, None, "put"),
        (None, GONE, "nothing"),
    ],
)
def test_beside_a_database_what_was_written_by_hand_is_left_alone(source, target, expected):
    """What came from the files has their mark, and the digest that it had then."""
    assert expected == verb(beside_database(source, target))


@given(st.lists(st.binary(max_size=5)), st.lists(st.binary(max_size=5)))
def test_two_streams_part_where_their_bytes_do(one, other):
    """However they are cut; and where one of them ends."""
    here, there = b"".join(one), b"".join(other)
    expected = next((at for at, (a, b) in enumerate(zip(here, there, strict=False)) if a != b), min(len(here), len(there)))

    assert differs_at(iter(one), iter(other)) == (None if here == there else expected)


def test_what_is_put_aside_stands_beside_the_root_under_its_number(tmp_path: Path):
    """Whole directories, too, and twice the same; where nothing is, nothing is kept."""
    root = tmp_path / "root"
    (root / "d").mkdir(parents=True)
    (root / "d/f").write_text("x")
    aside = Aside(bytes(root))
    assert aside.find(b"d", 7) == b""

    first = aside.move(b"d", 7)
    assert Path(os.fsdecode(first)) == tmp_path / "root.crossfade/drift/7-d"
    assert aside.find(b"d", 7) == first
    assert (tmp_path / "root.crossfade/drift/7-d/f").read_text() == "x"
    (root / "d").write_text("y")
    assert aside.move(b"d", 7).endswith(b"/7-d.2")
    assert list(root.iterdir()) == []
    with pytest.raises(FileNotFoundError):
        aside.move(b"d", 7)


def test_in_a_root_that_is_a_file_system_of_its_own_it_stands_inside(tmp_path: Path):
    """Under a name that the walk passes over."""
    place = Aside(bytes(tmp_path))._place(b"d/f", 7, device=-1)

    assert os.path.dirname(place) == bytes(tmp_path / ".crossfade")
    assert len(os.path.basename(place)) == 40
