"""One ``[[kind]]`` table: its name, form, columns and indexes, or the sentence that says why it cannot work."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, get_args

from crossfade.model.kinds import Column, ColumnType, Form, Kind
from crossfade.model.layout_text import Table
from crossfade.model.patterns import NAME, NAMES_MAX

RESERVED_KINDS = frozenset(
    [
        *("stores", "entries", "segments", "chunks", "marks", "changes", "quarantine", "migrations", "journal", "route"),
        *("leases", "intents", "drift", "validations", "kinds", "positions", "schema_versions", "history", "tombstones"),
        *("layouts", "rules", "routes", "cursors", "pointers"),
    ]
)
"""Names that the tables of every store already have."""

RESERVED_COLUMNS = frozenset(
    [
        *("store_id", "entry_id", "pos", "reason", "body", "raw"),
        *("ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"),
    ]
)
"""Columns that every kind's table already has: ours, and PostgreSQL's own."""

OTHER = Kind("other", "blob", describes="everything that no rule names: carried byte for byte, never interpreted")

_PROMOTE_KEYS = {"column", "from", "type", "map"}
_FORMS = get_args(Form)
_TYPES = get_args(ColumnType)
_TEXTUAL = {"text", "timestamp"}
_UNSPOKEN = re.compile(r'[~"\\\x00-\x1f]')
"""What a member's name in a pointer may not hold: it would have to be escaped, in JSON or in a pointer."""


def kind_of(table: Table, earlier: dict[str, Kind]) -> Kind:
    """The kind that *table* declares, beside those of *earlier* tables. Raises LayoutInvalid."""
    name = _name(table, earlier)
    form = _form(table, name)
    patterns = table.texts("match") if name != OTHER.name or "match" in table.values else ()
    captures = dict.fromkeys(capture for pattern in patterns for capture in table.captures(pattern))
    promoted = tuple(_promoted(table, name, form, set(captures)))
    columns = (*_captured(table, name, captures, promoted), *promoted)
    return Kind(name, form, columns, tuple(_indexes(table, name, columns)), table.text_or("describes", ""))


def _form(table: Table, kind: str) -> Form:
    form: Any = table.values.get("form")
    if form not in _FORMS:
        table.fail(f"kind '{kind}' has form {_quote(form)}; it must be {_one_of(_FORMS)}", "form")
    if kind == OTHER.name and form != OTHER.form:
        table.fail("kind 'other' takes what no rule names, so its form must be blob", "form")
    known: Form = form
    return known


def _name(table: Table, earlier: dict[str, Kind]) -> str:
    if "name" not in table.values:
        table.fail("a kind has no 'name'")
    name = table.text_or("name", "")
    if not NAME.fullmatch(name):
        table.fail(f"kind name '{name}' must be a letter, then letters, digits or _ (all lower case, at most 48)", name)
    if name in RESERVED_KINDS:
        table.fail(f"kind name '{name}' is taken by a table of crossfade itself; choose another", name)
    if name in earlier:
        table.fail(f"kind '{name}' is there already; one kind may have several patterns in its 'match'", name)
    return name


def _captured(table: Table, kind: str, captures: dict[str, None], promoted: tuple[Column, ...]) -> Iterator[Column]:
    """A column for each capture, unless a promoted one of that name takes it."""
    sources = {column.name: column.sources for column in promoted}
    for capture in captures:
        if capture in RESERVED_COLUMNS:
            table.fail(f"kind '{kind}' captures {{{capture}}}, a column that every kind already has", "match")
        if capture not in sources:
            yield Column(capture, (f"{{{capture}}}",))
        elif f"{{{capture}}}" not in sources[capture]:
            table.fail(
                f"column '{capture}' is also a capture; put \"{{{capture}}}\" among its 'from', or rename one", capture
            )


