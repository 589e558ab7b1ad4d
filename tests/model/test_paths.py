"""Paths are bytes; their two renderings come back, and their order is the order of a walk."""

from __future__ import annotations

import os

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from crossfade.model.paths import from_text, key_of, leaves_root, parent_of, path_of, text_of

names = (
    st.binary(min_size=1, max_size=6)
    .map(lambda name: name.replace(b"/", b"-").replace(b"\0", b"+"))
    .filter(lambda name: name not in (b".", b".."))
)
paths = st.lists(names, min_size=1, max_size=4).map(b"/".join)


@given(st.binary(max_size=40))
@example(b"\\x41")
@example(b"\\\\x41")
@example(b"a\\")
@example(b"\xed\xb3\xbf")
@example("ü\u2028😀".encode())
def test_a_printed_path_can_be_read_back(path):
    """A person may copy it from a report into a command."""
    text = text_of(path)

    assert from_text(text) == path
    assert not any(character < " " or character == "\x7f" for character in text)
    assert not any("\ud800" <= character <= "\udfff" for character in text)


@given(paths, paths)
def test_two_paths_never_look_the_same(one, other):
    """What is told apart on disk is told apart in a report."""
    assert (text_of(one) == text_of(other)) == (one == other)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (b"sessions/s-1.json", "sessions/s-1.json"),
        ("ü/é".encode(), "ü/é"),
        (b"\xff\xfe", r"\xff\xfe"),
        (b"a\nb\x7f", r"a\x0ab\x7f"),
        (b"C:\\x", r"C:\\x"),
    ],
)
def test_what_can_be_printed_is_left_as_it_is(path, text):
    """Nobody wants to read escapes where none are needed."""
    assert text_of(path) == text


@given(paths)
def test_a_key_gives_its_path_back(path):
    """The database keeps the key only."""
    assert path_of(key_of(path)) == path


def walk(tree: dict[bytes, dict], at: bytes = b"") -> list[bytes]:
    """Depth first, names sorted bytewise."""
    found = []
    for name in sorted(tree):
        path = at + b"/" + name if at else name
        found += [path, *walk(tree[name], path)]
    return found


@given(st.lists(paths, max_size=12))
@example([b"a/x", b"a.b", b"a", b"a-", b"a\x01"])
def test_keys_sort_as_a_walk_goes(listed):
    """So that a directory tree and a database are merged as two sorted streams."""
    tree: dict[bytes, dict] = {}
    for path in listed:
        here = tree
        for name in path.split(b"/"):
            here = here.setdefault(name, {})
    every = walk(tree)

    assert sorted(every, key=key_of) == every


@given(st.lists(st.sampled_from([b"..", b".", b"", b"a", b"b", b"..."]), min_size=1, max_size=5).map(b"/".join))
def test_what_leaves_the_root_is_noticed(path):
    """A database may hold any text as a path; none of them may name a place outside."""
    root = b"/root/tree"
    place = os.path.normpath(os.path.join(root, path))

    if not leaves_root(path):
        assert place == root + b"/" + path
    if not place.startswith(root + b"/"):
        assert leaves_root(path)


@given(paths)
def test_ordinary_paths_stay_inside(path):
    """However strange their names are."""
    assert not leaves_root(path)


@pytest.mark.parametrize("path", [b"", b"/", b"/etc/passwd", b"..", b"a/..", b"a/../b", b"./a", b"a//b", b"a/", b"a\0b"])
def test_these_name_a_place_outside_or_none(path):
    """Each of them was somebody's security hole."""
    assert leaves_root(path)


def test_the_parent_of_a_top_level_name_is_the_root():
    """The root is the empty path."""
    assert (parent_of(b"a"), parent_of(b"a/b"), parent_of(b"a/b/c")) == (b"", b"a", b"a/b")
