"""What records answer while they pass by is what a look at all of them at once would say, however they come."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfade.model.answers import LISTED, Answering, ColumnAnswer, KindAnswer, Passed, Passing, merge_passed
from crossfade.model.changes import Block
from crossfade.model.cut import cut
from crossfade.model.digests import digest_of
from crossfade.model.entries import SEGMENT, Entry
from crossfade.model.figures import NULL, Encoding, Figures, Gauge, columns_of
from crossfade.model.kinds import Column, Kind
from crossfade.model.records import Reader
from crossfade.store.backends.postgres.encode import field_of

KIND = Kind(
    "events",
    "log",
    (Column("name", ("/name",)), Column("number", ("/number",), "bigint"), Column("flag", ("/flag",), "boolean")),
    (("name",),),
)
RECORDS = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "name": st.sampled_from(["a", "b", "zz", "zzz", "é"]),
            "number": st.integers(-(2**63), 2**63 - 1) | st.integers(-2, 2),
            "flag": st.booleans(),
        },
    ),
    max_size=30,
)
ENTRIES = st.lists(RECORDS, max_size=4)


def _gauge() -> Gauge:
    return Gauge(KIND, Reader(KIND, field_of, NULL))


def _lines(records: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records).encode()


def _blocks(path: bytes, data: bytes, lines: int = 1 << 30) -> Iterator[Block]:
    for part in cut(io.BytesIO(data).read, "log", block_records=lines):
        yield Block(Entry(path=path, kind="events", form="log"), part.offset, part.data, part.record, part.last)


def _answer(entries: list[list[dict[str, Any]]], lines: int = 1 << 30) -> KindAnswer:
    gauge, answering = _gauge(), Answering(KIND)
    for number, records in enumerate(entries):
        for block in _blocks(b"%d" % number, _lines(records), lines):
            answering.take(block.entry.path, gauge.sheet(block, {}))
    return answering.answer()


@given(entries=ENTRIES)
def test_answers_are_those_of_a_look_at_all_of_them(entries: list[list[dict[str, Any]]]):
    """Counts, extremes of numbers of both signs, and the first records that have the greatest name."""
    answer = _answer(entries, lines=3)
    every = [record for records in entries for record in records]

    assert answer.records == len(every)
    for name, comparable in (("name", str.encode), ("number", int), ("flag", int)):
        values = [comparable(record[name]) for record in every if name in record]
        found = answer.columns.get(name)
        if values:
            assert found is not None
            assert (found.present, found.least, found.greatest) == (len(values), min(values), max(values))
        else:
            assert found is None
    names = [record["name"] for record in every if "name" in record]
    if names:
        wanted = max(names, key=str.encode)
        places = []
        for number, records in enumerate(entries):
            ends = [len(_lines(records[:at])) for at in range(len(records))]
            places += [
                (b"%d" % number, end) for end, record in zip(ends, records, strict=True) if record.get("name") == wanted
            ]
        found = answer.found["name"]
        assert (found.value, found.count, found.first) == (wanted.encode(), len(places), places[:LISTED])
    assert answer.differs(_answer(entries)) == []


@pytest.mark.parametrize("gap", [0, 7])
@pytest.mark.parametrize("name", ["%04d", "%d", ""], ids=["of one length", "of several lengths", "absent"])
@pytest.mark.parametrize("low", [0, -100, -5000], ids=["not negative", "of both signs", "negative"])
def test_many_different_values_have_the_same_extremes(name: str, low: int, gap: int):
    """Where nearly all differ, a shorter way is taken."""
    every = [
        {"number": low + at} | ({"name": name % at} if name and not (gap and at % gap == 3) else {}) for at in range(200)
    ]
    answer, names = _answer([every]), [record["name"] for record in every if "name" in record]
    found = answer.columns.get("name")

    assert (answer.columns["number"].least, answer.columns["number"].greatest) == (low, low + 199)
    assert found == (ColumnAnswer(len(names), min(names).encode(), max(names).encode()) if names else None)


@given(one=ENTRIES, other=ENTRIES)
def test_answers_may_be_merged_in_any_order(one: list[list[dict[str, Any]]], other: list[list[dict[str, Any]]]):
    """Workers end when they end."""
    whole = _answer([*one, *other])
    first, second = _answer([*one, *[[]] * len(other)]), _answer([*[[]] * len(one), *other])
    forth, back = KindAnswer(), KindAnswer()
    for answer in (first, second):
        forth.merge(answer)
    for answer in (second, first):
        back.merge(answer)

    assert forth.differs(whole) == back.differs(whole) == []
    assert whole.differs(forth) == []


@pytest.mark.parametrize("change", ["records", "raw", "least", "count", "first"])
def test_each_question_that_is_answered_differently_is_named(change: str):
    """Or nobody would know where to look."""
    records = [{"name": "a", "number": 1}, {"name": "a", "number": 2}]
    answer, other = _answer([records]), _answer([records])
    if change in ("records", "raw"):
        setattr(other, change, 7)
    elif change == "least":
        other.columns["number"].least = 0
    elif change == "count":
        other.found["name"].count = 3
    else:
        other.found["name"].first[0] = (b"0", 5)

    wanted = {"least": "aggregates of number", "count": "count by name", "first": "list by name"}.get(change, change)
    assert answer.differs(other) == other.differs(answer) == [wanted]


def _figured(path: bytes, data: bytes) -> tuple[bytes, bytes]:
    """The digests of an entry's content and of its columns, made as validation makes them from figures."""
    gauge, figures = _gauge(), Figures()
    for block in _blocks(path, data):
        sheet = gauge.sheet(block, {})
        figures.add(block, len(sheet), gauge.encoding.of(sheet))
    found = figures.finish()
    return digest_of([figure.segment for figure in found]), columns_of(found)


