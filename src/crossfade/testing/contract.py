"""The contract: what every store does, written once over the port, for our stores and for yours.

A case is a function that takes a bench; ``cases(can)`` are those that a store's declared capabilities call for::

    @pytest.mark.parametrize("case", contract.cases(MyStore.can), ids=str)
    def test_my_store_keeps_the_contract(case, tmp_path):
        case(contract.Bench(lambda: MyStore(tmp_path, contract.LAYOUT)))

Each call of the opener gives a store on the same tree, which is empty at first. A page names an entry as the store shows it:
with the row and the generation that it has there. When a store turns out to do something wrong that no case notices, the
case that would have noticed belongs here, so that every store learns.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace

from crossfade.model.changes import Block, Change, Page, Put, Remove, Touch
from crossfade.model.cut import cut
from crossfade.model.digests import Digester, Segment
from crossfade.model.entries import RECORD_LIMIT, SEGMENT, Entry
from crossfade.model.kinds import Form
from crossfade.model.layouts import parse
from crossfade.model.paths import key_of
from crossfade.store.port import Applied, Capabilities, Reading, Store

LAYOUT = parse(
    """
[[kind]]
name    = "notes"
form    = "document"
match   = ["**/*.json"]
promote = [{ column = "title", from = ["/title"] }]

[[kind]]
name    = "lines"
form    = "log"
match   = ["**/*.jsonl"]
promote = [{ column = "number", from = ["/n"], type = "bigint" }, { column = "at", from = ["/at"], type = "timestamp" }]
index   = [["number"]]
""",
    source="contract.toml",
)
"""Three kinds: ``notes`` are documents, ``lines`` are logs, the rest is ``other``."""

TIME = 1_763_288_134_123_456_789
"""A time whose nanoseconds a float would lose."""

Content = tuple[bytes, str, int, int, bytes, bytes]
"""Path, type, mode (0 for links), time, link text, bytes: what is promised to be kept."""


class Bench:
    """A store to work on, and the hands to do it with."""

    def __init__(self, opener: Callable[[], Store]) -> None:
        self._opener = opener
        self.store = opener()

    def reopen(self) -> Store:
        """Go on with another store on the same tree, as after a crash: nothing is told to the new one."""
        self.store.close()
        self.store = self._opener()
        return self.store

    def entry(self, path: bytes, mtime_ns: int = TIME, mode: int = 0o640) -> Entry:
        """The file *path* as a source shows it; as the successor of what the store has there."""
        kind = self.store.layout.place(path).kind
        entry = Entry(path=path, kind=kind.name, form=kind.form, mtime_ns=mtime_ns, mode=mode)
        there = self.standing(path)
        return entry if there is None else replace(entry, generation=there.generation + 1, row=there.row)

    def standing(self, path: bytes) -> Entry | None:
        """What the store has at *path*, a tombstone included where it keeps them."""
        return next((entry for entry in self.store.entries(tombstones=True) if entry.path == path), None)

    def there(self, path: bytes) -> Entry:
        """As ``standing``, and it does stand."""
        entry = self.standing(path)
        assert entry is not None, path
        return entry

    def apply(self, *changes: Change) -> Applied:
        """One page."""
        return self.store.apply(Page(changes))

    def put(self, path: bytes, data: bytes) -> Applied:
        """*data* at *path*, whole, in one page."""
        return self.apply(*puts(self.entry(path), data))

    def content(self, path: bytes) -> bytes:
        """The bytes at *path*."""
        return b"".join(block.data for block in self.store.read([Reading(self.there(path))]))

    def paths(self) -> list[bytes]:
        """What is listed, in the order of the list, without the root."""
        return [entry.path for entry in self.store.entries() if entry.path]

    def files(self) -> dict[bytes, bytes]:
        """Every file's bytes. Reading them, their digests are checked on the way."""
        entries = [entry for entry in self.store.entries() if entry.type == "file"]
        found = {entry.path: self.content(entry.path) for entry in entries}
        computed = {entry.path: digest for entry, digest in self.store.digest(entries)}

        assert computed == {entry.path: digest_by_hand(found[entry.path], entry.form) for entry in entries}
        if self.store.can.digests:
            assert computed == {entry.path: entry.digest for entry in entries}
        return found

    def tree(self) -> list[Content]:
        """All that is promised to be kept, of every entry but the root."""
        files = self.files()
        return [
            (e.path, e.type, 0 if e.type == "link" else e.mode, e.mtime_ns, e.link, files.get(e.path, b""))
            for e in self.store.entries()
            if e.path
        ]


