"""Reading just the promoted fields of a record: a struct type that decodes them, and a function that collects them.

The function is written out for each kind and compiled, as ``namedtuple`` does it: it is the inner loop of every copy, and the
straightforward form of it (``records.Reader`` has it for the rare cases) takes four times as long.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from crossfade.model.columns import Convert

Bound = list[Any]
"""What the sources that are captures take from the path, in the order of the columns and of their sources."""

Promote = Callable[[Any, Bound], Sequence[Any]]

_Path = tuple[str, ...]


@dataclass(frozen=True)
class Inline:
    """What a conversion does with a ``str`` that it finds in a record, as an expression of ``v``: a call less for each.

    It may rely on what :class:`~crossfade.model.records.Reader` has made sure of: no NUL, no lone surrogate.
    """

    expression: str
    names: Mapping[str, Any] = field(default_factory=dict)


def compile_promotion(
    columns: Sequence[tuple[tuple[str, ...], Convert]],
    pointers: Sequence[str],
    nothing: Any,
    inline: Mapping[Any, Inline],
) -> tuple[Promote, type]:
    """(function, struct type): decode a record as the type, give it to the function, get one value a column.

    *inline* has shorter forms of some conversions.
    """
    paths = [tuple(pointer[1:].split("/")) for pointer in pointers]
    shapes: dict[str, type] = {}
    shape, places = _shape(paths, shapes, "top")
    quick = {number: inline[convert] for number, (_, convert) in enumerate(columns) if convert in inline}
    text = _source(columns, {p: places[path] for p, path in zip(pointers, paths, strict=True)}, shapes, quick)
    names: dict[str, Any] = {**shapes, "nothing": nothing}
    names |= {f"convert{number}": convert for number, (_, convert) in enumerate(columns)}
    names |= {name: value for form in quick.values() for name, value in form.names.items()}
    exec(text, names)  # noqa: S102 - the text holds no input: fields and columns appear as numbers
    return names["promote"], shape


def _shape(paths: Sequence[_Path], shapes: dict[str, type], at: str) -> tuple[type, dict[_Path, str]]:
    """A struct type for *paths*; and for each path the expression of its value, below the variable *at*."""
    fields: list[tuple[str, Any, Any]] = []
    places: dict[_Path, str] = {}
    rename: dict[str, str] = {}
    for number, name in enumerate(sorted({path[0] for path in paths})):
        below = [path[1:] for path in paths if path[0] == name and len(path) > 1]
        kind: Any = Any
        if below:
            inner, deeper = _shape(below, shapes, f"{at}_{number}")
            shapes[f"Shape_{at}_{number}"] = inner
            kind = inner | str | int | float | bool | list[Any] | None
            places |= {(name, *rest): expression for rest, expression in deeper.items()}
        places[(name,)] = f"{at}.f{number}"
        rename[f"f{number}"] = name
        fields.append((f"f{number}", kind, None))
    return msgspec.defstruct("Shape", fields, rename=rename, gc=False), places


def _source(
    columns: Sequence[tuple[tuple[str, ...], Convert]],
    places: dict[str, str],
    shapes: dict[str, type],
    quick: dict[int, Inline],
) -> str:
    """The text of ``promote(top, bound)``."""
    lines = ["def promote(top, bound):"]
    for name in sorted(shapes, key=lambda name: name.count("_")):
        lines += _inner(name.removeprefix("Shape_"), name)
    slots = itertools.count()
    for number, (sources, _) in enumerate(columns):
        values = [f"bound[{next(slots)}]" if s[0] == "{" else _value(number, places[s], quick.get(number)) for s in sources]
        lines += _column(f"c{number}", values)
    lines.append(f"    return [{', '.join(f'c{number}' for number in range(len(columns)))}]")
    return "\n".join(lines)


def _inner(variable: str, shape: str) -> list[str]:
    """Bind a nested struct to a variable, None where the record has something else there."""
    parent, _, number = variable.rpartition("_")
    holder = f"{parent}.f{number}"
    if parent != "top":
        holder = f"({holder} if {parent} is not None else None)"
    return [f"    {variable} = {holder}", f"    if type({variable}) is not {shape}: {variable} = None"]


def _column(variable: str, values: list[str]) -> list[str]:
    """The first source that yields something, or nothing."""
    lines = [f"    {variable} = {values[0]}"]
    lines += [f"    if {variable} is None: {variable} = {value}" for value in [*values[1:], "nothing"]]
    return lines


def _value(number: int, place: str, quick: Inline | None) -> str:
    """What a column takes from a *place* in the record, or None."""
    converted = f"convert{number}(v)"
    if quick is not None:
        converted = f"({quick.expression}) if type(v) is str else {converted}"
    found = f"({converted}) if (v := {place}) is not None else None"
    variable = place.rpartition(".")[0]
    return found if variable == "top" else f"({found}) if {variable} is not None else None"
