"""What has to be done for one path: both directions as tables, and the merge that feeds them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfade.migrate.decide import Task, toward_database, toward_files
from crossfade.migrate.inventory import merge, tasks
from crossfade.model.entries import Entry, Signature, altered
from crossfade.model.paths import key_of

SEEN = Signature(10, 5, 6, 7)
LATER = Signature(10, 5, 99, 7)
OTHER = Signature(10, 5, 99, 8)
FILE = Entry(b"p", kind="k", form="log", size=10, mode=0o644, mtime_ns=5)
DIR = Entry(b"p", "dir", mode=0o755, mtime_ns=5)
LINK = Entry(b"p", "link", mode=0o777, mtime_ns=5, link=b"text")
GONE = altered(FILE, type="gone", size=0, row=3)


def on_disk(entry: Entry = FILE, **changes: object) -> Entry:
    """As a directory shows it: with a signature, without a digest."""
    return altered(entry, **{"signature": SEEN, **changes})  # type: ignore[arg-type]


def kept(entry: Entry = FILE, **changes: object) -> Entry:
    """As a database shows it: with a digest, and the mark of this migration."""
    return altered(entry, **{"signature": SEEN, "digest": b"d", "marked": b"d", "row": 3, **changes})  # type: ignore[arg-type]


TOWARD_DATABASE = {
    "nothing on either side": (None, None, None),
    "new file": (on_disk(), None, "put"),
    "new directory": (on_disk(DIR), None, "touch"),
    "new link": (on_disk(LINK), None, "touch"),
    "in step": (on_disk(), kept(), None),
    "in step, a directory": (on_disk(DIR), kept(DIR, digest=None), None),
    "in step, a link, whose mode nobody keeps": (on_disk(LINK), kept(LINK, mode=0o755), None),
    "removed": (None, kept(), "remove"),
    "removed, and known": (None, GONE, None),
    "came back": (on_disk(), GONE, "put"),
    "came back as a directory": (on_disk(DIR), GONE, "touch"),
    "not touched, copy cut short": (on_disk(), kept(complete=False, digest=None), "resume"),
    "touched, copy cut short": (on_disk(signature=LATER), kept(complete=False, digest=None), "refresh"),
    "touched": (on_disk(signature=LATER), kept(), "refresh"),
    "never marked": (on_disk(), kept(signature=None), "refresh"),
    "would not hold still last time": (on_disk(), kept(unstable=True), "refresh"),
    "other mode, same signature": (on_disk(mode=0o600), kept(), "touch"),
    "other mode, a directory": (on_disk(DIR, mode=0o700), kept(DIR), "touch"),
    "other time, a directory": (on_disk(DIR, mtime_ns=6), kept(DIR), "touch"),
    "other link": (on_disk(LINK, link=b"other"), kept(LINK), "touch"),
    "file became directory": (on_disk(DIR), kept(), "touch"),
    "directory became file": (on_disk(), kept(DIR), "put"),
    "link became file": (on_disk(), kept(LINK), "put"),
    "database to database, in step": (kept(signature=None), kept(), None),
    "database to database, other content": (kept(digest=b"e", signature=None), kept(), "refresh"),
    "database to database, other mode": (kept(mode=0o600, signature=None), kept(), "touch"),
    "database to database, cut short": (kept(signature=None), kept(complete=False, digest=None), "refresh"),
}


@pytest.mark.parametrize("case", TOWARD_DATABASE)
def test_what_brings_a_database_in_step(case):
    """The mark beside the target's entry is what the source's file looked like when it was taken."""
    source, target, verb = TOWARD_DATABASE[case]
    task = toward_database(source, target)

    assert (task.verb if task else None) == verb
    assert task is None or (task.source, task.target) == (source, target)


TOWARD_FILES = {
    "nothing on either side": (None, None, None),
    "new file": (kept(signature=None), None, "put"),
    "written before, deleted by somebody": (kept(), None, "put"),
    "new directory": (kept(DIR), None, "touch"),
    "new link": (kept(LINK), None, "touch"),
    "in step": (kept(), on_disk(), None),
    "in step, a directory": (kept(DIR, signature=None), on_disk(DIR), None),
    "in step, a link": (kept(LINK), on_disk(LINK), None),
    "other content since": (kept(digest=b"e"), on_disk(), "put"),
    "a log that grew": (kept(digest=b"e", size=20), on_disk(), "append"),
    "a document that grew": (kept(digest=b"e", size=20, form="document"), on_disk(), "put"),
    "a log that shrank": (kept(digest=b"e", size=9), on_disk(), "put"),
    "appended in part before a crash": (kept(size=20), on_disk(size=15, signature=LATER), "append"),
    "appended as a whole before a crash": (kept(size=20, mtime_ns=9), on_disk(size=20, signature=LATER), "append"),
    "more than was to be appended": (kept(size=20), on_disk(size=21, signature=LATER), "conflict"),
    "another log where one was to grow": (kept(size=20), on_disk(size=15, signature=OTHER), "conflict"),
    "a document, changed here to more": (kept(size=20, form="document"), on_disk(size=15, signature=LATER), "conflict"),
    "other mode since": (kept(mode=0o600), on_disk(), "touch"),
    "other link since": (kept(LINK, link=b"other"), on_disk(LINK), "touch"),
    "directory, other mode": (kept(DIR, mode=0o700), on_disk(DIR), "touch"),
    "stranger": (None, on_disk(), "stranger"),
    "stranger where something was removed that we never wrote": (altered(GONE, signature=None), on_disk(), "stranger"),
    "removed in the source": (altered(GONE, signature=SEEN), on_disk(), "remove"),
    "removed in the source, changed here": (altered(GONE, signature=SEEN), on_disk(signature=LATER), "conflict"),
    "removed in the source and here": (altered(GONE, signature=SEEN), None, None),
    "directory removed in the source": (altered(GONE, signature=SEEN), on_disk(DIR, signature=LATER), "remove"),
    "changed here": (kept(), on_disk(signature=LATER, mtime_ns=9), "conflict"),
    "changed here, other size": (kept(), on_disk(signature=LATER, size=11), "conflict"),
    "written, but not marked before a crash": (kept(signature=None, marked=None), on_disk(), "adopt"),
    "a stranger's file in its place": (kept(signature=None, marked=None), on_disk(mtime_ns=9), "conflict"),
    "a stranger's directory in its place": (kept(signature=None), on_disk(DIR), "conflict"),
    "ours, became a link": (kept(LINK), on_disk(), "touch"),
    "ours, became a file": (kept(), on_disk(LINK), "put"),
}


@pytest.mark.parametrize("case", TOWARD_FILES)
def test_what_brings_files_in_step(case):
    """The mark beside the source's entry is what the target's file looked like when we wrote it."""
    source, target, verb = TOWARD_FILES[case]
    task = toward_files(source, target)

    assert (task.verb if task else None) == verb


def test_only_our_own_files_are_removed_or_replaced():
    """Whatever the source says, a file whose signature we did not write is never ours to change."""
    for source, target, _ in TOWARD_FILES.values():
        task = toward_files(source, target)
        if task is None or target is None or target.type == "dir" or task.verb not in ("put", "remove", "touch"):
            continue
        assert source is not None
        assert source.signature == target.signature


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        (FILE, DIR, True),
        (DIR, FILE, True),
        (FILE, GONE, False),
        (FILE, FILE, False),
        (FILE, None, False),
        (None, FILE, False),
    ],
)
def test_what_is_in_the_way_is_removed_first(source, target, expected):
    """A tombstone is not in the way."""
    assert Task("put", source, target).replaces == expected


paths = st.lists(st.sampled_from([b"a", b"b", b"a.b", b"\xff", b"a-"]), min_size=1, max_size=3).map(b"/".join)
sides = st.sets(paths, max_size=10).map(lambda found: sorted((Entry(path) for path in found), key=lambda e: key_of(e.path)))


@given(sides, sides)
def test_a_merge_pairs_what_has_the_same_path(one, other):
    """Each entry of each side exactly once, in key order."""
    pairs = list(merge(one, other))
    seen = [(left or right).path for left, right in pairs]  # type: ignore[union-attr]

    assert [left for left, _ in pairs if left] == one
    assert [right for _, right in pairs if right] == other
    assert seen == sorted({e.path for e in [*one, *other]}, key=key_of)
    assert all(left.path == right.path for left, right in pairs if left and right)


def test_a_side_out_of_order_is_noticed():
    """A merge of it would remove what is there, and put it again."""
    with pytest.raises(AssertionError):
        list(merge([Entry(b"a.b"), Entry(b"a/x")], []))


@given(sides, sides)
def test_a_side_is_in_step_with_itself(one, other):
    """Nothing to do is what a second run finds."""
    disk = [altered(entry, signature=SEEN) for entry in one]
    base = [altered(entry, digest=b"d", marked=b"d") for entry in disk]

    assert list(tasks(disk, base, toward_database, None)) == []
    assert list(tasks(base, disk, toward_files, None)) == []
    assert {task.verb for task in tasks(disk, [], toward_database, None)} <= {"put"}
    assert len(list(tasks(disk, other, toward_database, None))) >= len(set(map(str, one)) ^ set(map(str, other))) // 2


def test_only_the_chosen_kinds_are_worked_on():
    """Directories and links come along always: a file needs its directory."""
    side = [
        on_disk(DIR, path=b"a"),
        on_disk(kind="k", path=b"a/k"),
        on_disk(kind="other", path=b"a/o"),
        on_disk(LINK, path=b"l"),
    ]
    found = tasks(side, [], toward_database, frozenset({"k"}))

    assert [task.entry.path for task in found] == [b"a", b"a/k", b"l"]
