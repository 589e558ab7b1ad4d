"""A layout's rules as rows of the tables ``layouts`` and ``rules``, so that a function in the server can place a path.

Patterns are the regular expressions of ``model.patterns``, which only use what PostgreSQL's have, too, but for atomic groups;
without these the answer is the same, as every choice in them is final. Bytes become characters one by one (Latin 1).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from crossfade.model import patterns
from crossfade.model.layouts import Layout
from crossfade.store.backends.postgres.names import literal


@dataclass(frozen=True)
class PathRule:
    """One pattern of a layout: what it takes, and cheap tests (``head``, ``tail``) that say when it cannot."""

    rank: int
    kind: str
    form: str
    fate: str
    pattern: str
    head: str
    tail: str
    expression: str
    kept: str | None
    captures: tuple[str, ...]


def path_rules(layout: Layout) -> Iterator[PathRule]:
    """Every pattern of *layout*, in the order in which they are tried."""
    rank = 0
    for rule in layout.rules:
        kind = layout.kind(rule.kind or "other")
        kept = _either(map(patterns.files, rule.keep)) if rule.keep else None
        for pattern in rule.match:
            yield PathRule(
                rank,
                kind.name,
                kind.form,
                rule.fate,
                pattern,
                _characters(re.split(r"[*{]", pattern)[0]),
                _characters(patterns.extension(pattern) or ""),
                _either([patterns.files(pattern)]),
                kept,
                patterns.captures_of(pattern),
            )
            rank += 1


def insertions(schema: str, layout: Layout) -> Iterator[str]:
    """The statements that make *layout* known. *schema* is quoted. Safe to repeat."""
    places = [place for place in layout.under if place]
    values = [layout.fingerprint, layout.name, layout.text(), "" in layout.under]
    within = _either(map(patterns.files, places)) if places else None
    yield _insertion(schema, "layouts", [*values, within])
    for rule in path_rules(layout):
        texts = [rule.kind, rule.form, rule.fate, rule.pattern, rule.head, rule.tail, rule.expression, rule.kept]
        yield _insertion(schema, "rules", [layout.fingerprint, rule.rank, *texts, rule.captures])


def _insertion(schema: str, table: str, values: list[object]) -> str:
    return f"INSERT INTO {schema}.{table} VALUES ({', '.join(map(_value, values))}) ON CONFLICT DO NOTHING"


def _value(value: object) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, tuple):
        return f"ARRAY[{', '.join(map(literal, value))}]::text[]"
    return literal(value) if isinstance(value, str) else str(value).lower()


def _either(expressions: Iterable[str]) -> str:
    """An expression for a whole path that one of *expressions* takes."""
    return _characters(f"^(?:{'|'.join(expressions)})$").replace("(?>", "(?:")


def _characters(text: str) -> str:
    return text.encode().decode("latin-1")
