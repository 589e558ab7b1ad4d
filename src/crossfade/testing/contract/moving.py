"""What is moved keeps its bytes, and is not where it was."""

from __future__ import annotations

from crossfade.model.changes import Move
from crossfade.model.entries import altered
from crossfade.store.port import Capabilities
from crossfade.testing.contract.bench import TIME, Bench, lines
from crossfade.testing.contract.case import case

LONG = 3_000_000


def moves(can: Capabilities) -> bool:
    """Of a store that takes a ``Move``."""
    return can.moves


def to(bench: Bench, old: bytes, new: bytes) -> Move:
    """What stands at *old* is to stand at *new*, under another time."""
    before = bench.there(old)
    return Move(before, altered(before, path=new, mtime_ns=TIME + 1))


@case(moves)
def what_is_moved_keeps_its_bytes(bench: Bench) -> None:
    """With a long one among them, whose segments go along; and what comes to its old place is another entry."""
    bench.put(b"a.jsonl", lines(LONG))
    bench.put(b"b.json", b"{}")
    segments = bench.store.segments(bench.there(b"a.jsonl"))
    applied = bench.apply(to(bench, b"a.jsonl", b"d/c.jsonl"), to(bench, b"b.json", b"e.json"))
    bench.reopen()

    assert [entry.path for entry in applied.entries] == [b"d/c.jsonl", b"e.json"]
    assert bench.files() == {b"d/c.jsonl": lines(LONG), b"e.json": b"{}"}
    assert bench.there(b"d/c.jsonl").mtime_ns == TIME + 1
    assert bench.store.segments(bench.there(b"d/c.jsonl")) == segments
    assert getattr(bench.standing(b"a.jsonl"), "type", "gone") == "gone"
    bench.put(b"a.jsonl", b'{"n":1}\n')
    assert bench.files() == {b"a.jsonl": b'{"n":1}\n', b"d/c.jsonl": lines(LONG), b"e.json": b"{}"}


@case(moves)
def what_was_there_makes_room(bench: Bench) -> None:
    """A document that is replaced by a rename, twice; and a path from which something was removed."""
    for number in (1, 2):
        bench.put(b"doc.json", b"[0]")
        bench.put(b"new.json", b"[%d]" % number)
        bench.apply(to(bench, b"new.json", b"doc.json"))
        bench.reopen()

        assert bench.files() == {b"doc.json": b"[%d]" % number}


@case(moves)
def all_moves_of_a_page_happen_at_once(bench: Bench) -> None:
    """Logs that are rotated, the oldest of which falls out; and two that are exchanged."""
    for number in range(4):
        bench.put(b"log.%d.jsonl" % number, lines(700, number))
    bench.apply(*(to(bench, b"log.%d.jsonl" % n, b"log.%d.jsonl" % (n + 1)) for n in range(3)))
    assert bench.files() == {b"log.%d.jsonl" % (n + 1): lines(700, n) for n in range(3)}

    bench.apply(to(bench, b"log.1.jsonl", b"log.3.jsonl"), to(bench, b"log.3.jsonl", b"log.1.jsonl"))
    bench.reopen()
    assert bench.files() == {b"log.%d.jsonl" % (3 - n): lines(700, n) for n in range(3)}
