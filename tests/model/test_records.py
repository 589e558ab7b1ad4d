"""Records: what is called JSON is JSON for every parser and every server, and columns do not depend on the way there."""

from __future__ import annotations

import json
import random
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from crossfade.model import layouts
from crossfade.model.columns import converter
from crossfade.model.kinds import Column, Kind
from crossfade.model.records import Reader, split_lines, suspicious
from crossfade.testing.hazard_values import NUMBERS, STAMPS, STRINGS, STRUCTURES, UNTYPED, VALUES, nested
from support.servers import NAMES, Database

KIND = Kind(
    "things",
    "log",
    (
        Column("id", ("/id", "{id}")),
        Column("event", ("/event/name", "/event", "/e")),
        Column("deep", ("/a/b/c", "/a/b", "/a"), "bigint"),
        Column("flag", ("/flag", "/a/flag"), "boolean"),
        Column("at", ("/at", "/event/at"), "timestamp"),
    ),
)
READER = Reader(KIND)
CAPTURES = {"id": "of-the-path"}


class Pairs(list):  # type: ignore[type-arg]
    """An object as a list of pairs, so that a key may come twice."""


keys = st.sampled_from(["id", "event", "name", "e", "a", "b", "c", "flag", "at", "x", "", "\u00e9", "ID", "id "])
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**66), 2**66),
    st.sampled_from([2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64 - 1, 2**64, 10**30]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=6),
    st.sampled_from(STAMPS),
)
values: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.lists(st.tuples(keys, inner), max_size=5).map(Pairs),
    max_leaves=14,
)


def written(value: Any, escape: bool) -> str:
    """JSON text of *value*, with its duplicate keys."""
    if isinstance(value, Pairs):
        return "{" + ",".join(f"{written(k, escape)}: {written(v, escape)}" for k, v in value) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(written(v, escape) for v in value) + "]"
    return json.dumps(value, ensure_ascii=escape)


lines = st.tuples(values, st.booleans(), st.sampled_from(["", "\n", "\r\n", " \n"])).map(
    lambda parts: (written(parts[0], parts[1]) + parts[2]).encode("utf-8", "surrogatepass")
)
"""Lines of JSON, some with escapes, some with what is not allowed."""

fragments = st.lists(
    st.sampled_from(
        [b"{", b"}", b"[", b"]", b'"', b":", b",", b"\\", b"\\\\", b"\\u", b"\\u0000", b"\\ud83d", b"\\ude00", b"\\u00e9", b"u0000",
         b"\x00", b"\x1f", b"\x7f", b"\xff", b"\xc3\xa9", b"\xed\xa0\x80", b"\xc0\xaf", b"1", b"-", b".", b"e", b"+", b"0", b"null",
         b"true", b"NaN", b"Infinity", b" ", b"\t", b"\n", b"\r", b"\xef\xbb\xbf", b'"id"', b'"a"', b'"x"', b"/", b"\x0b", b"\xc2\x85"]
    ),
    max_size=12,
).map(b"".join)  # fmt: skip
"""Bytes that look as if they were JSON, and sometimes are."""


def reference(line: bytes) -> list[Any]:
    """Columns the plain way: parse all of it, then look."""
    top = json.loads(line.decode())
    found = []
    for column in KIND.columns:
        convert = converter(column)
        value = None
        for source in column.sources:
            here: Any = CAPTURES["id"] if source[0] == "{" else top
            for name in source[1:].split("/") if source[0] == "/" else ():
                here = here.get(name) if isinstance(here, dict) else None
            value = convert(here) if here is not None else None
            if value is not None:
                break
        found.append(value)
    return found


