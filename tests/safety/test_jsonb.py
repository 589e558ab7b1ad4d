"""What we call JSON, a server takes: as ``json`` always; as ``jsonb`` too, but for numbers that its ``numeric`` cannot hold."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossfade.model.records import Reader, suspicious
from crossfade.testing.hazard_values import VALUES
from support.servers import NAMES, Database, Servers
from support.targets import KIND

READER = Reader(KIND)

numbers = st.integers().map(str) | st.tuples(st.integers(-99, 99), st.integers(-140_000, 140_000)).map(
    lambda n: f"{n[0]}e{n[1]}"
)
texts = st.text(st.characters(codec="utf-8"), max_size=8).map(json.dumps) | st.sampled_from(
    ['"\\u0000"', '"\\ud800"', '"\\udc00\\ud800"', '"\\ud83d\\ude00"', '"\\u005cu0000"', '"\\\\u0000"', '"\ufeff"', '"\x7f"']
)
leaves = (
    numbers | texts | st.sampled_from(["null", "true", "-0", "-0.0", "1.", "01", "NaN", "1E+05", "0.1e-7", "[]", "{}", ""])
)
values: st.SearchStrategy[str] = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda found: f"[{' , '.join(found)}]")
        | st.lists(st.tuples(texts, inner), max_size=3).map(lambda found: "{" + ",".join(f"{k}:{v}" for k, v in found) + "}")
    ),
    max_leaves=8,
)
lines = st.tuples(values, st.sampled_from(["", "\n", "\r\n", " ", "x", ","])).map(lambda found: "".join(found).encode())


def accepted() -> list[bytes]:
    """Lines that we would store as ``json``: out of hazards, at every depth that is allowed, and out of fuzz."""
    found = {*VALUES.values(), b"[" * 512 + b"]" * 512, b'{"a":' * 511 + b"[]" + b"}" * 511, b'"' + b"x" * 300_000 + b'"'}

    @settings(max_examples=700)
    @given(lines)
    def collect(line: bytes) -> None:
        found.add(line)

    collect()
    return sorted(line for line in found if READER.read(line, {}, suspect=suspicious(line))[0] is None)


@pytest.fixture(scope="module")
def safe() -> list[bytes]:
    """Collected once."""
    return accepted()


@pytest.mark.parametrize("name", NAMES)
def test_every_line_that_we_call_json_is_taken(servers: Servers, safe: list[bytes], name: str):
    """One query for all of them; where it fails, each line by itself, and only numbers out of range are excused."""
    with servers.database(name) as database:
        made = f"CREATE SCHEMA {database.location.schema}"
        database.run(made, f"CREATE TABLE {database.location.schema}.safe (n int, raw bytea)")
        with database.connect() as connection:
            with connection.cursor().copy("COPY safe FROM STDIN (FORMAT binary)") as copy:
                copy.set_types(["int4", "bytea"])
                for number, line in enumerate(safe):
                    copy.write_row((number, line))
            as_json = "SELECT count(*), count(convert_from(raw, 'UTF8')::json->>'a') FROM safe"
            assert connection.execute(as_json).fetchall()[0][0] == len(safe)
        left_out = [safe[number] for number in _refused(database, len(safe))]

    assert len(safe) > 200
    assert [line for line in left_out if not _is_out_of_range(line)] == []


def _refused(database: Database, count: int) -> list[int]:
    """The numbers of the lines that are no ``jsonb``, found by halving."""
    query = "SELECT count(convert_from(raw, 'UTF8')::jsonb) FROM safe WHERE n BETWEEN %s AND %s"
    pending, found = [(0, count - 1)], []
    with database.connect() as connection:
        while pending:
            first, last = pending.pop()
            try:
                connection.execute(query, [first, last])
            except psycopg.errors.NumericValueOutOfRange:
                middle = (first + last) // 2
                found += [first] if first == last else []
                pending += [] if first == last else [(first, middle), (middle + 1, last)]
    return found


def _is_out_of_range(line: bytes) -> bool:
    """A number beyond 131,072 digits in front of the point, or 16,383 behind it."""
    found: list[str] = []

    def keep(text: str) -> Any:
        found.append(text)
        return None

    json.loads(line, parse_float=keep, parse_int=keep)
    exponents = [int(text.lower().partition("e")[2] or 0) for text in found]
    return any(exponent > 131_000 or exponent < -16_300 for exponent in exponents)
