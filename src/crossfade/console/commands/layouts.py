"""``crossfade layouts``: list those that come along, show one, or see which rule takes each path of a directory."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections import Counter
from collections.abc import Iterator

from crossfade.console.streams import while_read
from crossfade.errors import SourceMissing, Unreadable
from crossfade.model.kinds import Placement
from crossfade.model.layouts import Layout, builtin, load
from crossfade.model.paths import text_of

_SCHEMA_VERSION = 1


def list_layouts(as_json: bool) -> None:
    """Print the built-in layouts with their kinds."""
    layouts = [load(name) for name in builtin()]
    if as_json:
        print(json.dumps({"schema_version": _SCHEMA_VERSION, "layouts": [_described(layout) for layout in layouts]}))
        return
    for layout in layouts:
        print(f"{layout.name:<12}{', '.join(kind.name for kind in layout.kinds)}")


def show(name: str) -> None:
    """Print the text of a layout: something to read, or to begin one's own with."""
    print(load(name).text(), end="")


def test(directory: str, name: str, as_json: bool) -> None:
    """Print what the layout says of each path below *directory*, in order; counts go to stderr."""
    layout = load(name)
    width = max(len(kind.name) for kind in layout.kinds) + 2
    counts: Counter[str] = Counter()
    for path, type_, placement in while_read(_walk(os.fsencode(directory), layout)):
        counts[_label(type_, placement)] += 1
        print(_as_json(path, type_, placement) if as_json else _as_line(path, type_, placement, width))
    for label, count in sorted(counts.items()):
        print(f"{label:<{width}}{count:>10,}", file=sys.stderr)


def _described(layout: Layout) -> dict[str, object]:
    kinds = [{"name": kind.name, "form": kind.form, "describes": kind.describes} for kind in layout.kinds]
    return {"name": layout.name, "fingerprint": layout.fingerprint, "kinds": kinds}


def _walk(root: bytes, layout: Layout) -> Iterator[tuple[bytes, str, Placement]]:
    """Every path below *root* with its type, depth first, each directory's names in order. Enters nothing that is pruned."""
    pending = _names(root, b"")
    while pending:
        path, type_ = pending.pop()
        placement = layout.place(path, directory=type_ == "dir")
        yield path, type_, placement
        if type_ == "dir" and placement.fate == "keep":
            pending += _names(root, path)


def _names(root: bytes, directory: bytes) -> list[tuple[bytes, str]]:
    """What stands in *directory*, last name first, so that the first one is popped first."""
    here = os.path.join(root, directory) if directory else root
    try:
        with os.scandir(here) as entries:
            return sorted(((_join(directory, entry.name), _type(entry)) for entry in entries), reverse=True)
    except (FileNotFoundError, NotADirectoryError) as error:
        sentence = f"{text_of(here)} is no directory that exists"
        raise SourceMissing(sentence, hint="crossfade layouts test DIR") from error
    except OSError as error:
        raise Unreadable(
            f"{text_of(here)} cannot be read: {error.strerror}", hint=shlex.join(["ls", "-ld", text_of(here)])
        ) from error


def _join(directory: bytes, name: bytes) -> bytes:
    return directory + b"/" + name if directory else name


def _type(entry: os.DirEntry[bytes]) -> str:
    if entry.is_symlink():
        return "link"
    if entry.is_dir(follow_symlinks=False):
        return "dir"
    return "file" if entry.is_file(follow_symlinks=False) else "special"


def _label(type_: str, placement: Placement) -> str:
    """What one asks for: the kind of a file that is moved, else why it is not, or is none."""
    if placement.fate != "keep":
        return placement.fate
    return placement.kind.name if type_ == "file" else type_


def _as_line(path: bytes, type_: str, placement: Placement, width: int) -> str:
    captures = " ".join(f"{name}={value}" for name, value in placement.captures.items())
    slash = "/" if type_ == "dir" else ""
    rule = f"  <- {placement.rule}" if placement.rule else ""
    return f"{_label(type_, placement):<{width}}{text_of(path)}{slash}{rule}  {captures}".rstrip()


def _as_json(path: bytes, type_: str, placement: Placement) -> str:
    kind = placement.kind.name if type_ == "file" and placement.fate == "keep" else None
    found = {"path": text_of(path), "type": type_, "fate": placement.fate, "kind": kind, "rule": placement.rule or None}
    return json.dumps(found | {"captures": placement.captures})
