"""Layouts that somebody else wrote: each is refused with CF102, or works, on every path and on a real server, in bounded time."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossfade.errors import LayoutInvalid
from crossfade.model.layouts import Layout, parse
from crossfade.model.records import Reader
from crossfade.store.backends.postgres import schema
from support.person import Person, refused
from support.servers import Database

SECONDS = 4.0
PATHS = [
    b"",
    b"a",
    b"a/b.json",
    b"a" * 250,
    b"a/" * 300 + b"b",
    b"ab" * 100 + b"/" + b"*a" * 100,
    b"x\xff\n/..",
    b"b/b/b/a.jsonl",
]


@contextmanager
def in_time() -> Iterator[None]:
    """By the clock of this process: the machine may be busy."""
    began = time.process_time()
    yield
    assert time.process_time() - began < SECONDS


def made(text: str) -> Layout | None:
    """The layout, tried on paths and records; None when it was refused, as it should be."""
    with in_time():
        try:
            layout = parse(text, source="x.toml")
        except LayoutInvalid:
            return None
        for path in PATHS:
            assert layout.place(path).kind in layout.kinds
            layout.place(path, directory=True)
        for kind in layout.kinds:
            reader = Reader(kind)
            for record in (b'{"a": {"b": 1}, "c": null}\n', b"[]", b"no"):
                assert len(reader.read(record, {}, suspect=True)[1]) == len(kind.columns)
        return layout


# Random values, some of which are what they should be

letters = st.text("ab*{}/.\\\"'x_\0\n é", max_size=8)
parts = st.sampled_from(["a", "b", "*", "**", "*.json", "a*b*", 'é"x', "{x}", "{y}-*.jsonl"])
patterns = st.lists(parts, min_size=1, max_size=4, unique=True).map("/".join)
pointers = st.sampled_from(["/a", "/a/b", "/id", "/é/ /b", "/$", "/a/b/c/d"])
words = st.sampled_from(["a", "b", "other", "events", "stores", "body", "select", "A", "x" * 49, "_", "1"])
anything: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | letters
    | st.sampled_from(["..", "/~0", "{X}", "***", "/\n"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(letters, inner, max_size=3),
    max_leaves=6,
)


def _column(part: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    names, sources = st.sampled_from(["id", "status", "select", "user", "a1"]), st.lists(pointers, min_size=1, max_size=3)
    types, maps = st.sampled_from(["text", "bigint", "boolean", "timestamp"]), st.dictionaries(letters, letters, max_size=2)
    return st.fixed_dictionaries(
        {"column": names | part, "from": sources | part}, optional={"type": types | part, "map": part | maps}
    )


def _kind(part: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    forms, promoted = st.sampled_from(["document", "log"]), st.lists(_column(part), max_size=3)
    must = {"name": st.sampled_from(["a", "b", "events", "order", "user"]) | part, "form": forms | part}
    must["match"] = st.lists(patterns, min_size=1, max_size=4, unique=True) | part
    may = {"promote": promoted | part, "index": st.just([["id"]]) | part, "describes": letters | part, "priority": part}
    return st.fixed_dictionaries(must, optional=may)


def _document(part: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, Any]]:
    """Where *part* is anything, it may stand in every place; where it is nothing, the document is as it should be, or nearly."""
    outs = st.fixed_dictionaries(
        {"match": st.lists(patterns, min_size=1, max_size=3, unique=True) | part}, optional={"keep": part}
    )
    tables = st.tuples(st.just("kind"), _kind(part)) | st.tuples(st.sampled_from(["exclude", "transient"]), outs)
    tables |= part.map(lambda found: ("more", {"match": found}))
    head = st.dictionaries(st.sampled_from(["name", "describes", "under", "kind", "x"]), part, max_size=2)
    return st.tuples(head, st.lists(tables, max_size=4, unique_by=lambda found: str(found[1].get("name", found))))


documents = (_document(anything) | _document(st.nothing())).map(lambda found: _toml(*found))


def _toml(head: dict[str, Any], bodies: list[tuple[str, dict[str, Any]]]) -> str:
    lines = [f"{key} = {_value(value)}" for key, value in head.items()]
    for name, body in bodies:
        lines += [f"[[{name}]]", *(f"{key} = {_value(value)}" for key, value in body.items())]
    return "\n".join(lines)


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_value(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return "1979-05-27T07:32:00Z" if value is None else json.dumps(value) if not isinstance(value, float) else repr(value)


WORKING: dict[str, Layout] = {}
"""What fuzz made and was taken, for the server to try."""


@settings(max_examples=300)
@given(documents)
def test_a_random_layout_is_refused_or_works(text: str):
    """Unknown keys, wrong types, kinds twice, names that are taken, patterns and pointers of any characters."""
    if (layout := made(text)) is not None and layout.kinds:
        WORKING[layout.fingerprint] = layout


def test_a_server_takes_what_was_taken(database: Database):
    """Tables, comments and indexes of every layout that the fuzz found to work."""
    if not WORKING:
        test_a_random_layout_is_refused_or_works()
    assert len(WORKING) > 10
    with database.connect() as connection:
        for layout in list(WORKING.values())[:60]:
            with connection.transaction(force_rollback=True):
                connection.execute("CREATE SCHEMA fuzz")
                for kind in layout.kinds:
                    for statement in (*schema.kind_statements("fuzz", kind), *schema.index_statements("fuzz", kind)):
                        connection.execute(statement.encode())


KIND = '[[kind]]\nname = "a"\nform = "log"\nmatch = ['
LARGE = {
    "a list in a list in a list": "x = " + "[" * 990,
    "over many lines": "x = " + "[\n" * 3000,
    "a table in a table": "x = " + "{a = " * 190,
    "a key of very many parts": "a" + ".a" * 50_000 + " = 1",
    "many keys of many parts": "".join(f"a{n}{'.a' * 490} = 1\n" for n in range(250)),
    "a number of very many digits": f"{KIND}'*']\npriority = {'9' * 5000}",
    "more than anybody reads": "# a comment\n" * 40_000,
    "a pattern of very many names": f"{KIND}'{'a/' * 1000}b']\n[[exclude]]\nmatch = ['{'*/' * 500}**']\nkeep = ['{'*/' * 501}d']",
    "a place of very many names": f"under = ['{'a/' * 1000}b']\n{KIND}'x']",
    "a pointer of very many names": f"{KIND}'*']\npromote = [{{column = 'c', from = ['{'/a' * 1500}']}}]",
    "a pointer that JSON would escape": f"""{KIND}'*']\npromote = [{{column = 'c', from = ['/a"b']}}]""",
    "a NUL in a text for the server": f"{KIND}'*']\ndescribes = \"a\\u0000b\"",
    "a NUL in what a value is mapped to": f"{KIND}'{{x}}']\npromote = [{{column = 'x', from = ['{{x}}'], map = {{a = \"\\u0000\"}}}}]",
}
COSTLY = {
    "as many names as there may be": f"{KIND}'{'a/' * 63}b']\n[[exclude]]\nmatch = ['{'**/a/' * 31}**']\nkeep = ['{'*/' * 63}d']",
    "a place and a pattern": f"under = ['{'a/' * 63}b']\n{KIND}'{'*/' * 62}x']\n[[exclude]]\nmatch = ['{'*/' * 63}**']\nkeep = ['{'*/' * 62}d']",
    "very many stars": f"{KIND}'{'*a' * 480}']",
    "very many captures": f"{KIND}'{''.join(f'{{x{n}}}a' for n in range(140))}']",
    "very many kinds": "".join(f"[[kind]]\nname = 'a{n}'\nform = 'log'\nmatch = ['a{n}/**/*.x']\n" for n in range(2500)),
    "very many patterns": KIND + ",\n".join(f"'b/*{n}*'" for n in range(8000)) + "]",
}


@pytest.mark.parametrize("name", LARGE)
def test_what_would_never_end_is_refused_at_once(name: str):
    """By the length of the text, of a line, of a pattern, before any of it is worked on."""
    assert made(LARGE[name]) is None


@pytest.mark.parametrize("name", COSTLY)
def test_what_is_large_works_in_time(name: str):
    """The most that is allowed, on names that are made to cost time."""
    assert made(COSTLY[name]) is not None


def test_the_command_line_says_so(person: Person, tiny: Path, database: Database, tmp_path: Path):
    """No traceback, nothing made; also for a file that never ends."""
    layout = tmp_path / "layout.toml"
    for text in LARGE.values():
        layout.write_text(text)
        refused(person.types("layouts", "test", tiny, "--layout", layout), "CF102", 1)
    refused(person.types("start", tiny, database.url, "--once", "--layout", "/dev/zero"), "CF102", 1)
