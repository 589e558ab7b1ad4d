"""What the functions in SQL leave is what crossfade's own pages leave: rows, columns, reasons, pieces, segments, digests."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crossfade.model import layouts
from crossfade.model.entries import RECORD_LIMIT, SEGMENT
from crossfade.testing import hazard_contents, hazards
from crossfade.testing.contract import LAYOUT
from crossfade.testing.hazard_values import STAMPS, UNTYPED, VALUES
from support.servers import NAMES, Servers
from support.twins import Twins, twins

MIXED = layouts.parse(
    """
name = "mixed"
under = ["", "**/p"]

[[exclude]]
match = ["secret/**"]
keep  = ["secret/open/*"]

[[transient]]
match = ["**/*.lock"]

[[kind]]
name    = "lines"
form    = "log"
match   = ["{job}/{id}.jsonl", "**/*.jsonl"]
promote = [
  { column = "id", from = ["/id", "/a/id", "{id}"], map = { q = "it's \\\\ mapped" } },
  { column = "number", from = ["/a/b/c", "/a/b", "/n"], type = "bigint" },
  { column = "flag", from = ["/flag", "/a/flag"], type = "boolean" },
  { column = "at", from = ["/at", "/a/at"], type = "timestamp" },
  { column = "long_name", from = ["/kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk", "/caf\u00e9"] },
]

