"""Rows of COPY: the quick ways make the same bytes as the careful one."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from crossfade.model.answers import Passing
from crossfade.model.changes import Block
from crossfade.model.columns import TEXT_BYTES_MAX
from crossfade.model.entries import Entry
from crossfade.model.figures import NULL, Encoding
from crossfade.model.kinds import Column, Form, Kind
from crossfade.model.records import Reader
from crossfade.store.backends.postgres.encode import Encoder, field_of, fields_of

COLUMNS = (
    Column("id", ("/id", "{id}")),
    Column("name", ("/event/name", "/event")),
    Column("state", ("/state",), mapping=(("Old", "New"),)),
    Column("at", ("/at",), "timestamp"),
    Column("many", ("/many",), "bigint"),
    Column("yes", ("/yes",), "boolean"),
)
KIND = Kind("things", "log", COLUMNS)
CAPTURES = {"id": "of-the-path"}

texts = st.text(max_size=8) | st.integers(TEXT_BYTES_MAX - 2, TEXT_BYTES_MAX + 2).map("x".__mul__) | st.just("é" * 1001)
values = st.none() | st.booleans() | st.integers(-(2**65), 2**65) | st.floats(allow_nan=False) | texts
objects = st.fixed_dictionaries(
    {},
    optional={
        "id": values,
        "event": values | st.fixed_dictionaries({}, optional={"name": values}),
        "state": values | st.sampled_from(["Old", "New"]),
        "at": values
        | st.sampled_from(["2025-11-16T10:15:00.123456789Z", "2025-11-16T10:15:00.5Z", "2025-02-30T00:00:00.1Z"]),
        "many": values,
        "yes": values,
    },
)


def written(value: Any) -> bytes:
    """JSON text, as most programs write it."""

    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


def block(data: bytes, form: Form) -> Block:
    """All of an entry."""
    return Block(Entry(b"p", kind="things", form=form, size=len(data)), 0, data, None, last=True)


@settings(max_examples=300)
@given(st.lists(objects.map(written) | st.binary(max_size=12), max_size=5), st.sampled_from(["log", "document"]))
@example([b'{"id": "\\u0000"}', b'{"id": "\\ud800"}', b'{"id": "a"}'], "log")
def test_the_quick_way_makes_the_rows_of_the_careful_one(lines, form):
    """Which the server gets when it refused the others."""
    encoder, data = Encoder(KIND, 7), b"\n".join(lines)
    found = list(encoder.encode(3, block(data, form), CAPTURES))
    rows = encoder.rows(3, block(data, form), CAPTURES)

    assert b"".join(part for encoded in found for part in encoded.rows) == b"".join(row.data for row in rows)
    assert [reason for e in found for reason in e.raws] == [row.reason for row in rows if row.reason is not None]
    assert [place for e in found for place in e.sheet.places] == [row.parts[1] for row in rows]
    columns = [list(values) for e in found for values in zip(*e.sheet.columns, strict=True)]
    assert columns == [row.parts[2:-4] for row in rows]
    assert [reason for e in found for reason in e.sheet.reasons] == [row.parts[-4] for row in rows]


@settings(max_examples=300)
@given(st.lists(objects.map(written) | st.binary(min_size=1, max_size=12), min_size=1, max_size=5))
@example([b'{"id": "a"}', b'{"id": "\xc3', b'\xa9"}', b"{}"])
def test_many_documents_make_the_rows_that_each_makes_alone(contents):
    """Whatever stands beside it, and each with what its own path says."""
    encoder, captures = Encoder(KIND, 7), [{"id": f"path {number}"} for number in range(len(contents))]
    alone = [
        encoder.rows(number, block(data, "document"), found)[0]
        for number, (data, found) in enumerate(zip(contents, captures, strict=True))
    ]
    found = encoder.documents(range(len(contents)), contents, captures)

    assert found.rows == b"".join(row.data for row in alone)
    assert found.reasons == [row.reason for row in alone]
    assert list(found.sheet.places) == [row.parts[1] for row in alone]
    assert list(zip(*found.sheet.columns, strict=True)) == [tuple(row.parts[2:-4]) for row in alone]


@settings(max_examples=100)
@given(st.lists(objects.map(written), min_size=1, max_size=5))
def test_many_documents_pass_by_as_each_does_alone(contents):
    """The same sum over content and columns, and the same answers."""
    encoder, paths = Encoder(KIND, 7), [b"p/%d" % number for number in range(len(contents))]
    together, alone = (Passing(KIND, Encoding(KIND)) for _ in range(2))
    found = encoder.documents(range(len(contents)), contents, [CAPTURES] * len(contents))
    together.take_documents(paths, found.sheet, contents)
    for path, data in zip(paths, contents, strict=True):
        (encoded,) = encoder.encode(1, block(data, "document"), CAPTURES)
        alone.take(path, 0, encoded.sheet, None, data)

    assert together.passed() == alone.passed()


def test_the_pieces_of_a_block_lie_end_to_end():
    """Only the last one is the last, and of a block in the middle of an entry none."""
    data = b"".join(b'{"id": "%d"}\n' % number for number in range(9000))
    for last in (True, False):
        found = list(Encoder(KIND, 7).encode(3, Block(block(b"", "log").entry, 1000, data, None, last), CAPTURES))

        assert len(found) > 2
        assert [e.offset for e in found[1:]] == [e.offset + e.size for e in found[:-1]]
        assert found[0].offset == 1000
        assert sum(e.size for e in found) == len(data)
        assert [e.last for e in found] == [False] * (len(found) - 1) + [last]


@settings(max_examples=300)
@given(objects.map(written))
def test_fields_do_not_depend_on_how_they_are_made(line):
    """Many at once, or one by one; the first time, or remembered."""
    quick, plain = Reader(KIND, field_of, NULL, fields_of), Reader(KIND, field_of, NULL)
    for _ in range(2):
        assert quick.read(line, CAPTURES, suspect=True) == plain.read(line, CAPTURES, suspect=True)


nearly = st.sampled_from(
    [
        "2025-11-16T10:15:00.032051675Z", "2025-11-16T10:15:00.032051675Z2", "025-11-16T10:15:00.032051675Z", "2025-11-16T10:15:00Z",
        "2025-11-16T10:15:60.032051675Z", "2025-11-16T10:15:00.03205167xZ", "2025-11-16T10:15:00,032051675Z", "2025-11-16T10:15:00.0320516755",
        "2025-11-16T10:15:00.0320516\u0661Z", "2025-11-16T10:15:00.03205167\u00e9", "2025-11-16T24:15:00.032051675Z", "", "a", "b" * 2001, "\u00e9" * 1001,
    ]
)  # fmt: skip


@settings(max_examples=300)
@given(
    st.lists(st.none() | nearly | objects.map(json.dumps) | st.integers() | st.just(["a"]) | st.just({"a": "b"}), max_size=6)
)
def test_many_fields_are_what_each_of_them_is(values):
    """Whatever stands beside a value in its column, and however many times it has been there."""
    for column in KIND.columns:
        one, many = field_of(column), fields_of(column)
        for _ in range(2 if many else 0):
            assert many(values) == [None if value is None else one(value) for value in values]


@pytest.mark.parametrize("size", [TEXT_BYTES_MAX - 20, TEXT_BYTES_MAX, TEXT_BYTES_MAX + 1, 70_000])
def test_a_row_holds_its_line(size):
    """However long: short lengths come from a table."""
    line = b'{"x": "' + b"y" * (size - 10) + b'"}\n'
    (encoded,) = Encoder(KIND, 7).encode(3, block(line, "log"), CAPTURES)

    assert b"".join(encoded.rows).endswith(struct.pack("!i", size) + line + NULL)
