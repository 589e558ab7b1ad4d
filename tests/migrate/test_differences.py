"""What of two lists is a difference, and what is a source that moved: plain functions on values."""

from __future__ import annotations

import pytest

from crossfade.migrate.decide import toward_database, toward_files
from crossfade.migrate.validate.differences import of_figures, of_metadata, of_presence, source_moved
from crossfade.model.digests import Segment
from crossfade.model.entries import Entry, Signature, altered
from crossfade.model.figures import Figure

THEN, NOW = Signature(3, 5, 7, 11), Signature(3, 5, 8, 11)
FILE = Entry(path=b"a", kind="docs", form="document", size=3, mtime_ns=5, signature=THEN)
HELD = Entry(path=b"a", kind="docs", form="document", size=3, mtime_ns=5, signature=THEN, digest=b"d", row=1)


@pytest.mark.parametrize(
    ("source", "target", "moved"),
    [
        (FILE, HELD, False),
        (altered(FILE, signature=NOW), HELD, True),
        (FILE, None, True),
        (FILE, altered(HELD, type="gone"), True),
        (None, HELD, True),
        (None, altered(HELD, signature=None), False),  # nobody of ours brought that
        (FILE, altered(HELD, mode=0o600), False),
        (FILE, altered(HELD, mtime_ns=6), False),
        (FILE, altered(HELD, complete=False), True),
        (FILE, altered(HELD, unstable=True), True),
        (FILE, altered(HELD, type="dir"), False),
        (altered(FILE, type="dir", size=0), altered(HELD, type="dir", mode=0), False),
        (altered(FILE, type="dir", signature=NOW), altered(HELD, type="dir", mode=0), True),
    ],
)
def test_toward_a_database_the_mark_tells_who_moved(source: Entry | None, target: Entry | None, moved: bool):
    """It says what the source's file was when it was taken."""
    assert source_moved(toward_database(source, target), to_files=False) is moved


WRITTEN = altered(HELD, digest=b"d", marked=b"d")


@pytest.mark.parametrize(
    ("source", "target", "moved"),
    [
        (WRITTEN, FILE, False),
        (altered(WRITTEN, digest=b"e"), FILE, True),
        (altered(WRITTEN, mode=0o600), FILE, True),
        (WRITTEN, altered(FILE, signature=NOW), False),  # somebody touched what we wrote
        (WRITTEN, altered(FILE, signature=NOW, mode=0o600), False),
        (WRITTEN, None, False),  # somebody took it away
        (altered(WRITTEN, signature=None), None, True),  # new in the source
        (altered(WRITTEN, type="gone"), FILE, True),
        (altered(WRITTEN, type="gone", signature=None), FILE, False),  # a stranger of that name
        (None, FILE, False),
        (WRITTEN, altered(FILE, type="dir", signature=NOW), False),
        (altered(WRITTEN, type="dir"), altered(FILE, type="dir", mode=0), True),
        (altered(WRITTEN, type="dir"), altered(FILE, type="dir", mode=0, signature=NOW), False),
    ],
)
def test_toward_files_the_mark_tells_who_moved(source: Entry | None, target: Entry | None, moved: bool):
    """It says what the target's file was when it was written."""
    assert source_moved(toward_files(source, target), to_files=True) is moved


def test_each_way_to_differ_has_its_class():
    """Presence, type, mode, time, link text."""
    link = Entry(path=b"l", type="link", link=b"x")
    assert (of_presence(FILE, None).klass, of_presence(None, FILE).klass) == ("missing", "extra")  # type: ignore[union-attr]
    assert of_presence(FILE, altered(FILE, type="dir")).klass == "content"  # type: ignore[union-attr]
    assert of_presence(FILE, FILE) is None
    assert of_metadata(FILE, FILE) is None
    assert of_metadata(link, altered(link, mode=0)) is None  # a link has none of its own
    for change in ({"mode": 0}, {"mtime_ns": 6}):
        assert of_metadata(FILE, altered(FILE, **change)).klass == "metadata"  # type: ignore[union-attr]
    assert of_metadata(link, altered(link, link=b"y")).detail == "link text"  # type: ignore[union-attr]


def test_the_first_segment_that_differs_is_named():
    """Content before columns; a shorter side before both."""
    one, two = (Figure(Segment(n, n * 10, 10, b"%d" % n), 3, b"c%d" % n) for n in (0, 1))
    other = Figure(Segment(1, 10, 10, b"x"), 3, b"c1")
    columns = Figure(one.segment, 3, b"y")
    fewer = Figure(one.segment, 2, b"c0")

    assert of_figures(FILE, (one, two), (one, two)) is None
    for source, target, wanted in (
        ((one, two), (one, other), ("content", "bytes differ", 1, 10)),
        ((columns, two), (one, other), ("content", "bytes differ", 1, 10)),
        ((one, two), (one,), ("content", "the target ends early", 1, 10)),
        ((one,), (one, two), ("content", "the target goes on", 1, 10)),
        ((), (one,), ("content", "the target goes on", 0, 0)),
        ((one, two), (columns, two), ("column", "promoted columns", 0, 0)),
        ((one, two), (fewer, two), ("column", "3 records, here 2", 0, 0)),
    ):
        found = of_figures(FILE, source, target)
        assert found is not None
        assert (found.klass, found.detail, found.segment, found.offset) == wanted
