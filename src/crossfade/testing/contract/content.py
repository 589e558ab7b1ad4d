"""What was put comes back, byte for byte."""

from __future__ import annotations

from crossfade.model.entries import RECORD_LIMIT, SEGMENT, altered
from crossfade.store.port import Reading
from crossfade.testing.contract.bench import Bench, lines, puts, rest_of
from crossfade.testing.contract.case import case


@case()
def what_was_put_is_read_back(bench: Bench) -> None:
    """Every form, every size that a boundary is near, bytes that no parser likes."""
    big = lines(SEGMENT)
    files = {
        b"blob": bytes(range(256)) * 5,
        b"blob-empty": b"",
        b"blob-large": bytes(range(256)) * (10 * 1024),
        b"doc.json": b'{"title": "t"}',
        b"doc-bad.json": b'{"title": "\\u0000", \xff\x00',
        b"doc-empty.json": b"",
        b"doc-large.json": b'{"title":"%s"}' % (b"x" * (2 * SEGMENT)),
        b"doc-newlines.json": b"\n\n{}\n\n",
        b"log.jsonl": b'{"n":1}\n{"n":2}\n',
        b"log-backslash.jsonl": b'{"n":1,"p":"C:\\\\dir\\\\x\\u00e9\\134"}\n\\x41\n',
        b"log-bad.jsonl": b'\xef\xbb\xbf{"n":1}\r\n\n \n{"n":"\\ud800"}\n\xc3\x28\n\x00\n{"n":',
        b"log-empty.jsonl": b"",
        b"log-exact.jsonl": big[: SEGMENT - 1] + b"\n",
        b"log-exact-and-1.jsonl": big[: SEGMENT - 1] + b"\n\n",
        b"log-large.jsonl": lines(2 * SEGMENT + 1000),
        b"log-newlines.jsonl": b"\n" * 1000,
        b"log-torn.jsonl": b'{"n":1}\n{"n":2',
        b"log-wide.jsonl": b'{"n":1}\n' + b'"%s"\n' % (b"y" * (SEGMENT + SEGMENT // 2)) + b'{"n":2}\n',
    }
    bench.apply(*(put for path, data in files.items() for put in puts(bench.entry(path), data)))
    bench.reopen()

    assert bench.files() == {path: files[path] for path in sorted(files)}


@case()
def compressed_content_is_a_blob_whatever_its_name_promises(bench: Bench) -> None:
    """A log that is gzip inside is not cut at its newlines, which are none."""
    data = b"\x1f\x8b\x08" + b"a\nb\n" * 100
    bench.apply(*puts(altered(bench.entry(b"old.jsonl"), form="blob"), data))
    (blocks,) = [list(bench.store.read([Reading(altered(bench.there(b"old.jsonl"), form="blob"))]))]

    assert bench.content(b"old.jsonl") == data
    assert [(block.data, block.entry.form, block.last) for block in blocks] == [(data, "blob", True)]


@case()
def a_long_line_comes_back_whole_also_when_it_was_interrupted(bench: Bench) -> None:
    """Longer than a record may be in one piece: carried in pieces, through a page's end and a crash."""
    data = b'{"n":1}\n' + b'{"n":2,"pad":"%s"}\n' % (b"0123456789abcdef" * (RECORD_LIMIT // 16 + 1)) + lines(1000)
    entry = bench.entry(b"long.jsonl")
    begun = puts(entry, data)
    bench.apply(*begun[:5])
    bench.reopen()
    bench.apply(*rest_of(bench, entry, data) if bench.store.can.digests else begun)

    assert {block.record for block in bench.store.read([Reading(bench.there(entry.path))])} == {None, 8}
    assert bench.files() == {entry.path: data}


@case()
def a_long_document_comes_back_whole(bench: Bench) -> None:
    """As a long line; no newline in it is an end."""
    data = b'{"title":"%s"}' % (b"0123456789abcde\n" * (RECORD_LIMIT // 16))
    bench.put(b"long.json", data)

    assert bench.files() == {b"long.json": data}
