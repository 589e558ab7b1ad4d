"""Hazards inside one JSON value: what parsers, PostgreSQL and each other's idea of JSON disagree about.

Each value has a name. ``hazards.build`` plants every one twice, in a document and in a line of a log. Some are not
JSON at all; that is the point.
"""

from __future__ import annotations

import hashlib

STRINGS: dict[str, bytes] = {
    "empty": rb'""',
    "escapes": rb'"\b\t\n\f\r\"\\\/"',
    "ansi": rb'"\u001b[0m ok \u001B[1m"',
    "nul": rb'"\u0000"',
    "nul-inside": rb'"before\u0000after"',
    "nul-in-a-key": rb'{"\u0000": 1}',
    "nul-harmless": rb'"\\u0000"',
    "nul-behind-a-backslash": rb'"\\\u0000"',
    "nul-harmless-again": rb'"\\\\u0000"',
    "surrogate-high": rb'"\ud83d"',
    "surrogate-low": rb'"\ude00"',
    "surrogates-reversed": rb'"\ude00\ud83d"',
    "surrogate-then-letter": rb'"\ud83d\u0041"',
    "surrogate-then-plain": rb'"\ud83dx\ude00"',
    "surrogate-then-escaped-backslash": rb'"\ud83d\\ude00"',
    "surrogate-twice-high": rb'"\ud83d\ud83d\ude00"',
    "surrogate-in-a-key": rb'{"\udfff": 1}',
    "surrogate-pair": rb'"\ud83d\ude00"',
    "surrogate-pair-upper": rb'"\uD83D\uDE00"',
    "astral": '"😀𝔘"'.encode(),
    "noncharacters": '"\ufffe\uffff"'.encode(),
    "separators": '"\u2028\u2029\u0085\ufeff\u202e"'.encode(),
    "nfc-and-nfd": '["\u00e9", "e\u0301"]'.encode(),
    "replacement": '"\ufffd"'.encode(),
    "del": b'"\x7f"',
    "tab": b'"a\tb"',
    "control": b'"\x01"',
    "raw-nul": b'"\x00"',
    "raw-escape": b'"\x1b[0m"',
    "not-utf8": b'"\xff"',
    "overlong-slash": b'"\xc0\xaf"',
    "overlong-nul": b'"\xc0\x80"',
    "cesu-lone": b'"\xed\xa0\x80"',
    "cesu-pair": b'"\xed\xa0\xbd\xed\xb8\x80"',
    "past-unicode": b'"\xf4\x90\x80\x80"',
    "cut-character": b'"\xe2\x82"',
    "continuation-first": b'"\x80abc"',
    "latin1": "Größe".encode("latin-1").join([b'"', b'"']),
    "bad-escape": rb'"\x41"',
    "short-escape": rb'"\u12"',
    "unterminated": b'"abc',
}

NUMBERS: dict[str, bytes] = {
    "minus-zero": b"-0",
    "minus-zero-float": b"-0.0",
    "past-2-53": b"9007199254740993",
    "i64-max": b"9223372036854775807",
    "i64-min": b"-9223372036854775808",
    "past-i64": b"9223372036854775808",
    "below-i64": b"-9223372036854775809",
    "u64-max": b"18446744073709551615",
    "past-u64": b"18446744073709551616",
    "thirty-digits": b"123456789012345678901234567890",
    "five-thousand-digits": b"9" * 5_000,
    "seventeen-digits": b"0.30000000000000004",
    "f32": b"33.29999923706055",
    "trailing-zeros": b"1.10",
    "exponent-ryu": b"1e16",
    "exponent-zmij": b"1e+16",
    "exponent-upper": b"1E5",
    "exponent-small": b"1e-7",
    "double-max": b"1.7976931348623157e308",
    "double-min": b"5e-324",
    "past-double": b"1e400",
    "below-double": b"-1e400",
    "underflow": b"1e-400",
    "past-numeric": b"1e200000",
    "exponent-huge": b"1e99999999999999999999",
    "nan": b"NaN",
    "infinity": b"Infinity",
    "minus-infinity": b"-Infinity",
    "leading-zero": b"01",
    "plus": b"+1",
    "no-integer-part": b".5",
    "no-fraction": b"1.",
    "hexadecimal": b"0x10",
    "underscores": b"1_000",
}

