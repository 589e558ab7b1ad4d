"""What is to be looked at: each path once, since when it waits, in bounded memory."""

from __future__ import annotations

from dataclasses import replace

from crossfade.migrate.follow.dirty import Dirt, Dirty


def test_a_path_that_is_hinted_at_again_and_again_is_kept_once():
    """Whoever is away for hours, because the server is, hears of the same few logs all the time."""
    dirty = Dirty()
    for now in range(10_000):
        dirty.add({b"log": False}, float(now))

    assert len(dirty._heap) == 1
    assert dirty.take(10_000.0, 5) == [Dirt(b"log", 0.0, 0.0, number=1)]
    assert dirty.take(10_000.0, 5) == []


def test_what_is_looked_at_again_later_comes_at_once_where_a_hint_says_so():
    """And is not taken a second time when its own time comes."""
    dirty = Dirty()
    dirty.again(Dirt(b"torn", 1.0, 1.0), 2.0, 30.0)
    assert dirty.take(3.0, 5) == []

    dirty.add({b"torn": False}, 4.0)
    (found,) = dirty.take(4.0, 5)
    assert replace(found, tries=0) == Dirt(b"torn", 1.0, 4.0, number=1)
    assert dirty.take(100.0, 5) == []


def test_beyond_its_bound_it_only_knows_that_something_is_out_of_step():
    """The sweep finds what."""
    dirty = Dirty(most=2)
    dirty.add(dict.fromkeys([b"a", b"b", b"c"], False), 1.0)

    assert len(dirty) == 2
    assert dirty.missed == 1


def test_what_a_look_finds_is_news_once():
    """A line that is half written is found by each look, and says nothing of whether the files are still."""
    dirty = Dirty()

    assert dirty.found([b"a"], 1.0)
    assert not dirty.found([b"a"], 2.0)
    dirty.take(2.0, 10)
    assert not dirty.found([b"a"], 3.0)
    dirty.settled()
    assert dirty.found([b"b", b"a"], 4.0)


def test_what_was_taken_and_put_back_waits_as_before():
    """Since when, and with what was heard of it meanwhile."""
    dirty = Dirty()
    dirty.add({b"a": True, b"b": False}, 1.0)
    dirty.take(2.0, 10)
    dirty.add({b"b": False}, 3.0)
    dirty.put_back()

    assert dirty.first_unsettled() == 1
    assert {dirt.path: (dirt.since, dirt.deep) for dirt in dirty.take(3.0, 10)} == {b"a": (1.0, True), b"b": (1.0, False)}


def test_what_a_look_at_everything_would_not_find_is_kept_beyond_the_bound():
    """Nobody would name it again."""
    owed = {b"log"}
    dirty = Dirty(most=1, must=lambda path: path in owed)
    dirty.add({b"a": False}, 1.0)
    dirty.add({b"log": False}, 2.0)

    assert (len(dirty), dirty.missed) == (2, 0)
    (_, log) = dirty.take(2.0, 5)
    dirty.add(dict.fromkeys([b"b", b"c"], False), 3.0)
    dirty.again(log, 3.0)
    assert [dirt.path for dirt in dirty.some(5)] == [b"b", b"log"]
