"""Promoted columns: what a value becomes, and what is left out rather than bent."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfade.model.columns import TEXT_BYTES_MAX, bigint, boolean, converter, text, timestamp
from crossfade.model.kinds import Column
from crossfade.testing.hazard_values import STAMPS

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


def micros(*parts: int) -> int:
    """Microseconds since 2000 of a UTC time."""
    return (datetime(*parts, tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)  # type: ignore[misc, arg-type]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2025-11-16T10:15:34Z", micros(2025, 11, 16, 10, 15, 34)),
        ("2025-11-16T10:15:34.5Z", micros(2025, 11, 16, 10, 15, 34, 500_000)),
        ("2025-11-16T10:15:34.123456Z", micros(2025, 11, 16, 10, 15, 34, 123_456)),
        ("2025-11-16T10:15:34.123456789Z", micros(2025, 11, 16, 10, 15, 34, 123_456)),
        ("2025-11-16T10:15:34.123456999999Z", micros(2025, 11, 16, 10, 15, 34, 123_456)),
        ("2025-12-31T23:59:59.999999999Z", micros(2025, 12, 31, 23, 59, 59, 999_999)),
        ("2025-12-31T23:59:59.999999999+00:00", micros(2025, 12, 31, 23, 59, 59, 999_999)),
        ("1969-12-31T23:59:59.999999999Z", micros(1969, 12, 31, 23, 59, 59, 999_999)),
        ("2025-11-16T10:15:34-08:00", micros(2025, 11, 16, 18, 15, 34)),
        ("2025-11-16T10:15:34.000001+23:59", micros(2025, 11, 15, 10, 16, 34, 1)),
        ("2025-11-16T10:15:34-00:00", micros(2025, 11, 16, 10, 15, 34)),
        ("2025-11-16T10:15:34", micros(2025, 11, 16, 10, 15, 34)),
        ("2025-11-16T10:15:34.25", micros(2025, 11, 16, 10, 15, 34, 250_000)),
        ("2025-11-16 10:15:34Z", micros(2025, 11, 16, 10, 15, 34)),
        ("2025-11-16t10:15:34Z", micros(2025, 11, 16, 10, 15, 34)),
        ("2025-11-16t10:15:34.5z", micros(2025, 11, 16, 10, 15, 34, 500_000)),
        ("0001-01-01T00:00:00Z", micros(1, 1, 1)),
        ("0001-01-01T00:00:00+23:59", micros(1, 1, 1) - 86_340_000_000),
        ("9999-12-31T23:59:59.999999999Z", micros(9999, 12, 31, 23, 59, 59, 999_999)),
    ],
)
def test_a_time_is_truncated_to_microseconds_and_never_rounded(value, expected):
    """Rounding would move an event into another second, day or year; without an offset it is UTC."""
    assert timestamp(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        "2016-12-31T23:59:60Z", "2016-12-31T23:59:60.500Z", "+10000-01-01T00:00:00Z", "10000-01-01T00:00:00Z",
        "-0044-03-15T12:00:00Z", "0000-01-01T00:00:00Z", "2025-02-29T00:00:00Z", "2025-13-01T00:00:00Z", "2025-11-16",
        "2025-11-16T10:15Z", "20251116T101534Z", "2025-11-16T10:15:34.Z", "2025-11-16T10:15:34.12x4Z", "2025-11-16T24:00:00Z",
        "2025-11-16T10:15:34.²Z", "٢٠٢٥-11-16T10:15:34Z", " 2025-11-16T10:15:34Z", "2025-11-16T10:15:34ZZ",
        "2025-W46-7T10:15:34Z", "2025-320T10:15:34.25Z", "2025-11-16T10:15:34,5Z", "2025-11-16T101534.123Z",
        "2025-11-16T10:15:34+00:00:01", "2025-11-16T10:15:34.+01:00", "2025-11-16T10:15:34+0100", "2025-11-16T24:00:00.0+00:00",
        "infinity", "now", "epoch", "", "x" * 30, 1763288134, 1.5, None, True, [], {},
    ],
)  # fmt: skip
def test_what_is_no_time_is_left_out(value):
    """A 60th second, a fifth digit in the year, words that a server would take for a time: no value, never a guess."""
    assert timestamp(value) is None


@given(st.datetimes(), st.integers(0, 12), st.integers(0, 10**12 - 1), st.sampled_from(["Z", "+00:00", "", "-00:00"]))
def test_any_time_in_the_calendar_is_taken(moment, digits, fraction, offset):
    """However many digits its writer gave it."""
    fraction_text = f"{fraction:012}"[:digits]
    micro = int(fraction_text[:6].ljust(6, "0")) if digits else 0
    value = f"{moment.replace(microsecond=0).isoformat()}{'.' if digits else ''}{fraction_text}{offset}"

    assert timestamp(value) == (moment.replace(microsecond=micro, tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)


def test_times_agree_with_the_servers_own_reading(database):
    """What PostgreSQL makes of the same text, cut to microseconds, is what we make of it. It knows no offset over 15:59:59."""
    fine = [stamp for stamp in STAMPS if timestamp(stamp) is not None and "+23:59" not in stamp]
    short = [stamp if "." not in stamp else stamp[: stamp.index(".") + 7].rstrip("Z+-0:") for stamp in fine]
    short = [
        text + ("Z" if stamp.endswith("Z") and not text.endswith("Z") else "")
        for text, stamp in zip(short, fine, strict=True)
    ]
    query = (
        "SELECT (extract(epoch FROM t::timestamptz - '2000-01-01Z'::timestamptz) * 1000000)::bigint"
        " FROM unnest(%s::text[]) WITH ORDINALITY AS x(t, n) ORDER BY n"
    )
    with database.connect() as connection:
        connection.execute("SET timezone = 'UTC'")
        found = [value for (value,) in connection.execute(query, [short])]

    assert len(fine) > 15
    assert found == [timestamp(stamp) for stamp in fine]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", ""),
        ("plain", "plain"),
        ("x" * TEXT_BYTES_MAX, "x" * TEXT_BYTES_MAX),
        ("x" * (TEXT_BYTES_MAX + 1), None),
        ("ü" * (TEXT_BYTES_MAX // 2), "ü" * (TEXT_BYTES_MAX // 2)),
        ("ü" * (TEXT_BYTES_MAX // 2) + "x", None),
        ("a\0b", None),
        ("ü\0", None),
        ("\ud800", None),
        (7, "7"),
        (-(10**39), "-1" + "0" * 39),
        (10**40, None),
        (1.5, None),
        (True, None),
        (None, None),
        (["x"], None),
        ({"x": 1}, None),
    ],
)
def test_a_text_fits_into_an_index_or_is_left_out(value, expected):
    """An index entry over 2,704 bytes would end the copy; a NUL or a surrogate no server takes."""
    assert text(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, 0),
        (2**63 - 1, 2**63 - 1),
        (-(2**63), -(2**63)),
        (2**63, None),
        (-(2**63) - 1, None),
        (True, None),
        (1.0, None),
        ("1", None),
        (None, None),
    ],
)
def test_an_integer_fits_into_64_bits_or_is_left_out(value, expected):
    """Never a float, a truth or a text that looks like one."""
    assert bigint(value) == expected


@pytest.mark.parametrize("value", [0, 1, "true", "", None, [], 1.0])
def test_what_merely_looks_true_is_left_out(value):
    """Only JSON's own true and false."""
    assert boolean(value) is None
    assert (boolean(True), boolean(False)) == (True, False)


def test_a_mapping_renames_and_leaves_the_rest():
    """Two generations of a program mean the same by one word."""
    convert = converter(Column("status", ("/status",), mapping=(("InProgress", "Running"),)))

    assert [convert(value) for value in ("InProgress", "Running", "odd", 3, None)] == [
        "Running",
        "Running",
        "odd",
        "3",
        None,
    ]