def _pass(contents: dict[bytes, bytes], lines: int, pages: int) -> Passed:
    """What passes by in *pages* pages."""
    gauge, encoding, total, began = _gauge(), Encoding(KIND), Passed(), {}
    blocks = [block for path, data in contents.items() for block in _blocks(path, data, lines)]
    size = max(len(blocks) // pages, 1)
    for start in range(0, len(blocks), size):
        passing = Passing(KIND, encoding)
        for block in blocks[start : start + size]:
            path = block.entry.path
            digest = _figured(path, contents[path])[0] if block.last else None
            passing.take(path, block.offset, gauge.sheet(block, {}), began.get(path), digest)
        began |= passing.going_on
        total.merge(passing.passed())
    return total


@pytest.mark.parametrize(("lines", "pages"), [(1 << 30, 1), (7, 1), (7, 5), (1000, 3)])
def test_what_passed_in_parts_is_what_stands_there_as_a_whole(lines: int, pages: int):
    """Across segments, and across pages; the sum over all entries is the same in whatever order they came."""
    long = _lines([{"name": f"n{number}", "number": number, "pad": "x" * 100} for number in range(12_000)])
    contents = {b"a": long, b"b": b"", b"c": _lines([{"name": "c"}]), b"d": _lines([{}] * 20)}
    assert len(long) > SEGMENT

    passed = _pass(contents, lines, pages)
    wanted = Passed()
    for path in reversed(contents):
        wanted.fold(path, *_figured(path, contents[path]))
    assert (passed.entries, passed.total) == (4, wanted.total)
    assert passed.answer.records == 12_021


@pytest.mark.parametrize("of_content", [True, False])
def test_the_sum_tells_apart_what_is_exchanged(of_content: bool):
    """Two entries with one another's content, or columns, are not the same as before."""
    one, other, same = Passed(), Passed(), hashlib.sha256(b"same").digest()
    for passed, paths in ((one, (b"a", b"b")), (other, (b"b", b"a"))):
        for path, content in zip(paths, (b"1", b"2"), strict=True):
            found = hashlib.sha256(content).digest()
            passed.fold(path, *((found, same) if of_content else (same, found)))

    assert one.entries == other.entries
    assert one.total != other.total


def test_an_entry_whose_beginning_did_not_pass_is_no_use():
    """Nothing is known of it, and nothing is made up."""
    gauge, passing = _gauge(), Passing(KIND, Encoding(KIND))
    blocks = list(_blocks(b"a", _lines([{"name": "a"}] * 4), 2))
    with pytest.raises(KeyError):
        passing.take(b"a", blocks[1].offset, gauge.sheet(blocks[1], {}), None, b"digest")


def test_of_a_kind_of_which_something_was_missed_nothing_is_known():
    """Whoever missed it, and whenever."""
    known: dict[str, Passed | None] = {}
    merge_passed(known, {"a": Passed(entries=1), "b": Passed(entries=1)})
    merge_passed(known, {"a": None, "b": Passed(entries=2)})
    merge_passed(known, {"a": Passed(entries=1)})

    assert known["a"] is None
    assert known["b"] is not None
    assert known["b"].entries == 3
