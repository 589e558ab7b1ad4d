"""All rules of a layout as one regular expression, tried once for every path.

Three things keep it fast: an expression is tried for paths of its own extension only; one that begins with the wrong
character costs nothing; neighbours that look at the last name find that once. Where patterns hold below several places
(``under``), the expression is tried at each of them that the path goes through, and the earliest pattern of the file wins.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from crossfade.model import patterns
from crossfade.model.kinds import Kind, Placement
from crossfade.model.layout_kinds import OTHER
from crossfade.model.layout_rules import Rule
from crossfade.model.paths import text_of


class Matcher:
    """The rules of a layout, ready to be asked."""

    def __init__(self, under: tuple[str, ...], rules: tuple[Rule, ...], kinds: Mapping[str, Kind]) -> None:
        self.rest = Placement(kinds[OTHER.name], "keep", "")
        clauses = [clause for rank, rule in enumerate(rules) for clause in _clauses(rank, rule, kinds)]
        extensions = {clause.extension for clause in clauses} - {None}
        self._any = _Table(clause for clause in clauses if clause.extension is None)
        self._by_extension = {(end or "").encode(): _Table(_for_extension(clauses, end)) for end in extensions}
        self._trees = _Table(clause for rank, rule in enumerate(rules) for clause in _tree_clauses(rank, rule, kinds))
        self._blockers = _blockers(under, rules)
        self._rooted = "" in under
        places = [place for place in under if place]
        self._goes_through = re.compile(patterns.through(places).encode(), re.DOTALL).match
        self._ends_place = _fullmatch(list(map(patterns.files, places)))

    def place(self, path: bytes) -> Placement:
        """See ``Layout.place``."""
        table = self._table(path)
        match = self._match(table, path)
        return self.rest if match is None else table.targets[match.lastindex].placement_of(match)

    def rule(self, path: bytes) -> Placement:
        """See ``Layout.rule``."""
        table = self._table(path)
        match = self._match(table, path)
        return self.rest if match is None else table.targets[match.lastindex].placement

    def _table(self, path: bytes) -> _Table:
        return self._by_extension.get(path[path.rfind(b".") :], self._any)

    def _match(self, table: _Table, path: bytes) -> re.Match[bytes] | None:
        return table.match(path, 0) if self._rooted and not self._goes_through(path) else self._first(table, path)

    def prunes(self, directory: bytes) -> Placement | None:
        """See ``Layout.prunes``."""
        match = self._first(self._trees, directory)
        if match is None:
            return None
        target = self._trees.targets[match.lastindex]
        return None if self._blockers[target.rank](directory, 0) else target.placement

    def _first(self, table: _Table, path: bytes) -> re.Match[bytes] | None:
        """The match of the earliest pattern, at any place that patterns are relative to; of equal ones the first place."""
        found = [match for start in self._starts(path) if (match := table.match(path, start))]
        return min(found, key=lambda match: match.lastindex or 0, default=None)

    def _starts(self, path: bytes) -> Iterator[int]:
        if self._rooted:
            yield 0
        slash = path.find(b"/") if self._goes_through(path) else -1
        while slash >= 0:
            if self._ends_place(path, 0, slash):
                yield slash + 1
            slash = path.find(b"/", slash + 1)


@dataclass(frozen=True)
class _Clause:
    """One pattern of one rule, as an expression."""

    expression: str
    rank: int
    placement: Placement
    captures: tuple[str, ...] = ()
    extension: str | None = None


def _clauses(rank: int, rule: Rule, kinds: Mapping[str, Kind]) -> Iterator[_Clause]:
    """For paths of files."""
    kept = _none_of(patterns.files(pattern) for pattern in rule.keep)
    for pattern in rule.match:
        placement = Placement(kinds[rule.kind or OTHER.name], rule.fate, pattern)
        captures, extension = patterns.captures_of(pattern), patterns.extension(pattern)
        yield _Clause(kept + patterns.files(pattern), rank, placement, captures, extension)


def _tree_clauses(rank: int, rule: Rule, kinds: Mapping[str, Kind]) -> Iterator[_Clause]:
    """For directories that are kept out with everything below them."""
    kept_below = _none_of(patterns.leads(pattern) for pattern in rule.keep)
    for pattern in rule.match if rule.fate != "keep" else ():
        if patterns.is_tree(pattern):
            yield _Clause(kept_below + patterns.trees(pattern), rank, Placement(kinds[OTHER.name], rule.fate, pattern))


def _for_extension(clauses: list[_Clause], extension: str | None) -> Iterator[_Clause]:
    return (clause for clause in clauses if clause.extension in (None, extension))


@dataclass(frozen=True)
class _Target:
    """What a clause stands for; ``captures`` are names with the numbers of their groups."""

    rank: int
    placement: Placement
    captures: tuple[tuple[str, int], ...]

    def placement_of(self, match: re.Match[bytes]) -> Placement:
        if not self.captures:
            return self.placement
        captures = {name: text_of(match[group]) for name, group in self.captures}
        return Placement(self.placement.kind, self.placement.fate, self.placement.rule, captures)


_Match = Callable[..., re.Match[bytes] | None]


class _Table:
    """Many clauses as one expression. Each ends in an empty group; the group that closed last tells which one matched."""

    def __init__(self, clauses: Iterable[_Clause]) -> None:
        self.targets: dict[int | None, _Target] = {}
        expressions, groups = [], 0
        for clause in clauses:
            captures = tuple((name, groups + number) for number, name in enumerate(clause.captures, 1))
            groups += len(captures) + 1
            self.targets[groups] = _Target(clause.rank, clause.placement, captures)
            expressions.append(f"{clause.expression}()")
        self.match = _fullmatch(expressions)


def _blockers(under: tuple[str, ...], rules: tuple[Rule, ...]) -> dict[int, _Match]:
    """For each rule that keeps out: the directories below which an earlier rule may take something after all.

    Transient paths count where the rule excludes, since ``--include-transient`` takes them along.
    """
    kept: list[str] = []
    kept_or_transient: list[str] = []
    blockers = {}
    for rank, rule in enumerate(rules):
        if rule.fate != "keep":
            blockers[rank] = _fullmatch(kept_or_transient if rule.fate == "exclude" else kept)
        claims = [patterns.leads(f"{place}/{pattern}".lstrip("/")) for place in under for pattern in rule.match]
        kept += claims if rule.fate == "keep" else []
        kept_or_transient += claims if rule.fate != "exclude" else []
    return blockers


def _fullmatch(expressions: list[str]) -> _Match:
    return re.compile(patterns.either(expressions).encode(), re.DOTALL).fullmatch


def _none_of(expressions: Iterable[str]) -> str:
    """Matches, without taking anything, in front of a path that none of *expressions* matches."""
    every = "|".join(rf"{expression}\Z" for expression in expressions)
    return f"(?!{every})" if every else ""