def puts(entry: Entry, data: bytes, segments: tuple[Segment, ...] = (), within: int | None = None) -> list[Put]:
    """*data* for *entry*, cut and digested as a copy does it; behind *segments*, which are there already."""
    offset = segments[-1].offset + segments[-1].size if segments else 0
    digester = Digester(segments)
    found = []
    for part in cut(io.BytesIO(data[offset:]).read, entry.form, offset=offset, within=within):
        digester.add(part.offset, part.data)
        digest = digester.finish() if part.last else None
        found.append(Put(Block(entry, part.offset, part.data, part.record, part.last), digester.fresh(), digest))
    return found


def directory(path: bytes, mode: int = 0o750, mtime_ns: int = TIME) -> Touch:
    """A directory, made or put right."""
    return Touch(Entry(path=path, type="dir", mode=mode, mtime_ns=mtime_ns))


def link(path: bytes, text: bytes, mtime_ns: int = TIME) -> Touch:
    """A symbolic link that says *text*."""
    return Touch(Entry(path=path, type="link", mode=0o777, mtime_ns=mtime_ns, link=text))


def lines(size: int, start: int = 0) -> bytes:
    """Whole lines of JSON, at least *size* bytes of them, no two alike."""
    count = -(-size // 590)
    return b"".join(b'{"n":%d,"pad":"%s"}\n' % (n, (b"%08d" % n) * 72) for n in range(start, start + count))


def digest_by_hand(data: bytes, form: Form) -> bytes:
    """An entry's digest by its definition, sharing no code with the house."""
    records = data.splitlines(keepends=True) if form == "log" and b"\r" not in data else [data]
    stretches: dict[int, bytes] = {}
    offset = 0
    for record in records:
        step = SEGMENT if len(record) > RECORD_LIMIT else len(record) or 1
        for start in range(0, len(record), step):
            piece = record[start : start + step]
            stretches[offset // SEGMENT] = stretches.get(offset // SEGMENT, b"") + piece
            offset += len(piece)
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in stretches.values())).digest()


@dataclass(frozen=True)
class Case:
    """One thing that a store does. *needs* says of which stores it is asked."""

    run: Callable[[Bench], None]
    needs: Callable[[Capabilities], bool]

    def __call__(self, bench: Bench) -> None:
        """Run it."""
        try:
            self.run(bench)
        finally:
            bench.store.close()

    def __str__(self) -> str:
        return self.run.__name__


_CASES: list[Case] = []


def cases(can: Capabilities) -> list[Case]:
    """The cases for a store that can do this."""
    return [case for case in _CASES if case.needs(can)]


def always(can: Capabilities) -> bool:
    """Asked of every store."""
    return can is not None


def _case(needs: Callable[[Capabilities], bool] = always) -> Callable[[Callable[[Bench], None]], Callable[[Bench], None]]:
    def register(run: Callable[[Bench], None]) -> Callable[[Bench], None]:
        _CASES.append(Case(run, needs))
        return run

    return register


# Listing


@_case()
def entries_come_in_the_order_of_a_walk_the_root_first(bench: Bench) -> None:
    """Everything that merges two inventories stands on this order; no locale agrees with it."""
    paths = [b"a/x", b"a.b", b"A", b"a/x.jsonl", b"a\xff", "aé".encode(), b"a/b/c", b"a-b", b"Z/\x7f", b"a b", b"a/x-"]
    made = [b"a", b"a/b", b"Z"]
    for path in paths:
        bench.put(path, b"1")
    bench.apply(*map(directory, sorted(made, reverse=True)), directory(b""))
    found = [entry.path for entry in bench.store.entries()]

    assert found == [b"", *sorted(paths + made, key=key_of)]
    assert found.index(b"a") < found.index(b"a/x") < found.index(b"a.b")


@_case()
def a_list_goes_on_behind_any_path(bench: Bench) -> None:
    """An inventory of a million entries must not begin again because a connection broke; the path may be gone by then."""
    paths = [b"a", b"a-b", b"a/b", b"a/b.c", b"a/b/c", b"b", b"d\xff", b"long/" + b"x" * 250]
    for path in (b"a-b", b"a/b.c", b"a/b/c", b"b", b"d\xff", b"long/" + b"x" * 250):
        bench.put(path, b"1")
    bench.apply(directory(b"a/b"), directory(b"long"), directory(b"a"), directory(b""))
    every = [entry.path for entry in bench.store.entries()]

    assert [e.path for e in bench.store.entries(after=b"")] == every[1:]
    for path in [*paths, b"a/a", b"a/b.c/x", b"zz"]:
        found = [entry.path for entry in bench.store.entries(after=path)]
        assert found == [other for other in every if key_of(other) > key_of(path)]


