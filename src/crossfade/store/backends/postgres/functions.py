"""The functions of the schema, for programs in any language: the same for every tree, and those that a layout brings.

``functions/*.sql`` hold their text. What is the same for all is made with the schema; ``kind.sql`` once for each kind's
table; ``fill.sql`` once for each kind of each layout, with the layout's columns written out, as ``model.promotion`` does it
for Python.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib import resources

from crossfade.model.kinds import Column, Kind
from crossfade.store.backends.postgres.names import literal, quoted

FILES = ("bytes", "values", "json", "place", "route", "feed", "guard", "entries", "writing", "moving", "doors", "triggers")
"""In their order: a function in SQL is looked at when it is made."""

_CONVERTERS = {"text": "as_text", "bigint": "as_bigint", "boolean": "as_boolean", "timestamp": "as_timestamp"}
_IDENTIFIER_BYTES_MAX = 63

_Path = tuple[str, ...]


def common(schema: str) -> Iterator[str]:
    """The scripts that make the functions and triggers every tree shares. *schema* is quoted. Safe to repeat."""
    for name in FILES:
        yield _text(name).replace("{schema}", schema)


def of_kind(schema: str, kind: str) -> str:
    """The script that makes the functions of one kind's table."""
    text = _text("kind")
    for purpose in ("tail", "content", "sums", "clear"):
        text = text.replace(f"{{{purpose}}}", quoted(f"{purpose}_of_{kind}"))
    return text.replace("{schema}", schema).replace("{kind}", quoted(kind))


def fill_name(kind: str, fingerprint: str) -> str:
    """The name of the function that writes records of *kind* as the layout with *fingerprint* reads them."""
    return f"fill_{kind}_{fingerprint[:8]}"


def of_layout(schema: str, kind: Kind, fingerprint: str) -> str:
    """The script that makes the function of one kind of a layout."""
    pointers = sorted({s for column in kind.columns for s in column.sources if s.startswith("/")})
    paths = [tuple(pointer[1:].split("/")) for pointer in pointers]
    joins, places = _joins(paths, "coalesce(r.doc, r.body)", "t") if paths else ([], {})
    parts = {
        "fill": quoted(fill_name(kind.name, fingerprint)),
        "kind": quoted(kind.name),
        "names": "".join(quoted(column.name) + ", " for column in kind.columns),
        "values": "".join(f"\n               {_value(schema, column, places)}, " for column in kind.columns),
        "joins": "".join(f"\n        {join}" for join in joins),
        "schema": schema,
    }
    text = _text("fill")
    for name, part in parts.items():
        text = text.replace(f"{{{name}}}", part)
    return text


def _joins(paths: list[_Path], holder: str, alias: str) -> tuple[list[str], dict[_Path, str]]:
    """The joins that take an object apart, one a level; and for each path the expression of its value."""
    names = sorted({path[0] for path in paths})
    short = [name for name in names if len(name.encode()) <= _IDENTIFIER_BYTES_MAX]
    columns = ", ".join(f"{quoted(name)} json" for name in short)
    whole = f"CASE WHEN json_typeof({holder}) = 'object' THEN {holder} END"
    joins = [f"LEFT JOIN LATERAL json_to_record({whole}) AS {alias} ({columns}) ON true"] if short else []
    places: dict[_Path, str] = {}
    for number, name in enumerate(names):
        place = f"{alias}.{quoted(name)}" if name in short else f"({holder} -> {literal(name)})"
        places[(name,)] = place
        below = [path[1:] for path in paths if path[0] == name and len(path) > 1]
        if below:
            deeper, found = _joins(below, place, f"{alias}_{number}")
            joins += deeper
            places |= {(name, *rest): expression for rest, expression in found.items()}
    return joins, places


def _value(schema: str, column: Column, places: dict[_Path, str]) -> str:
    """The expression of a column: the first of its sources that yields something, by its translation."""
    convert = f"{schema}.{_CONVERTERS[column.type]}"
    sources = [
        f"{convert}($3 ->> {literal(source[1:-1])})"
        if source.startswith("{")
        else f"{convert}({places[tuple(source[1:].split('/'))]})"
        for source in column.sources
    ]
    found = sources[0] if len(sources) == 1 else f"coalesce({', '.join(sources)})"
    if not column.mapping:
        return found
    words = " ".join(f"WHEN {literal(old)} THEN {literal(new)}" for old, new in column.mapping)
    return f"(SELECT CASE x.value {words} ELSE x.value END FROM (SELECT {found} AS value) AS x)"


@cache
def _text(name: str) -> str:
    return (resources.files("crossfade.store.backends.postgres") / "functions" / f"{name}.sql").read_text()
