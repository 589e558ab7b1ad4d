"""Blocks come as they were asked for, and can be gone on from."""

from __future__ import annotations

import hashlib

from crossfade.model.changes import Remove
from crossfade.model.digests import EMPTY
from crossfade.model.entries import SEGMENT
from crossfade.model.kinds import Form
from crossfade.store.port import Reading, Span
from crossfade.testing.contract.bench import Bench, digest_by_hand, directory, lines, link, puts
from crossfade.testing.contract.case import case


@case()
def readings_come_in_the_order_they_were_asked_for(bench: Bench) -> None:
    """Short and long ones mixed; each ends with a last block, an empty one too."""
    files = {b"l%d.jsonl" % n: lines(size, n) for n, size in enumerate((600, 3 * SEGMENT, 0, 1200, 2 * SEGMENT, 600))}
    files[b"l9.json"] = b"[9]"
    for path, data in files.items():
        bench.put(path, data)
    asked = [b"l5.jsonl", b"l4.jsonl", b"l9.json", b"l2.jsonl", b"l0.jsonl", b"l1.jsonl", b"l3.jsonl"]
    found: list[tuple[bytes, bytes]] = []
    data = b""
    for block in bench.store.read([Reading(bench.there(path)) for path in asked]):
        assert block.offset == len(data)
        data += block.data
        if block.last:
            found.append((block.entry.path, data))
            data = b""

    assert found == [(path, files[path]) for path in asked]


@case()
def reading_goes_on_from_the_start_of_any_block(bench: Bench) -> None:
    """After a broken connection, or to compare one stretch."""
    data = lines(3 * SEGMENT)
    bench.put(b"log.jsonl", data)
    entry = bench.there(b"log.jsonl")
    for block in list(bench.store.read([Reading(entry)])):
        rest = list(bench.store.read([Reading(entry, block.offset, None)]))

        assert b"".join(part.data for part in rest) == data[block.offset :]
        assert (rest[0].offset, [part.last for part in rest]) == (block.offset, [False] * (len(rest) - 1) + [True])


@case()
def blocks_are_whole_records_of_one_segment(bench: Bench) -> None:
    """Digests are computed from blocks as they pass by; a block over two segments would spoil them."""
    bench.put(b"log.jsonl", lines(3 * SEGMENT))
    for block in bench.store.read([Reading(bench.there(b"log.jsonl"))]):
        last_line = block.data.rfind(b"\n", 0, -1) + 1

        assert block.offset // SEGMENT == (block.offset + last_line) // SEGMENT
        assert block.data.endswith(b"\n")


@case()
def reading_what_is_gone_says_so(bench: Bench) -> None:
    """An entry that vanished since it was listed has moved; no bytes at all are not its bytes."""
    for path in (b"doc.json", b"log.jsonl"):
        bench.put(path, lines(2 * SEGMENT) if path.endswith(b"l") else b"{}")
        there = bench.there(path)
        bench.apply(Remove(there))
        try:
            found = list(bench.store.read([Reading(there)]))
        except FileNotFoundError:
            continue
        raise AssertionError(f"read {len(found)} blocks of {path!r}, which was removed")


@case()
def digests_are_computed_in_the_order_asked(bench: Bench) -> None:
    """Empty files, directories and links have the digest of nothing."""
    files = {b"a.jsonl": lines(2 * SEGMENT), b"b.json": b"{}", b"c": b"", b"d": b"\xff" * 5}
    for path, data in files.items():
        bench.put(path, data)
    bench.apply(directory(b"e"), link(b"f", b"a.jsonl"))
    asked = [b"f", b"d", b"b.json", b"e", b"c", b"a.jsonl"]
    forms: dict[bytes, Form] = {b"a.jsonl": "log"}
    found = [(entry.path, digest) for entry, digest in bench.store.digest([bench.there(path) for path in asked])]

    assert found == [(path, digest_by_hand(files.get(path, b""), forms.get(path, "blob"))) for path in asked]


@case()
def a_span_is_weighed_where_its_bytes_are(bench: Bench) -> None:
    """Segment by segment, however they are mixed; the last one up to wherever the entry ends, and nothing behind that."""
    log, document = lines(3 * SEGMENT), b'{"title":"one"}'
    bench.put(b"log.jsonl", log)
    bench.put(b"note.json", document)
    entry, note, asked, expected = bench.there(b"log.jsonl"), bench.there(b"note.json"), [], []
    for put in puts(bench.entry(b"log.jsonl"), log):
        for segment in put.segments:
            asked += [Span(entry, segment.offset, segment.size), Span(note)]
            expected += [(segment.size, segment.digest), (len(document), hashlib.sha256(document).digest())]
    last = asked[-2].offset

    assert list(bench.store.weigh(asked)) == expected
    assert list(bench.store.weigh([Span(entry, last), Span(entry, len(log))])) == [expected[-2], (0, EMPTY)]


@case()
def what_is_gone_weighs_nothing(bench: Bench) -> None:
    """Whoever compares then sees that it is gone, not an error."""
    bench.put(b"note.json", b"{}")
    entry = bench.there(b"note.json")
    bench.apply(Remove(entry))

    assert list(bench.store.weigh([Span(entry)])) == [(0, EMPTY)]