@_case()
def an_empty_tree_lists_nothing_but_perhaps_its_root(bench: Bench) -> None:
    """A store that was never written to is not an error."""
    assert bench.paths() == []


# Bytes


@_case()
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


@_case()
def compressed_content_is_a_blob_whatever_its_name_promises(bench: Bench) -> None:
    """A log that is gzip inside is not cut at its newlines, which are none."""
    data = b"\x1f\x8b\x08" + b"a\nb\n" * 100
    bench.apply(*puts(replace(bench.entry(b"old.jsonl"), form="blob"), data))
    (blocks,) = [list(bench.store.read([Reading(replace(bench.there(b"old.jsonl"), form="blob"))]))]

    assert bench.content(b"old.jsonl") == data
    assert [(block.data, block.entry.form, block.last) for block in blocks] == [(data, "blob", True)]


@_case()
def a_long_line_comes_back_whole_also_when_it_was_interrupted(bench: Bench) -> None:
    """Longer than a record may be in one piece: carried in pieces, through a page's end and a crash."""
    data = b'{"n":1}\n' + b'{"n":2,"pad":"%s"}\n' % (b"0123456789abcdef" * (RECORD_LIMIT // 16 + 1)) + lines(1000)
    entry = bench.entry(b"long.jsonl")
    begun = puts(entry, data)
    bench.apply(*begun[:5])
    bench.reopen()
    bench.apply(*_rest(bench, entry, data) if bench.store.can.digests else begun)

    assert {block.record for block in bench.store.read([Reading(bench.there(entry.path))])} == {None, 8}
    assert bench.files() == {entry.path: data}


@_case()
def a_long_document_comes_back_whole(bench: Bench) -> None:
    """As a long line; no newline in it is an end."""
    data = b'{"title":"%s"}' % (b"0123456789abcde\n" * (RECORD_LIMIT // 16))
    bench.put(b"long.json", data)

    assert bench.files() == {b"long.json": data}


def _rest(bench: Bench, entry: Entry, data: bytes) -> list[Put]:
    """The puts that complete *entry*, from what the store says that it has."""
    there = bench.standing(entry.path)
    segments = bench.store.segments(there or entry)
    end = segments[-1].offset + segments[-1].size if segments else 0
    within = there.within if there else None
    there = replace(entry, row=there.row, generation=there.generation) if there else entry
    return puts(there, data, segments, within if within is not None and end > within else None)


# Pages


@_case()
def an_entry_goes_on_where_its_last_page_ended(bench: Bench) -> None:
    """A log larger than memory comes in many pages, with other entries between its parts."""
    data = lines(3 * SEGMENT)
    for number, put in enumerate(puts(bench.entry(b"log.jsonl"), data)):
        bench.apply(put, *puts(bench.entry(b"doc-%d.json" % number), b"%d" % number))

    assert bench.content(b"log.jsonl") == data
    assert len(bench.files()) > 3


@_case()
def a_copy_that_was_cut_short_goes_on_behind_its_whole_segments(bench: Bench) -> None:
    """``segments`` is all that a new worker has to go by; what it repeats of the last one is not there twice."""
    data = lines(4 * SEGMENT)
    entry = bench.entry(b"log.jsonl")
    begun = puts(entry, data)
    bench.apply(*begun[:2])
    bench.apply(begun[2])
    bench.reopen()
    rest = _rest(bench, entry, data)

    assert rest[0].block.offset == begun[2].block.offset
    bench.apply(*rest)
    bench.reopen()
    assert bench.files() == {b"log.jsonl": data}


@_case()
def an_entry_that_is_not_complete_does_not_look_so(bench: Bench) -> None:
    """Half a file under its own name would be taken for all of it."""
    begun = puts(bench.entry(b"log.jsonl"), lines(2 * SEGMENT))
    bench.apply(*begun[:1])
    there = bench.standing(b"log.jsonl")

    assert there is None or (not there.complete and there.digest is None)
    bench.apply(*begun[1:])
    assert bench.there(b"log.jsonl").complete


@_case()
def a_tail_is_cut_back_and_written_again(bench: Bench) -> None:
    """A log that grew: equal segments stay, the last one is replaced, nothing of it is there twice."""
    old = lines(2 * SEGMENT + 5000) + b'{"n":1,"torn'
    new = old + b'":true}\n' + lines(3000, start=9000)
    bench.put(b"log.jsonl", old)
    bench.reopen()
    there = bench.there(b"log.jsonl")
    whole = bench.store.segments(there)[:2]
    there = there if whole else replace(there, generation=there.generation + 1)
    bench.apply(*puts(replace(there, mtime_ns=TIME + 1), new, whole))

    assert bench.files() == {b"log.jsonl": new}


@_case()
def a_new_generation_leaves_nothing_of_the_old(bench: Bench) -> None:
    """Shorter, longer, empty, and of one segment after many: only the last counts."""
    for size in (2 * SEGMENT, 2000, 0, 1):
        data = lines(size) if size else b""
        bench.put(b"log.jsonl", data)
        bench.put(b"doc.json", data)
        bench.reopen()

        assert bench.files() == {b"doc.json": data, b"log.jsonl": data}


@_case()
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


@_case(lambda can: can.atomic)
def a_page_is_applied_whole_or_not_at_all(bench: Bench) -> None:
    """An entry of a kind that nobody made: a store that cannot take it takes nothing of its page."""
    bench.put(b"old.json", b"old")
    good: list[Change] = [
        *puts(bench.entry(b"log.jsonl"), lines(1000)),
        *puts(bench.entry(b"old.json"), b"new"),
        directory(b"dir"),
    ]
    bad = puts(replace(bench.entry(b"bad.json"), kind="nowhere"), b"1")
    try:
        bench.apply(*good, *bad)
    except Exception:  # noqa: BLE001 - each store refuses in its own way
        bench.reopen()

        assert bench.files() == {b"old.json": b"old"}
        assert bench.paths() == [b"old.json"]
        bench.apply(*good)
    assert bench.content(b"old.json") == b"new"
    assert bench.content(b"log.jsonl") == lines(1000)


# Metadata


@_case()
def a_touch_changes_metadata_and_nothing_else(bench: Bench) -> None:
    """A changed mode or time must not cost a copy of the content."""
    data = lines(2 * SEGMENT)
    bench.apply(*puts(bench.entry(b"log.jsonl"), data), *puts(bench.entry(b"doc.json"), b"{}"))
    before = bench.there(b"log.jsonl")
    bench.apply(Touch(replace(before, mode=0o600, mtime_ns=TIME + 1, records=0, raws=0)))
    after = bench.there(b"log.jsonl")

    assert (after.mode, after.mtime_ns) == (0o600, TIME + 1)
    assert (after.digest, after.size, after.complete) == (before.digest, before.size, True)
    assert bench.files() == {b"doc.json": b"{}", b"log.jsonl": data}
    assert (bench.there(b"doc.json").mode, bench.there(b"doc.json").mtime_ns) == (0o640, TIME)


@_case()
def modes_times_and_links_are_kept(bench: Bench) -> None:
    """Files, directories that were never named by a file, links that lead nowhere; to the nanosecond, before 1970 too."""
    modes = {b"d/f%o" % mode: mode for mode in (0o400, 0o644, 0o755, 0o777, 0o1644)}
    for path, mode in modes.items():
        bench.apply(*puts(bench.entry(path, mtime_ns=mode, mode=mode), b"x"))
    texts = {b"l1": b"nowhere/at all", b"l2": b"..", b"l3": b"/etc", b"l4": b"\xff\n\\"}
    bench.apply(*(link(path, text, -1) for path, text in texts.items()))
    bench.apply(directory(b"e/deep/er", 0o700, 1), directory(b"e/deep", 0o555, TIME), directory(b"e", 0o2755, -1))
    bench.apply(directory(b"d", 0o1777, 10**18), directory(b"", 0o750, 12345))
    bench.reopen()

    assert bench.tree() == [
        (b"d", "dir", 0o1777, 10**18, b"", b""),
        *((path, "file", mode, mode, b"", b"x") for path, mode in sorted(modes.items())),
        (b"e", "dir", 0o2755, -1, b"", b""),
        (b"e/deep", "dir", 0o555, TIME, b"", b""),
        (b"e/deep/er", "dir", 0o700, 1, b"", b""),
        *((path, "link", 0, -1, text, b"") for path, text in texts.items()),
    ]
    assert [(e.mode, e.mtime_ns) for e in bench.store.entries() if not e.path] == [(0o750, 12345)]


@_case()
def a_link_can_be_made_to_say_something_else(bench: Bench) -> None:
    """Links are replaced, never followed."""
    bench.apply(link(b"l", b"one"))
    there = bench.there(b"l")
    bench.apply(Touch(replace(there, link=b"two", mtime_ns=TIME + 1, generation=there.generation + 1)))

    assert bench.tree() == [(b"l", "link", 0, TIME + 1, b"two", b"")]


# Removing


@_case()
def what_was_removed_is_gone_and_can_come_back(bench: Bench) -> None:
    """A store may remember a removal, but must not show it as an entry."""
    for path in (b"log.jsonl", b"doc.json", b"d/blob"):
        bench.put(path, lines(2000))
    bench.apply(directory(b"d"), link(b"l", b"text"))
    bench.apply(*(Remove(bench.there(path)) for path in (b"log.jsonl", b"d/blob", b"l")))
    bench.apply(Remove(bench.there(b"d")))
    bench.reopen()
    assert bench.files() == {b"doc.json": lines(2000)}
    assert bench.paths() == [b"doc.json"]
    remembered = [entry for entry in bench.store.entries(tombstones=True) if entry.path != b"doc.json" and entry.path]
    assert [entry.type for entry in remembered] in ([], ["gone"] * 4)

    bench.put(b"log.jsonl", b'{"n":7}\n')
    assert bench.files() == {b"doc.json": lines(2000), b"log.jsonl": b'{"n":7}\n'}


@_case()
def removing_twice_is_no_mistake(bench: Bench) -> None:
    """A page that is repeated removes what it removed before."""
    bench.put(b"doc.json", b"{}")
    there = bench.there(b"doc.json")
    bench.apply(Remove(there))
    bench.apply(Remove(there))

    assert bench.paths() == []


@_case()
def one_thing_takes_the_place_of_another(bench: Bench) -> None:
    """A file becomes a directory, a directory a link, a link a file: within one page, remove and make."""
    bench.put(b"a.json", b"{}")
    bench.apply(directory(b"b"), link(b"c.json", b"text"))
    a, b, c = (bench.there(path) for path in (b"a.json", b"b", b"c.json"))
    bench.apply(Remove(a), Touch(replace(directory(a.path).entry, row=a.row, generation=a.generation + 1)))
    bench.apply(Remove(b), Touch(replace(link(b.path, b"x").entry, row=b.row, generation=b.generation + 1)))
    bench.apply(Remove(c), *puts(bench.entry(b"c.json"), b"[]"))
    bench.reopen()

    assert [(path, type_, content) for path, type_, *_, content in bench.tree()] == [
        (b"a.json", "dir", b""), (b"b", "link", b""), (b"c.json", "file", b"[]")
    ]  # fmt: skip


# Reading


@_case()
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


@_case()
def reading_goes_on_from_the_start_of_any_block(bench: Bench) -> None:
    """After a broken connection, or to compare one stretch."""
    data = lines(3 * SEGMENT)
    bench.put(b"log.jsonl", data)
    entry = bench.there(b"log.jsonl")
    for block in list(bench.store.read([Reading(entry)])):
        rest = list(bench.store.read([Reading(entry, block.offset, None)]))

        assert b"".join(part.data for part in rest) == data[block.offset :]
        assert (rest[0].offset, [part.last for part in rest]) == (block.offset, [False] * (len(rest) - 1) + [True])


@_case()
def blocks_are_whole_records_of_one_segment(bench: Bench) -> None:
    """Digests are computed from blocks as they pass by; a block over two segments would spoil them."""
    bench.put(b"log.jsonl", lines(3 * SEGMENT))
    for block in bench.store.read([Reading(bench.there(b"log.jsonl"))]):
        last_line = block.data.rfind(b"\n", 0, -1) + 1

        assert block.offset // SEGMENT == (block.offset + last_line) // SEGMENT
        assert block.data.endswith(b"\n")


@_case()
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


@_case()
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


# Paths


@_case()
def names_are_bytes(bench: Bench) -> None:
    """Not UTF-8, with newlines and backslashes, as long as a file system takes, deeper than PATH_MAX."""
    deep = b"/".join([b"deep-%03d-%s" % (n, b"x" * 200) for n in range(25)])
    paths = [
        b"\xff\xfe", b"new\nline", b"back\\slash", b"\\x41", b"tab\tbell\x07", b"n" * 255, "\u00e9".encode(), "e\u0301".encode(),
        b" ", b"-", b"...", b"..a", b"%s", b"'\";--", b"\xf0\x9f\x98\x80", b"\xed\xa0\x80", b"\x01", b"\x7f", deep + b"/f",
    ]  # fmt: skip
    bench.apply(*(put for n, path in enumerate(paths) for put in puts(bench.entry(path), b"%d" % n)))
    bench.reopen()

    assert bench.files() == {path: b"%d" % paths.index(path) for path in paths}


@_case(lambda can: can.any_path)
def any_path_is_held_that_stays_inside(bench: Bench) -> None:
    """Longer than any file system would take."""
    paths = [b"n" * 256, b"m" * 10_000, b"/".join([b"d" * 300] * 100)]
    for path in paths:
        bench.put(path, path[:10])

    assert bench.files() == {path: path[:10] for path in sorted(paths)}


@_case(lambda can: not can.any_path)
def a_path_that_leaves_the_root_is_refused_and_never_written(bench: Bench) -> None:
    """Its bytes are kept elsewhere; the rest of the page is applied."""
    bench.put(b"good.json", b"{}")
    long = puts(bench.entry(b"../escaped.jsonl"), lines(2 * SEGMENT))
    assert [refusal.entry.path for refusal in bench.apply(*long).refusals] == [b"../escaped.jsonl"]
    paths = [b"../escaped", b"a/../../escaped", b"/tmp/crossfade-escaped", b"a/./b", b"a//b", b".", b"..", b"a/..", b"a/"]
    applied = bench.apply(*(put for path in [*paths, b"good.json"] for put in puts(bench.entry(path), b"{}")))

    assert [(refusal.entry.path, refusal.pos, refusal.code) for refusal in applied.refusals] == [
        (path, None, "escapes-root") for path in paths
    ]
    assert [entry.path for entry in applied.entries] == [b"good.json"]
    assert bench.paths() == [b"good.json"]
    beside = os.path.join(os.path.dirname(bench.store.location.path), b"escaped")
    assert not os.path.lexists(beside)
    assert not os.path.lexists(b"/tmp/crossfade-escaped")


@_case(lambda can: not can.any_path)
def a_link_in_the_tree_is_no_way_out_of_it(bench: Bench) -> None:
    """``a`` is a link to another directory, ``a/b`` is put: it is refused, and the other directory stays as it is."""
    with tempfile.TemporaryDirectory() as elsewhere:
        bench.apply(link(b"a", os.fsencode(elsewhere)))
        applied = bench.apply(
            *puts(bench.entry(b"a/b"), b"x"), *puts(bench.entry(b"a/c/d"), b"x"), link(b"a/l", b"x"), directory(b"a/e")
        )

        assert sorted((refusal.entry.path, refusal.code) for refusal in applied.refusals) == [
            (path, "stranger") for path in (b"a/b", b"a/c/d", b"a/e", b"a/l")
        ]
        assert os.listdir(elsewhere) == []
    assert bench.tree() == [(b"a", "link", 0, TIME, os.fsencode(elsewhere), b"")]


@_case(lambda can: not can.any_path)
def a_name_that_cannot_be_held_is_refused(bench: Bench) -> None:
    """Not skipped in silence, and not the end of the run."""
    applied = bench.apply(
        *puts(bench.entry(b"n" * 256), b"x"), *puts(bench.entry(b"d" * 256 + b"/f"), b"y"), directory(b"e")
    )

    assert [refusal.code for refusal in applied.refusals] == ["name-too-long"] * 2
    assert bench.paths() == [b"e"]


# Honesty


@_case()
def the_store_is_what_it_says(bench: Bench) -> None:
    """Its capabilities decide what is asked of it, so they must be true."""
    bench.put(b"doc.json", b"{}")
    entry = bench.there(b"doc.json")

    assert (entry.digest is not None) == bench.store.can.digests
    assert entry.signature is not None or not bench.store.can.signatures
    assert bench.store.layout.fingerprint == LAYOUT.fingerprint


@_case()
def closing_twice_is_no_mistake(bench: Bench) -> None:
    """Whoever opened a store closes it on the way out, whatever happened before."""
    bench.put(b"doc.json", json.dumps({"title": "t"}).encode())
    bench.store.close()
    bench.store.close()
    bench.reopen()

    assert bench.paths() == [b"doc.json"]