@settings(max_examples=600)
@given(lines)
@example(b'{"event": {"name": "n"}, "event": {}}')
@example(b'{"event": {"name": "n"}, "event": "e"}')
@example(b'{"\\u0069d": "escaped key"}')
@example(b'{"id": 9223372036854775808, "a": 18446744073709551616}')
@example(b'{"a": {"b": {"c": -9223372036854775808}}}')
@example(b'{"id": -0, "a": 1e2}')
@example(b'{"id": 123456789012345678901234567890}')
def test_columns_do_not_depend_on_the_reader(line):
    """The typed decode, the slow one, the forgiving one, and a few lines of the standard library: one answer."""
    reason, fast = READER.read(line, CAPTURES, suspect=suspicious(line))
    if reason is not None:
        return
    expected = reference(line)
    bound = READER.bind(CAPTURES)

    assert list(fast) == expected
    assert [type(value) for value in fast] == [type(value) for value in expected]
    assert list(READER._slow(line, bound)[1]) == expected
    assert list(READER._tolerant(line, bound)) == expected


@settings(max_examples=800)
@given(fragments | lines | st.binary(max_size=30))
@example(b'"\\\\u0000"')
@example(b'"\\\\\\u0000"')
@example(b'{"\\uD83D\\uDE00": "\\uD83D"}')
def test_one_look_at_a_block_never_misses_what_a_look_at_each_record_finds(line):
    """``suspicious`` saves time, and must not save anything else."""
    assert READER.read(line, CAPTURES, suspect=suspicious(line)) == READER.read(line, CAPTURES, suspect=True)


@given(st.lists(fragments, max_size=4))
def test_a_block_is_suspicious_when_one_of_its_records_is(block):
    """It is asked for the whole block."""
    joined = b"\n".join(block)
    for line in split_lines(joined):
        assert READER.read(line, CAPTURES, suspect=suspicious(joined)) == READER.read(line, CAPTURES, suspect=True)


@settings(max_examples=200)
@given(st.lists(fragments | lines, max_size=6), st.integers(0, 3))
@example([b'{"id": "\\u0000"}'] * 6, 1)
@example([b'{"id": "' + b"x" * 1100 + b'"}', b"[" * 600 + b"]" * 600], 2)
def test_lines_that_are_read_together_are_read_as_each_alone(block, padding):
    """However a suspicious block is taken apart to find the lines that are the reason."""
    data = b"\n".join([*block, *[b'{"id": "' + b"a" * 9000 + b'"}'] * padding, *block])
    expected = [(line, *READER.read(line, CAPTURES, suspect=True)) for line in split_lines(data)]

    found = []
    for piece in READER.read_pieces(data, READER.bind(CAPTURES)):
        reasons = piece.reasons or [None] * len(piece.lines)
        found += [
            (*line, list(values))
            for *line, values in zip(piece.lines, reasons, zip(*piece.columns, strict=True), strict=True)
        ]
    assert found == expected


@given(st.binary(max_size=60))
@example(b"\n")
@example(b"a\rb\x0bc\x85d\n\n")
def test_only_a_newline_ends_a_line(data):
    """Not a carriage return, not what Unicode calls a line."""
    found = list(split_lines(data))

    assert b"".join(found) == data
    assert all(line.endswith(b"\n") for line in found[:-1])
    assert all(line.count(b"\n") <= 1 for line in found)


REASONS: dict[bytes, str | None] = {
    b'{"id": "x"}\n': None,
    b'{"id": "x"}': None,
    b'{"id": "x"}\r\n': None,
    b"null": None,
    b"7": None,
    b'"text"': None,
    b"[]": None,
    b"-0.0": None,
    b"1e400": None,
    rb'"\\u0000"': None,
    rb'"\ud83d\ude00"': None,
    b'{"id":"a","id":"b"}': None,
    b"": "blank",
    b"\n": "blank",
    b" \t\r\n": "blank",
    b'\xef\xbb\xbf{"id": "x"}\n': "bom",
    b'{"id": "x"': "torn",
    b'{"id": "x"\n': "syntax",
    b'{"id": "x"} {}\n': "syntax",
    b"NaN\n": "syntax",
    b"[1,]\n": "syntax",
    b"01\n": "syntax",
    b'"\x01"\n': "syntax",
    b'"\\x41"\n': "syntax",
    b'{"id": "\xff"}\n': "utf8",
    b'"\xed\xa0\x80"\n': "utf8",
    b'"\xc0\x80"\n': "utf8",
    rb'"\u0000"': "nul",
    rb'{"\u0000": 1}': "nul",
    rb'"\\\u0000"': "nul",
    rb'"\ud83d"': "surrogate",
    rb'"\ude00\ud83d"': "surrogate",
    rb'"\ud83d\u0041"': "surrogate",
    rb'"\ud83d\\ude00"': "surrogate",
    rb'{"\udfff": 1}': "surrogate",
    b"[" * 512 + b"]" * 512: None,
    b"[" * 513 + b"]" * 513: "depth",
    b'{"a":' * 513 + b"1" + b"}" * 513: "depth",
    b'"' + b"[" * 2000 + b'"': None,
    b'"\\"' + b"[" * 2000 + b'"': None,
    b"[" * 50_000 + b"]" * 50_000: "depth",
    b"[" * 100_000: "depth",
}