def _promoted(table: Table, kind: str, form: Form, captures: set[str]) -> Iterator[Column]:
    entries = table.values.get("promote", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        table.fail(f"'promote' of kind '{kind}' must be a list of tables {{ column = …, from = […] }}", "promote")
    seen: set[str] = set()
    for entry in entries:
        table.only(entry, _PROMOTE_KEYS)
        column = _column(table, kind, entry)
        if column.name in seen:
            table.fail(f"column '{column.name}' of kind '{kind}' is promoted twice", column.name, last=True)
        seen.add(column.name)
        for source in column.sources:
            _check_source(table, form, column, source, captures)
        yield column


def _column(table: Table, kind: str, entry: dict[str, Any]) -> Column:
    name = entry.get("column")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        table.fail(
            f"a promoted column of kind '{kind}' has the name {_quote(name)}; it must be like a kind's name", name, "promote"
        )
    if name in RESERVED_COLUMNS:
        table.fail(f"column '{name}' of kind '{kind}' is one that every kind already has", name)
    sources = entry.get("from")
    if not isinstance(sources, list) or not sources or not all(isinstance(source, str) for source in sources):
        table.fail(f"column '{name}' needs 'from', a list of pointers (\"/a/b\") and captures (\"{{x}}\")", name)
    type_ = entry.get("type", "text")
    if type_ not in _TYPES:
        table.fail(f"column '{name}' has type {_quote(type_)}; it must be {_one_of(_TYPES)}", type_, name)
    return Column(name, tuple(sources), type_, _mapping(table, name, type_, entry.get("map", {})))


def _mapping(table: Table, name: str, type_: str, mapping: Any) -> tuple[tuple[str, str], ...]:
    if mapping and type_ != "text":
        table.fail(f"column '{name}' has a 'map', which renames texts, but its type is {type_}", name)
    if not isinstance(mapping, dict) or not all(isinstance(value, str) and "\0" not in value for value in mapping.values()):
        table.fail(f"the 'map' of column '{name}' must give a text for each text", name)
    return tuple(sorted(mapping.items()))


def _check_source(table: Table, form: Form, column: Column, source: str, captures: set[str]) -> None:
    if source.startswith("{") and source.endswith("}"):
        if source[1:-1] not in captures:
            table.fail(f"column '{column.name}' takes {source}, which no pattern of its kind captures", source)
        if column.type not in _TEXTUAL:
            table.fail(f"column '{column.name}' takes {source}, a text; its type cannot be {column.type}", source)
    elif not source.startswith("/") or "" in source[1:].split("/") or _UNSPOKEN.search(source):
        table.fail(
            f"column '{column.name}' has the pointer '{source}'; write \"/member/member\", without any of ~ \\ \"", source
        )
    elif source.count("/") > NAMES_MAX:
        table.fail(f"column '{column.name}' has a pointer of more than {NAMES_MAX} names", source)
    elif form == "blob":
        table.fail(f"column '{column.name}' takes {source}, but a blob is never read; only captures work", source)


def _indexes(table: Table, kind: str, columns: tuple[Column, ...]) -> Iterator[tuple[str, ...]]:
    indexes = table.values.get("index", [])
    if not isinstance(indexes, list) or not all(isinstance(index, list) and index for index in indexes):
        table.fail(f"'index' of kind '{kind}' must be a list of lists of columns", "index")
    known = [column.name for column in columns]
    for index in indexes:
        for column in index:
            if column not in known:
                table.fail(
                    f"kind '{kind}' has an index on {_quote(column)}, which is no column of it", column, "index", last=True
                )
        if len(set(index)) < len(index) or indexes.count(index) > 1:
            table.fail(f"kind '{kind}' has an index that repeats itself: {', '.join(index)}", "index")
        yield tuple(index)


def _quote(value: object) -> str:
    return "nothing" if value is None else f"'{value}'"


def _one_of(values: tuple[str, ...]) -> str:
    return f"{', '.join(values[:-1])} or {values[-1]}"
