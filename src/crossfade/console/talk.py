"""Data goes to stdout, talk to stderr. Nothing here ever sees a record."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterable, Sequence
from textwrap import indent
from typing import Any

from crossfade.errors import CrossfadeError, LocationInvalid
from crossfade.model.paths import text_of
from crossfade.store.location import parse

_MAY_TELL = re.compile("[@=]")
"""What stands in a URL, or in a connection string of libpq, that has a password."""


def say(text: str) -> None:
    """Talk: one line on stderr."""
    print(text, file=sys.stderr, flush=True)


def show(text: str) -> None:
    """Data: on stdout."""
    print(text, flush=True)


def show_json(value: Any) -> None:
    """Data for programs, sorted and stable."""
    show(json.dumps(value, indent=2, default=str))


def show_listing(value: dict[str, Any], name: str, items: Iterable[Any], rest: Callable[[], dict[str, Any]]) -> None:
    """The same, with a list that may be long: *value*, then *items* as *name*, each as it comes, and the *rest*, known then.

    Nothing is said before the first of them is there: what fails until then leaves no half of a value behind.
    """
    before, between = json.dumps(value, indent=2, default=str).removesuffix("\n}") + f',\n  "{name}": [', ""
    for item in items:
        print(before + between + indent("\n" + json.dumps(item, indent=2, default=str), "    "), end="")
        before, between = "", ","
    after = json.dumps(rest(), indent=2, default=str).removeprefix("{")
    show(f"{before}],{after}")


def say_head(head: bytes) -> None:
    """What a verb ends with that touched a migration: with it, ``audit --verify`` finds a journal that was cut off."""
    say(f"journal head {head.hex()}")


def complain(error: CrossfadeError) -> None:
    """A failure: its code, a sentence, what to type next; before it the journal's head, where it stands in one."""
    if error.head:
        say_head(bytes.fromhex(error.head))
    say(_discreet(f"error[{error.code}]: {error.sentence}\n  try: {error.hint}"))


def this_command(more: str = "") -> str:
    """What was typed, fit to be typed again: without a password that stood in a URL; *more* is added where it was not typed."""
    typed = shlex.join(["crossfade", *map(_harmless, sys.argv[1:])])
    return typed if more in typed else f"{typed} {more}"


def _discreet(text: str) -> str:
    """*text*, where it quotes what was typed, in whatever case, without a password that stood in it."""
    for argument in sys.argv[1:]:
        value = argument.partition("=")[2] if argument.startswith("--") else argument
        if (shown := _harmless(value)) != value:
            for quoted in _quoted(value.strip()):
                text = re.sub(re.escape(quoted), shown.replace("\\", r"\\"), text, flags=re.IGNORECASE)
    return text


def _quoted(value: str) -> set[str]:
    """How a sentence may have *value*: as it was typed, as Python quotes it, and as a path is shown."""
    return {value, repr(value)[1:-1], text_of(os.fsencode(value))}


def _harmless(argument: str) -> str:
    option, separator, value = argument.partition("=") if argument.startswith("--") else ("", "", argument)
    if not _MAY_TELL.search(value):
        return argument
    try:
        place = parse(value)
    except LocationInvalid:
        return option + separator + "URL"
    return option + separator + place.url if place.secret else argument


def sized(count: float) -> str:
    """Bytes for people: 1.2 GiB."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def counted(number: int, noun: str, plural: str = "") -> str:
    """1 entry, 1,204 entries."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def lasting(seconds: float) -> str:
    """Seconds for people: 3.2 s, 4 min 10 s, 2 h 5 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def lag_of(lag: dict[str, Any]) -> str:
    """A lag for people: 1.2 s, 3 paths (4.0 KiB) behind."""
    return f"{lasting(lag['seconds'])}, {behind(lag['entries'], lag.get('bytes', 0), lag.get('unread', 0))}"


def behind(paths: int, size: int, unread: int) -> str:
    """By how much: 3 paths (4.0 KiB) behind; or, with 2 of them *unread*: 3 paths (4.0 KiB, without 2 unread) behind."""
    without = f", without {unread:,} unread" if unread else ""
    return f"{counted(paths, 'path')} ({sized(size)}{without}) behind"


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]], *, left: int = 1) -> str:
    """Rows under a head, aligned; the first *left* columns to the left, the others to the right."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = []
    for row in (head, *rows):
        cells = [cell.ljust(w) if i < left else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))]
        lines.append("  " + "  ".join(cells).rstrip())
    return "\n".join(lines)