@pytest.mark.parametrize("line", REASONS, ids=lambda line: repr(line[:24]))
def test_a_record_is_raw_for_a_reason(line):
    """One word, which reports count by."""
    assert READER.read(line, CAPTURES, suspect=suspicious(line))[0] == REASONS[line]


def test_a_raw_record_has_the_columns_that_can_be_found():
    """A reader of the table should not have to parse bytes to find a job."""
    event = {"id": "x", "event": "e", "deep": 5, "flag": True, "at": None}
    tail = b'"id":"x","event":"e","a":5,"flag":true'
    for line in (
        b'{"junk":"\\u0000",%s}\n' % tail,
        b'{"junk":"\\ud800",%s}\n' % tail,
        b'{"junk":"\xff",%s}\n' % tail,
        b"\xef\xbb\xbf{%s}\n" % tail,
        b"{%s} garbage\n" % tail,
        b'{"id":"first",%s}}\n' % tail,
        b'{"junk":"\x01",%s}\n' % tail,
    ):
        reason, found = READER.read(line, CAPTURES, suspect=suspicious(line))
        assert reason is not None
        assert dict(zip(event, found, strict=True)) == event


def test_what_cannot_be_read_at_all_has_what_its_path_tells():
    """A torn line still belongs to its job."""
    for line in (b"", b"\n", b'{"id": "x', b"\x00\x00", b"[" * 100_000):
        assert list(READER.read(line, CAPTURES, suspect=suspicious(line))[1]) == ["of-the-path", None, None, None, None]
    assert list(READER.unread(READER.bind(CAPTURES))) == ["of-the-path", None, None, None, None]


def test_columns_of_raw_records_are_fit_for_a_server():
    """A tolerant reading may find a NUL or a surrogate where a column is promoted; the server would refuse the page."""
    for value in (rb'"\u0000"', rb'"\ud800"', rb'"a\u0000b"'):
        reason, found = READER.read(b'{"id": %s, "event": %s}\n' % (value, value), {}, suspect=True)

        assert (reason in ("nul", "surrogate"), list(found)) == (True, [None] * 5)


# A real server


def batch() -> list[bytes]:
    """A few thousand lines: every hazard in every position, and fuzz from a fixed seed."""
    table = [*VALUES.values(), *UNTYPED, *(json.dumps(stamp).encode() for stamp in STAMPS)]
    found = [*table, *(b'{"x": %s, "id": %s}\n' % (value, value) for value in table), *REASONS]
    found += [b"[%s, %s]" % (one, other) for one, other in pairwise(table)]
    found += [b'{%s: {"x": %s}}' % (value, value) for value in STRINGS.values()]
    chance = random.Random(7)
    text = b"a letter, \\u00e9, \\n, \\\\, \\ud83d\\ude00 or \xc3\xa9; "
    good = [b'{"x": "%s", "id": [1, 2.5e3, null], "s": {"x": "%s"}}' % (text, text), *STRUCTURES.values(), *NUMBERS.values()]
    bits = [
        b"\\",
        b"u",
        b'"',
        b"\\u0000",
        b"\\ud83d",
        b"{",
        b"]",
        b",",
        b"0",
        b"e",
        b"-",
        b"x",
        b" ",
        b"/",
        b"\x00",
        b"\xff",
        b"\x1f",
        b"\x7f",
        b"\xc2",
    ]
    for number in range(6000):
        line = bytearray(good[number % len(good)] if number % 3 == 0 else good[0])
        for _ in range(chance.randint(1, 2)):
            at = chance.randint(0, len(line))
            line[at : at + chance.randint(0, 2)] = chance.choice(bits)
        found.append(bytes(line))
    return found