[[kind]]
name    = "notes"
form    = "document"
match   = ["**/{id}.json"]
promote = [{ column = "title", from = ["/title", "/a/b"] }, { column = "n", from = ["/n"], type = "bigint" }]
""",
    source="mixed.toml",
)


@pytest.fixture(scope="module", params=NAMES)
def pair(request: pytest.FixtureRequest, servers: Servers) -> Iterator[Twins]:
    """Two trees on every server, for many tests."""
    with servers.database(request.param) as database:
        made = twins(database, MIXED)
        yield made
        made.sql.close()
        made.copied.store.close()


def put(pair: Twins, path: bytes, data: bytes) -> None:
    """Into both trees, whole; they agree."""
    pair.copy(path, data)
    pair.call("put", path, data)
    pair.agree(path)


SMALL = {name: value for name, value in VALUES.items() if len(value) <= 6000}
TABLE = [*SMALL.values(), *UNTYPED, *(json.dumps(stamp).encode() for stamp in STAMPS)]
MEMBERS = (b'{"id":%s}', b'{"a":{"id":%s,"b":%s,"at":%s}}', b'{"n":%s,"flag":%s,"at":%s}', b'{"caf\\u00e9":%s,"x":1} tail')


def test_every_hazardous_value_is_judged_alike(pair: Twins):
    """In every member that is promoted, of every type; as a line, torn, and as a document."""
    lines = [member.replace(b"%s", value) for member in MEMBERS for value in TABLE]
    put(pair, b"job/values.jsonl", b"\n".join(line for line in [*TABLE, *lines] if b"\n" not in line))
    for number, value in enumerate(TABLE):
        put(pair, b"documents/%d.json" % number, b'{"title": %s, "n": %s}\n' % (value, value))


@pytest.mark.parametrize("name", [*hazard_contents.framed(), *hazard_contents.edges()])
def test_every_hazardous_file_is_cut_alike(pair: Twins, name: str):
    """Line ends, torn tails, byte order marks, and what stands at the edge of a segment."""
    data = (hazard_contents.framed() | hazard_contents.edges())[name]
    put(pair, b"framed/%s.jsonl" % name.encode(), data)
    put(pair, b"framed/%s.json" % name.encode(), data)
    put(pair, b"framed/%s" % name.encode(), data)


def test_a_session_in_which_a_backslash_is_something_else_writes_alike(pair: Twins):
    """Patterns in functions are read by the session that calls them."""
    data = b"\n".join(line for line in TABLE if b"\n" not in line)
    with pair.database.connect(origin="") as session:
        session.execute("SET standard_conforming_strings = off")
        for path in (b"ab", b"a/b", b"job/backslash.jsonl", b"documents/a\\b.json", b"..a/.b"):
            pair.copy(path, data)
            session.execute("SELECT put(%s, %s::bytea, %s::bytea)", [pair.name, path, data])
            pair.agree(path)


pieces = st.sampled_from(
    [b"{", b"}", b"[", b"]", b'"', b":", b",", b"\\", b"\\\\", b"\\u0000", b"\\ud83d", b"\\ude00", b"\\u00e9", b"\x00", b"\x1f",
     b"\x7f", b"\xff", b"\xc3\xa9", b"\xed\xa0\x80", b"\xf0\x9f", b"1", b"-", b"e5", b"null", b"NaN", b"-Infinity", b" ", b"\t", b"\n",
     b"\n", b"\r", b"\xef\xbb\xbf", b'"id"', b'{"id":"', b'"}', b'{"a":{"b":', b"}}", b',"at":"2025-09-18T03:50:34.123456789+05:30"']
)  # fmt: skip
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**66), 2**66) | st.floats() | st.text(max_size=6) | st.sampled_from(STAMPS),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["id", "a", "b", "c", "n", "flag", "at", "title", "x", ""]), inner, max_size=4)
    ),
    max_leaves=12,
)
contents = st.lists(
    st.lists(pieces, max_size=10).map(b"".join)
    | values.map(lambda value: json.dumps(value).encode() + b"\n")
    | st.tuples(values, st.integers(0, 80), pieces).map(lambda v: json.dumps(v[0]).encode()[: v[1]] + v[2] + b"\n"),
    max_size=6,
).map(b"".join)

fuzz = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@fuzz
@given(contents, st.sampled_from([b"job/fuzz.jsonl", b"fuzz.json", b"p/fuzz", b"x/p/y/fuzz.jsonl"]))
def test_any_bytes_stand_alike(pair: Twins, data: bytes, path: bytes):
    """Put, whatever they are."""
    put(pair, path, data)


@fuzz
@given(contents, st.lists(st.integers(0, 60), max_size=4), st.sampled_from([b"job/grown.jsonl", b"grown.json", b"p/grown"]))
def test_what_grew_stands_as_if_it_were_put(pair: Twins, data: bytes, cuts: list[int], path: bytes):
    """In whatever parts it was appended: bytes are bytes, and a torn line goes on."""
    pair.call("remove", path)
    for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(data)], strict=True):
        pair.call("append", path, data[start:end])
    pair.copy(path, data)

    pair.agree(path)


def test_a_log_that_grows_over_segments_keeps_their_digests(pair: Twins):
    """From nothing to some segments, in parts of every size; checked now and then on the way."""
    chance = random.Random(3)
    path, data = b"job/segments.jsonl", b""
    while len(data) < 3 * SEGMENT:
        size = chance.choice([1, 100, 100_000, SEGMENT - len(data) % SEGMENT, SEGMENT + 5])
        part = b"".join(b'{"n":%d,"pad":"%s"}\n' % (n, b"." * chance.randrange(900)) for n in range(size // 400 + 1))
        part = part[: size + chance.randrange(9)]
        pair.call("append", path, part)
        data += part
        if chance.random() < 0.3:
            pair.copy(path, data)
            pair.agree(path)
    pair.copy(path, data)

    pair.agree(path)


@pytest.mark.parametrize("pair", NAMES[:1], indirect=True)
def test_long_records_stand_alike(pair: Twins):
    """Those of 16 MiB are rows, longer ones pieces: in logs, documents and blobs."""
    short = b'{"id":"short"}\n'
    for number, sizes in enumerate(
        [[RECORD_LIMIT], [RECORD_LIMIT + 1], [RECORD_LIMIT + SEGMENT, RECORD_LIMIT, RECORD_LIMIT + 7]]
    ):
        data = short + b"".join(short + b"".join(hazards.sized(size)) for size in sizes)
        put(pair, b"job/long-%d.jsonl" % number, data)
        if number != 1:
            put(pair, b"job/long-%d-torn.jsonl" % number, data[:-1])
        if number != 0:
            put(pair, b"job/long-%d-short.jsonl" % number, data + short)
    for path in (b"long.json", b"long"):
        put(pair, path, b"".join(hazards.sized(RECORD_LIMIT)))
        put(pair, path, b"".join(hazards.sized(RECORD_LIMIT + 1)))


@pytest.mark.parametrize("pair", NAMES[:1], indirect=True)
def test_a_line_grows_beyond_what_a_row_holds(pair: Twins):
    """It becomes pieces, goes on in them, ends, and short lines follow."""
    path, data = b"job/growing.jsonl", b""
    for part in (
        b'{"id":"before"}\n{"id":"',
        b"x" * (RECORD_LIMIT - 7),
        b"y",
        b"z" * (SEGMENT + 3),
        b"w" * 5,
        b'"}\n{"id":"after"}\n',
        b'{"id":"last"}\n',
        b'{"id":"torn"',
        b"}",
    ):
        pair.call("append", path, part)
        data += part
        pair.copy(path, data)
        pair.agree(path)


def test_a_head_may_become_another_while_it_grows(pair: Twins):
    """The first bytes decide whether a log is one: as long as they are not all there, the question stays open."""
    for path in (b"job/head.jsonl", b"head.json"):
        for head in (
            b"\x1f\x8b\x08\x00\x00",
            b"\x28\xb5\x2f\xfd....",
            b"\x04\x22\x4d\x18\n{}\n",
            b"\x1f\n{}\n",
            b"\x04\x22\x4d\n{}",
        ):
            pair.call("remove", path)
            for end in range(1, len(head) + 1):
                pair.call("append", path, head[end - 1 : end])
                pair.copy(path, head[:end])
                pair.agree(path)


def test_replacing_leaves_nothing_behind(pair: Twins):
    """Long by short, log by compressed, content by none."""
    path = b"job/replaced.jsonl"
    line = b'{"id":"one","pad":"%s"}\n' % (b"x" * 200)
    for data in (line * 13_000, line, b"", b"\x1f\x8b" + line, line * 3):
        put(pair, path, data)

    assert pair.one(
        "SELECT generation FROM entries WHERE store_id = %s AND path = 'job/replaced.jsonl'", pair.written_id
    ) == (5,)


def test_the_layout_of_prodigy_reads_alike(servers: Servers):
    """Every rule of a real layout, with every hazard of its generated tree that is no larger than it must be."""
    with servers.database(NAMES[0]) as database:
        pair = twins(database, layouts.load("prodigy"))
        for table in hazard_contents.TABLES:
            for path, data in table():
                if pair.layout.place(path).fate == "keep" and len(data) < 200_000:
                    put(pair, path, data)
        assert LAYOUT.name != pair.layout.name
        pair.sql.close()
        pair.copied.store.close()
