"""Pages are applied whole, go on where the last one ended, and may be repeated."""

from __future__ import annotations

from crossfade.model.changes import Block, Change, Page, Put, Remove
from crossfade.model.entries import SEGMENT, altered
from crossfade.testing.contract.bench import TIME, Bench, directory, lines, link, puts, rest_of
from crossfade.testing.contract.case import case


@case()
def an_entry_goes_on_where_its_last_page_ended(bench: Bench) -> None:
    """A log larger than memory comes in many pages, with other entries between its parts."""
    data = lines(3 * SEGMENT)
    for number, put in enumerate(puts(bench.entry(b"log.jsonl"), data)):
        bench.apply(put, *puts(bench.entry(b"doc-%d.json" % number), b"%d" % number))

    assert bench.content(b"log.jsonl") == data
    assert len(bench.files()) > 3


@case()
def a_copy_that_was_cut_short_goes_on_behind_its_whole_segments(bench: Bench) -> None:
    """``segments`` is all that a new worker has to go by; what it repeats of the last one is not there twice."""
    data = lines(4 * SEGMENT)
    entry = bench.entry(b"log.jsonl")
    begun = puts(entry, data)
    bench.apply(*begun[:2])
    bench.apply(begun[2])
    bench.reopen()
    rest = rest_of(bench, entry, data)

    assert rest[0].block.offset == begun[2].block.offset
    bench.apply(*rest)
    bench.reopen()
    assert bench.files() == {b"log.jsonl": data}


@case()
def an_entry_that_is_not_complete_does_not_look_so(bench: Bench) -> None:
    """Half a file under its own name would be taken for all of it."""
    begun = puts(bench.entry(b"log.jsonl"), lines(2 * SEGMENT))
    bench.apply(*begun[:1])
    there = bench.standing(b"log.jsonl")

    assert there is None or (not there.complete and there.digest is None)
    bench.apply(*begun[1:])
    assert bench.there(b"log.jsonl").complete


@case()
def a_tail_is_cut_back_and_written_again(bench: Bench) -> None:
    """A log that grew: equal segments stay, the last one is replaced, nothing of it is there twice."""
    old = lines(2 * SEGMENT + 5000) + b'{"n":1,"torn'
    new = old + b'":true}\n' + lines(3000, start=9000)
    bench.put(b"log.jsonl", old)
    bench.reopen()
    there = bench.there(b"log.jsonl")
    whole = bench.store.segments(there)[:2]
    there = there if whole else altered(there, generation=there.generation + 1)
    bench.apply(*puts(altered(there, mtime_ns=TIME + 1), new, whole))

    assert bench.files() == {b"log.jsonl": new}


@case()
def a_new_generation_leaves_nothing_of_the_old(bench: Bench) -> None:
    """Shorter, longer, empty, and of one segment after many: only the last counts."""
    for size in (2 * SEGMENT, 2000, 0, 1):
        data = lines(size) if size else b""
        bench.put(b"log.jsonl", data)
        bench.put(b"doc.json", data)
        bench.reopen()

        assert bench.files() == {b"doc.json": data, b"log.jsonl": data}


@case()
def the_same_page_twice_is_the_same_as_once(bench: Bench) -> None:
    """After a fault nobody knows whether the page was applied: it is applied again."""
    data = lines(3 * SEGMENT)
    entry = bench.entry(b"log.jsonl")
    begun = puts(entry, data)
    other = bench.entry(b"doc.json")
    pages = [
        Page((*begun[:2], *puts(other, b"1"))),
        Page((begun[2], link(b"link", b"text"), directory(b"dir"))),
        Page(tuple(begun[3:])),
    ]
    for page in pages:
        bench.store.apply(page)
        bench.store.apply(page)
    expected = bench.tree()
    assert [(path, content) for path, *_, content in expected] == [
        (b"dir", b""), (b"doc.json", b"1"), (b"link", b""), (b"log.jsonl", data)
    ]  # fmt: skip

    page = Page((Remove(bench.there(b"link")), *puts(bench.entry(b"doc.json"), b"22")))
    bench.store.apply(page)
    bench.store.apply(page)
    assert bench.files() == {b"doc.json": b"22", b"log.jsonl": data}
    assert bench.paths() == [b"dir", b"doc.json", b"log.jsonl"]


@case()
def only_what_was_seen_is_written_over(bench: Bench) -> None:
    """What somebody else has written, made or taken away since it was looked at stays so, and is told; the rest is applied."""
    for name in (b"a.json", b"b.json", b"c.json", b"d.json"):
        bench.put(name, b"old")
    seen = {name: bench.standing(name) for name in (b"a.json", b"b.json", b"c.json", b"d.json", b"e.json", b"f.json")}
    bench.put(b"a.json", b"theirs")
    bench.put(b"c.json", b"theirs")
    bench.put(b"e.json", b"theirs")
    ours = [put for name in (b"a.json", b"b.json", b"e.json", b"f.json") for put in puts(bench.entry(name), b"ours")]
    applied = bench.store.apply(Page((*ours, Remove(bench.there(b"c.json")), Remove(bench.there(b"d.json"))), seen=seen))

    assert sorted(applied.left) == [b"a.json", b"c.json", b"e.json"]
    theirs = dict.fromkeys((b"a.json", b"c.json", b"e.json"), b"theirs")
    assert bench.files() == {**theirs, b"b.json": b"ours", b"f.json": b"ours"}


@case(lambda can: can.atomic)
def a_page_is_applied_whole_or_not_at_all(bench: Bench) -> None:
    """An entry of a kind that nobody made: a store that cannot take it takes nothing of its page."""
    bench.put(b"old.json", b"old")
    good: list[Change] = [
        *puts(bench.entry(b"log.jsonl"), lines(1000)),
        *puts(bench.entry(b"old.json"), b"new"),
        directory(b"dir"),
    ]
    bad = puts(altered(bench.entry(b"bad.json"), kind="nowhere"), b"1")
    try:
        bench.apply(*good, *bad)
    except Exception:  # noqa: BLE001 - each store refuses in its own way
        bench.reopen()

        assert bench.files() == {b"old.json": b"old"}
        assert bench.paths() == [b"old.json"]
        bench.apply(*good)
    assert bench.content(b"old.json") == b"new"
    assert bench.content(b"log.jsonl") == lines(1000)


@case(lambda can: can.digests)
def an_entry_is_as_unstable_as_its_last_put(bench: Bench) -> None:
    """A log's whole lines come before what says that its last line waits: or nobody would look at it again."""
    entry, line = bench.entry(b"torn.jsonl"), b'{"n":1}\n'
    (whole,) = puts(entry, line)
    waits = Block(altered(entry, unstable=True), len(line), b"", None, last=True)
    bench.apply(Put(Block(entry, 0, line)), Put(waits, whole.segments, whole.digest))

    assert bench.there(b"torn.jsonl").unstable
    assert bench.content(b"torn.jsonl") == line