STRUCTURES: dict[str, bytes] = {
    "empty-object": b"{}",
    "empty-array": b"[ ]",
    "duplicate-keys": b'{"a": 1, "a": 2}',
    "duplicate-keys-escaped": rb'{"a": 1, "\u0061": 2}',
    "duplicate-keys-in-depth": b'{"o": {"k": 1, "k": [1]}, "o": {}}',
    "keys-by-length": '{"B": 1, "a": 2, "bb": 3, "é": 4, "ccc": 5}'.encode(),
    "key-empty": b'{"": 0}',
    "keys-of-pointers": b'{"a/b": 1, "m~n": 2, "~01": 3, "0": 4, "-": 5}',
    "keys-numeric": b'{"-1": {}, "10": {}, "9": {}}',
    "whitespace": b'{ "a"\t:\r 1 }',
    "trailing-comma": b"[1, 2,]",
    "single-quotes": b"{'a': 1}",
    "comment": b"[1 /* one */]",
    "bare-word": b"undefined",
    "capital-true": b"True",
    "missing-value": b'{"a": }',
    "two-values": b'{"a": 1} {"a": 2}',
    "closed-twice": b"[1]]",
}

DEPTHS = (127, 128, 511, 512, 513, 5_000, 50_000)
"""Prodigy reads 127 levels, parsers differ, PostgreSQL's stack ends between 3,000 and 20,000."""


def nested() -> dict[str, bytes]:
    """Arrays and objects, each as deep as ``DEPTHS`` says."""
    arrays = {f"arrays-{depth}-deep": b"[" * depth + b"]" * depth for depth in DEPTHS}
    objects = {f"objects-{depth}-deep": b'{"a":' * depth + b"0" + b"}" * depth for depth in DEPTHS}
    return arrays | objects


VALUES = STRINGS | NUMBERS | STRUCTURES | nested()

LONG_ID = hashlib.shake_256(b"id").hexdigest(1_500).encode()
"""3,000 characters that do not compress: more than an index entry of PostgreSQL may have."""

UNTYPED: tuple[bytes, ...] = (
    b"7", b"null", b"{}", b"[]", b"[1]", b"true", b'""', b'" "', b"-0.0", b"1e3", b'"3"', b"-1", b"1.5",
    b"9223372036854775808", b"-9223372036854775809", b"1e400", rb'"\u0000"', rb'"\ud800"', '"é\u0301 😀"'.encode(),
    b'{"id": "nested"}', b'"' + LONG_ID + b'"',
)  # fmt: skip
"""What may stand in any field that a layout promotes, whatever type the layout hopes for."""

STAMPS: tuple[str, ...] = (
    "2025-11-16T10:15:34Z",
    "2025-11-16T10:15:34.500Z",
    "2025-11-16T10:15:34.123456Z",
    "2025-11-16T10:15:34.147980Z",
    "2025-11-16T10:15:34.123456789Z",
    "2025-11-16T10:15:34.000000001Z",
    "2025-12-31T23:59:59.999999999Z",
    "2025-11-16T10:15:34.5Z",
    "2025-11-16T10:15:34.123456789012Z",
    "2016-12-31T23:59:60Z",
    "2016-12-31T23:59:60.500Z",
    "2025-11-16T10:15:34.123456789+00:00",
    "2025-11-16T10:15:34-08:00",
    "2025-11-16T10:15:34+23:59",
    "2025-11-16T10:15:34-00:00",
    "+10000-01-01T00:00:00Z",
    "-0044-03-15T12:00:00Z",
    "0000-01-01T00:00:00Z",
    "0001-01-01T00:00:00Z",
    "1969-12-31T23:59:59.999999999Z",
    "9999-12-31T23:59:59.999999999Z",
    "2025-11-16t10:15:34z",
    "2025-11-16 10:15:34Z",
    "2025-11-16T10:15:34",
    "2025-11-16",
    "2025-11-16T24:00:00Z",
    "2025-02-29T00:00:00Z",
    "2025-13-01T00:00:00Z",
    "٢٠٢٥-11-16T10:15:34Z",
    " 2025-11-16T10:15:34Z",
    "infinity",
    "epoch",
    "now",
    "",
)
