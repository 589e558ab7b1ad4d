"""A kind is data: a name, a form, and the columns that are promoted out of its records.

*Sessions, events, checkpoints* are values of this type, read from a layout; no code knows them by name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import msgspec

Form = Literal["document", "log", "blob"]
ColumnType = Literal["text", "bigint", "boolean", "timestamp"]


@dataclass(frozen=True)
class Column:
    """One promoted column: a pure function of a record's bytes and its entry's path, the same in every store.

    ``sources`` are tried in order; the first that yields a value of ``type`` wins. A source is a JSON pointer
    (``/event/job_id``, object members only) or a capture of the path pattern (``{job}``).
    ``mapping`` renames text values, so that two generations of a program mean the same by one word.
    """

    name: str
    sources: tuple[str, ...]
    type: ColumnType = "text"
    mapping: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Kind:
    """What the records of some entries are.

    ``document``: one JSON value, replaced whole. ``log``: one JSON value a line, appended. ``blob``: carried, never
    interpreted. ``indexes`` are tuples of column names.
    """

    name: str
    form: Form
    columns: tuple[Column, ...] = ()
    indexes: tuple[tuple[str, ...], ...] = ()
    describes: str = ""


class Placement(msgspec.Struct, frozen=True):
    """Where a layout puts one path: its kind and captures, or the rule that keeps it out of the moved set.

    ``fate`` is ``keep`` (moved), ``exclude`` or ``transient``; ``rule`` is the pattern that decided, for people.
    """

    kind: Kind
    fate: Literal["keep", "exclude", "transient"]
    rule: str
    captures: dict[str, str] = {}  # a new one for each: msgspec copies an empty default
