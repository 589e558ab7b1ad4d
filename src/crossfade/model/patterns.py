"""Path patterns: from the text of a rule to regular expressions over bytes.

``*`` stands for any part of one name, ``{x}`` likewise and captures it, ``**`` for any number of whole names. Nothing
else is special. Where two wildcards share a name, the left one takes as little as it can; where two ``**`` share a path,
likewise. That makes every choice final, so the groups are atomic and a hostile file name costs no more than another.

Three expressions come out of one pattern: ``files`` (paths that it matches), ``trees`` (directories with all that is
below them, for a pattern that ends in ``/**``), ``leads`` (directories that may hold a match somewhere below).
"""

from __future__ import annotations

import itertools
import re

NAME = re.compile(r"[a-z][a-z0-9_]{0,47}")
"""What kinds, columns and captures may be called, so that any server takes them as they are."""

NAMES_MAX = 64
"""Names in a pattern or pointer: as many as the compiler of expressions takes one within another, and more than a tree has."""

_PIECE = re.compile(r"\{(?P<capture>[^{}]*)\}|(?P<star>\*+)|(?P<literal>[^{}*]+)|(?P<stray>[{}])")
_BELOW = "(?:[^/]+/)*?"
_DEEPEST = "(?>(?:.*/)?)"
_DEEP = "(?:.*/)?"


class PatternError(ValueError):
    """A pattern that cannot work; the message completes the sentence "pattern X …"."""


def captures_of(pattern: str) -> tuple[str, ...]:
    """The names in braces, in order. Raises PatternError for a pattern that cannot work."""
    _check_names(pattern)
    names = [match["capture"] for part in pattern.split("/") for match in _pieces(part) if match["capture"] is not None]
    for name in names:
        _check_capture(name, names)
    return tuple(names)


def _check_names(pattern: str) -> None:
    if not pattern:
        raise PatternError("is empty")
    if pattern.startswith("/"):
        raise PatternError("begins with a slash; patterns are relative to the root")
    parts = pattern.split("/")
    if len(parts) > NAMES_MAX:
        raise PatternError(f"has more than {NAMES_MAX} names")
    if "" in parts:
        raise PatternError("has an empty name between, or after, its slashes")
    if "." in parts or ".." in parts:
        raise PatternError("goes through '.' or '..', which no path does")
    if "\0" in pattern:
        raise PatternError("holds a NUL, which no path does")
    if "**/**" in pattern:
        raise PatternError("repeats '**'; once says the same")


def _check_capture(name: str, names: list[str]) -> None:
    if not NAME.fullmatch(name):
        raise PatternError(f"captures {{{name}}}; a name in braces is a letter, then letters, digits or _ (all lower case)")
    if names.count(name) > 1:
        raise PatternError(f"captures {{{name}}} twice")


def _pieces(part: str) -> list[re.Match[str]]:
    pieces = list(_PIECE.finditer(part))
    for piece, following in zip(pieces, [*pieces[1:], None], strict=True):
        if piece["stray"]:
            raise PatternError("has unbalanced braces")
        if piece["star"] and len(piece["star"]) > 1 and part != "**":
            raise PatternError("has '**' beside other characters; '**' is a whole name")
        if following and not piece["literal"] and not (following["literal"] or following["stray"]):
            raise PatternError("has two wildcards side by side, so nobody can tell where one ends")
    return pieces


def files(pattern: str, *, capture: bool = True) -> str:
    """Matches what the pattern names; a final ``**`` needs something below. With a group for each capture, if wanted."""
    *before, last = _segments(pattern, capture=capture)
    head = "".join(_eager(segment, "/") for segment in before)
    if last == []:
        return f"{head}.+"
    if not before:
        return "/".join(last)
    return head + (_DEEPEST if len(last) == 1 else _DEEP) + "/".join(last)


def trees(pattern: str) -> str:
    """Matches the directory in front of the final ``/**``, and every directory below it."""
    assert is_tree(pattern)
    *segments, _ = _segments(pattern, capture=False)
    if segments == [[]]:
        return ".*"
    return "".join(_eager(segment, "/") for segment in segments[:-1]) + _eager(segments[-1], r"(?:/|\Z)") + ".*"


def leads(pattern: str) -> str:
    """Matches the directories below which something may match. The root, which always may, is not among them."""
    first, *others = _segments(pattern, capture=False)
    names = list(first or []) if others else list(first or [])[:-1]
    if not names:
        return ".*" if others else "(?!)"
    tail = "(?:/.*)?" if others else ""
    for name in reversed(names[1:]):
        tail = f"(?:/{name}{tail})?"
    return names[0] + tail


def through(places: list[str]) -> str:
    """Matches the head of a path that goes through one of *places*; through which one, and where, is left open."""
    heads = [re.sub(f"^{re.escape(_DEEPEST)}", lambda _: _DEEP, files(place)) for place in places]
    return either([f"{head}/" for head in heads], _DEEP)


def either(expressions: list[str], shared: str = _DEEPEST) -> str:
    """One expression: the first of *expressions* that matches. Neighbours with a *shared* beginning go there once."""
    parts = []
    for shares, group in itertools.groupby(expressions, lambda text: text.startswith(shared)):
        texts = [text.removeprefix(shared) for text in group]
        parts.append(f"{shared}(?:{'|'.join(texts)})" if shares else "|".join(texts))
    return "|".join(parts) or "(?!)"


def is_tree(pattern: str) -> bool:
    """True for a pattern that takes whole directories."""
    return pattern == "**" or pattern.endswith("/**")


class _Segment(list[str]):
    """Expressions of consecutive names. ``floats`` says that a ``**`` stands in front."""

    floats = False


def _segments(pattern: str, *, capture: bool) -> list[_Segment]:
    """The names between the ``**``: the first stands at the root, each other one floats."""
    segments = [_Segment()]
    for part in pattern.split("/"):
        if part == "**":
            segments.append(_Segment())
            segments[-1].floats = True
        else:
            segments[-1].append(_name(part, capture=capture))
    return segments


def _eager(segment: _Segment, end: str) -> str:
    """The first place where *segment* fits. No other place could do better, so it is never tried again."""
    text = "/".join(segment) + end if segment else ""
    return f"(?>{_BELOW}{text})" if text and segment.floats else text


def _name(part: str, *, capture: bool) -> str:
    """One name. Each wildcard but the last ends at the first literal behind it, for good."""
    if part == "*":
        return "[^/]+"
    pieces, texts, waiting = _pieces(part), [], False
    last = max((number for number, piece in enumerate(pieces) if not piece["literal"]), default=-1)
    for number, piece in enumerate(pieces):
        if piece["literal"]:
            texts.append(re.escape(piece["literal"]) + ")" * waiting)
            waiting = False
        else:
            waiting = number < last
            texts.append("(?>" * waiting + _wildcard(piece, lazy=waiting, capture=capture))
    return "".join(texts)


def extension(pattern: str) -> str | None:
    """What every path that matches ends in, from its last dot on; None where that may vary."""
    tail = re.split(r"[*}/]", pattern)[-1]
    return tail[tail.rindex(".") :] if "." in tail else None


def _wildcard(piece: re.Match[str], *, lazy: bool, capture: bool) -> str:
    text = ("[^/]*" if piece["star"] else "[^/]+") + "?" * lazy
    return f"({text})" if capture and not piece["star"] else text