def refused(database: Database, accepted: list[bytes]) -> list[tuple[bytes, str]]:
    """Those that the server does not take as json, or that raise when they are looked into; one query if there are none."""
    cast = "SELECT count(b.body), count(b.body->>'x'), count(b.body->'x'->>'x'), max(json_typeof(b.body)) FROM t, LATERAL %s AS b"
    whole = cast % "(SELECT convert_from(t.raw, 'UTF8')::json AS body)"
    with database.connect() as connection:
        connection.execute("CREATE TEMP TABLE t (n int, raw bytea)")
        with connection.cursor().copy("COPY t FROM STDIN (FORMAT binary)") as copy:
            copy.set_types(["int4", "bytea"])
            for number, line in enumerate(accepted):
                copy.write_row((number, line))
        try:
            connection.execute(whole)
        except Exception:  # noqa: BLE001 - find out which
            return list(_culprits(connection, whole, accepted))
    return []


def _culprits(connection: Any, whole: str, accepted: list[bytes]) -> Any:
    for number, line in enumerate(accepted):
        try:
            connection.execute(f"{whole} WHERE n = {number}")
        except Exception as error:  # noqa: BLE001
            yield line, str(error)


@pytest.fixture(params=NAMES)
def some_server(request, servers):
    """A database on each server in turn."""
    with servers.database(request.param) as made:
        made.run(f"CREATE SCHEMA {made.location.schema}")
        yield made


def test_what_we_call_json_every_server_takes(some_server):
    """And ``body->>'x'`` never raises: an operator's query must not die of one row among a million."""
    every = batch()
    accepted = [line for line in every if READER.read(line, {}, suspect=suspicious(line))[0] is None]

    assert len(every) > 6000
    assert len(accepted) > 800
    assert refused(some_server, accepted) == []


def test_what_hypothesis_calls_json_the_server_takes(servers):
    """The same for lines that nobody thought of, hundreds of them, in one query."""
    seen: list[bytes] = []

    @settings(max_examples=1000)
    @given(fragments | lines)
    def collect(line):
        if READER.read(line, {}, suspect=suspicious(line))[0] is None:
            seen.append(line)

    collect()
    with servers.database(NAMES[0]) as database:
        assert len(seen) > 100
        assert refused(database, seen) == []


def test_what_is_refused_needlessly_is_little():
    """Stricter than any server, but not for the sake of it: plain JSON is never raw."""
    harmless = {name: value for name, value in VALUES.items() if _is_harmless(value)}
    raw = {name for name, value in harmless.items() if READER.read(value, {}, suspect=True)[0] is not None}

    assert len(harmless) > 50
    assert raw - {"five-thousand-digits"} == set()  # Python limits the digits of an integer


def _is_harmless(value: bytes) -> bool:
    try:
        text = json.dumps(json.loads(value.decode(), parse_constant=pytest.fail, parse_int=float), ensure_ascii=False)
        text.encode()
    except (ValueError, RecursionError, OverflowError, pytest.fail.Exception):
        return False
    return "\\u0000" not in text and value not in [v for k, v in nested().items() if int(k.split("-")[1]) > 512]


def test_every_kind_of_every_layout_has_a_reader():
    """A layout that cannot be read would fail at the first record."""
    for name in layouts.builtin():
        for kind in layouts.load(name).kinds:
            reader = Reader(kind)

            reason, found = reader.read(b'{"a": {"b": 1}}\n', {}, suspect=False)

            assert (reason, list(found)) == (None, list(reader.unread(reader.bind({}))))
