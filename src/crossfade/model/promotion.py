"""Reading just the promoted fields of a record: a struct type that decodes them, and a function that collects them.

The function is written out for each kind and compiled, as ``namedtuple`` does it: it is the inner loop of every copy, and the
straightforward form of it (``records.Reader`` has it for the rare cases) takes three times as long.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from crossfade.model.columns import Convert

Bound = list[list[Any]]
"""For each column, what each of its sources takes from the path; None for sources that are JSON pointers."""

Promote = Callable[[Any, Bound], Sequence[Any]]

_Path = tuple[str, ...]


def compile_promotion(
    columns: Sequence[tuple[tuple[str, ...], Convert]], pointers: Sequence[str], nothing: Any
) -> tuple[Promote, type]:
    """(function, struct type): decode a record as the type, give it to the function, get one value a column."""
    paths = [tuple(pointer[1:].split("/")) for pointer in pointers]
    shapes: dict[str, type] = {}
    shape, places = _shape(paths, shapes, "top")
    text = _source(columns, {p: places[path] for p, path in zip(pointers, paths, strict=True)}, shapes)
    names: dict[str, Any] = {**shapes, "nothing": nothing}
    names |= {f"convert{number}": convert for number, (_, convert) in enumerate(columns)}
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


def _source(columns: Sequence[tuple[tuple[str, ...], Convert]], places: dict[str, str], shapes: dict[str, type]) -> str:
    """The text of ``promote(top, bound)``."""
    lines = ["def promote(top, bound):"]
    for name in sorted(shapes, key=lambda name: name.count("_")):
        lines += _inner(name.removeprefix("Shape_"), name)
    for number, (sources, _) in enumerate(columns):
        lines += _column(number, sources, places)
    lines.append(f"    return [{', '.join(f'c{number}' for number in range(len(columns)))}]")
    return "\n".join(lines)


def _inner(variable: str, shape: str) -> list[str]:
    """Bind a nested struct to a variable, None where the record has something else there."""
    parent, _, number = variable.rpartition("_")
    holder = f"{parent}.f{number}"
    if parent != "top":
        holder = f"({holder} if {parent} is not None else None)"
    return [f"    {variable} = {holder}", f"    if type({variable}) is not {shape}: {variable} = None"]


def _column(number: int, sources: tuple[str, ...], places: dict[str, str]) -> list[str]:
    """The first source that yields something, or nothing."""
    lines = [f"    c{number} = None"]
    for index, source in enumerate(sources):
        guard = f"    if c{number} is None: " if index else "    "
        lines.append(f"{guard}c{number} = {_value(number, index, source, places)}")
    return [*lines[1:], f"    if c{number} is None: c{number} = nothing"]


def _value(number: int, index: int, source: str, places: dict[str, str]) -> str:
    if source.startswith("{"):
        return f"bound[{number}][{index}]"
    place = places[source]
    variable = place.rpartition(".")[0]
    found = f"convert{number}(v) if (v := {place}) is not None else None"
    return found if variable == "top" else f"({found}) if {variable} is not None else None"
