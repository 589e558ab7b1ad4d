"""Are the lines of a file what stands in a table? By bytes, and if not so, by values. Whatever the order."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

from bench.content import of_records

_LOOKED_AT = 1_000


def judged(file: Path, rows: Callable[[], Iterable[bytes]]) -> dict[str, Any]:
    """How *rows*, each one line's text, stand to the lines of *file*. *rows* is called once or twice.

    ``content`` is ``bytes`` (every line, but for its line ending), ``values`` (equal as JSON: numbers by their decimal value, the
    order of members free) or ``different``, with the number of lines whose value stands in no row and the members that differ.
    """
    wanted, found = of_records(lines_of(file)), of_records(map(bare, rows()))
    known = {"lines": wanted.records, "rows": found.records, "digest": f"{found.digest:016x}"}
    if found == wanted:
        return known | {"content": "bytes"}
    lost, members = _compared(file, rows())
    same = found.records == wanted.records and not lost
    return known | {"content": "values" if same else "different", "lines_lost": lost, "members": members}


def _compared(file: Path, rows: Iterable[bytes]) -> tuple[int, dict[str, int]]:
    """How many lines have their value in no row; and in the first thousand, which members differ, how often."""
    left = Counter(map(_mark, lines_of(file)))
    samples = {value.get("id"): value for value in _samples(file)}
    members: Counter[str] = Counter()
    for row in rows:
        mark = _mark(row)
        if left[mark] > 0:
            left[mark] -= 1
        elif isinstance(value := value_of(row), dict) and (sample := samples.get(value.get("id"))):
            members.update(name for name in sample.keys() | value.keys() if sample.get(name) != value.get(name))
    return sum(left.values()), dict(members)


def _samples(file: Path) -> Iterator[dict[str, Any]]:
    for _, line in zip(range(_LOOKED_AT), lines_of(file), strict=False):
        value = value_of(line)
        if isinstance(value, dict):
            yield value


def lines_of(file: Path) -> Iterator[bytes]:
    """The lines of a file, without the newlines."""
    with file.open("rb") as lines:
        yield from map(bare, lines)


def bare(line: bytes) -> bytes:
    """Without the newline."""
    return line.removesuffix(b"\n")


def _mark(line: bytes) -> int:
    text = repr(value_of(line, pairs=True)).encode()
    return int.from_bytes(hashlib.md5(text, usedforsecurity=False).digest()[:8], "big")


def value_of(line: bytes, *, pairs: bool = False) -> Any:
    """The value of a line of JSON, with exact numbers; None for what is no JSON.

    With *pairs*, objects are lists of members in order of their names: those that stand there twice are there twice.
    """
    hook: Callable[[list[tuple[str, Any]]], Any] = _members if pairs else dict
    try:
        return json.loads(line, object_pairs_hook=hook, parse_int=_number, parse_float=_number, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None


def _members(found: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    return sorted(found, key=lambda member: member[0])


def _number(text: str) -> tuple[int, str, int]:
    """A number by its value, the sign of zero included: sign, digits, exponent."""
    sign, digits, exponent = Decimal(text).as_tuple()
    assert isinstance(exponent, int)
    plain = "".join(map(str, digits)).lstrip("0")
    short = plain.rstrip("0")
    return sign, short, exponent + len(plain) - len(short) if short else 0


def _refuse(text: str) -> None:
    raise ValueError(text)
