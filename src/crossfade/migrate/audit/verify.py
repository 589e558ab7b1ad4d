"""Does the chain hold? From the first line to the last, each hash is computed anew; the first that is wrong is named.

A line that is missing at the end leaves a chain that is whole: only somebody who knows a later head can tell. Every verb
prints the head for that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from crossfade.store.backends.postgres.journal import START, Written

_RENUMBERED = 10_000
"""How many places a line is looked for behind the one that it stands in, to tell a removed line from an edited one."""

What = Literal["edited", "removed", "reordered", "cut off"]


@dataclass(frozen=True)
class Break:
    """What is wrong first: *line* is the number in the journal."""

    line: int
    what: What
    sentence: str


@dataclass(frozen=True)
class Chain:
    """What a journal's chain was found to be. ``head`` is the last hash up to which it holds."""

    lines: int
    head: bytes
    broken: Break | None = None

    def values(self) -> dict[str, Any]:
        """As ``audit --verify --json`` shows it."""
        found = self.broken and {"line": self.broken.line, "what": self.broken.what, "sentence": self.broken.sentence}
        return {"holds": self.broken is None, "lines": self.lines, "broken": found}


def verify(read: Callable[[], Iterable[Written]], known: str = "") -> Chain:
    """Follow the chain; *read* gives its lines in order, each time anew. *known* is the beginning of a hash that must be in it."""
    lines, head = 0, START
    met = START.hex().startswith(known)
    for line in read():
        if broken := _break(line, lines + 1, head, read):
            return Chain(lines, head, broken)
        lines, head = line.seq, line.hash
        met = met or head.hex().startswith(known)
    if not lines:
        return Chain(0, head, Break(1, "cut off", "line 1 is missing: there is no line at all"))
    if not met:
        sentence = f"the head that was named is not in the chain: it was cut off behind line {lines}, or written anew"
        return Chain(lines, head, Break(lines + 1, "cut off", sentence))
    return Chain(lines, head)


def _break(line: Written, expected: int, head: bytes, read: Callable[[], Iterable[Written]]) -> Break | None:
    """What is wrong with *line*, which is the next one that was found and should be number *expected* behind *head*."""
    if line.seq == expected and line.previous == head:
        sound = line.hash == line.hash_after(head)
        return None if sound else Break(expected, "edited", f"line {expected} was edited: its hash is that of another text")
    if (elsewhere := _place_of(head, read)) is not None and elsewhere != expected:
        return Break(
            expected, "reordered", f"line {expected} stands in place {elsewhere}: lines were put into another order"
        )
    if line.seq > expected or _was_renumbered(line):
        last = f" to {line.seq - 1}" if line.seq > expected + 1 else ""
        return Break(expected, "removed", f"line {expected}{last} was removed")
    if line.hash == line.hash_after(line.previous) and expected > 1:
        return Break(expected - 1, "edited", f"line {expected - 1} was written anew: line {expected} follows another one")
    return Break(expected, "edited", f"line {expected} was edited: it follows another line than the one before it")


def _was_renumbered(line: Written) -> bool:
    """True where the hash is right for a later place."""
    later = range(line.seq + 1, line.seq + _RENUMBERED)
    return any(line.hash == line.hash_after(line.previous, number) for number in later)


def _place_of(head: bytes, read: Callable[[], Iterable[Written]]) -> int | None:
    """Where the line is that follows *head*, if there is one."""
    return next((line.seq for line in read() if line.previous == head), None)
