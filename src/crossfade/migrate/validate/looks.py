"""Another look: on a pair that is alive, what differs may be on its way, until it is older than the lag."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from crossfade.migrate.validate.crew import Crew
from crossfade.migrate.validate.differences import Difference
from crossfade.migrate.validate.sides import Sides
from crossfade.migrate.validate.validator import LASTING, Findings, Scope, Validator
from crossfade.model.entries import Entry
from crossfade.store.layers.retrying import Patience, Retrying
from crossfade.store.port import Recipe, Store

_WAITS = (0.2, 0.8, 2.0, 3.0, 4.0)
_LAG_SECONDS_MIN = 3.0
_LAG_SECONDS_MAX = 60.0

_PER_PATH = 4
"""No path has more differences than that: one of metadata, one of content or columns, one for what vanished under the look."""


@dataclass
class Suspect:
    """A path that differs, as its source stood at the first look and at the last one, for how long it stands so, and how often it changed."""

    first: Entry | None = None
    last: Entry | None = None
    looks: int = 0
    changes: int = 0
    stood_seconds: float = 0.0

    def look(self, source: Entry | None, waited: float) -> None:
        """Another look, so many seconds after the last one."""
        self.first = self.first or source
        same = self.looks > 0 and _state(source) == _state(self.last)
        self.changes += self.looks > 0 and not same
        self.stood_seconds = self.stood_seconds + waited if same else 0.0
        self.last = source
        self.looks += 1

    def keeps_up(self, target: Entry | None, *, followed: bool) -> bool:
        """True where the target shows a state that the source had at the first look, or later.

        Where one side has nothing, there is no time to tell by: then whoever follows has to be awake, and the source restless.
        """
        if target is None or self.last is None or self.first is None:
            return followed and self.changes > 0
        return target.mtime_ns >= self.first.mtime_ns


@dataclass
class Seen:
    """What the looks showed: paths that turned out to be equal, and those that *move* faster than anybody could look."""

    equal: list[bytes] = field(default_factory=list)
    moving: list[bytes] = field(default_factory=list)


def look_again(
    sides: Sides, crew: Crew, findings: Findings, limit: int, *, patience: Patience, stop: threading.Event
) -> Seen:
    """Look again at what differs, while somebody brings changes over. What is equal by now, or on its way, is taken out of *findings*.

    Once *stop* is set no look tells anything any more: then all of them are as they were.
    """
    seen, suspects = Seen(), {d.path: Suspect() for d in findings.differences if d.klass not in LASTING}
    standing = first = findings.take(suspects)
    lag = min(max(sides.lag_seconds() or 0.0, _LAG_SECONDS_MIN), _LAG_SECONDS_MAX)
    for number, wait in enumerate(waits := (*_WAITS, lag), 1):
        if not suspects or stop.is_set() or not sides.is_alive():
            break
        stop.wait(wait)
        again, shown = _look(sides, crew, suspects, wait, patience, stop)
        standing = [difference for difference in standing if difference.path not in suspects] + again.differences
        findings.read_not(again.unreadable, limit, lambda path: sides.layout.place(path).kind.name, again=suspects)
        still = {difference.path: difference for difference in again.differences if difference.klass not in LASTING}
        for path, suspect in list(suspects.items()):
            if path not in still:
                seen.equal.append(path)
                del suspects[path]
            elif suspect.stood_seconds >= lag:  # older than the lag: it is a difference
                del suspects[path]
            elif number == len(waits) and _is_moving(suspect, shown.get(path), still[path], followed=sides.is_followed(lag)):
                seen.moving.append(path)
    if stop.is_set():
        standing, seen = first, Seen()
    for difference in standing:
        if difference.path not in seen.moving:
            findings.note(difference, limit)
    return seen


def _look(
    sides: Sides, crew: Crew, suspects: dict[bytes, Suspect], waited: float, patience: Patience, stop: threading.Event
) -> tuple[Findings, dict[bytes, Entry]]:
    """What differs now among *suspects*, all of it; and what the target shows."""
    source, target = (_opened(recipe, patience) for recipe in sides.recipes)
    try:
        ones, others = list(source.look(list(suspects))), list(target.look(list(suspects)))
    finally:
        source.close()
        target.close()
    by_path = {entry.path: entry for entry in ones}
    for path, suspect in suspects.items():
        suspect.look(by_path.get(path), waited)
    enough = {path: suspect.first.size for path, suspect in suspects.items() if suspect.first is not None}
    every = _PER_PATH * len(suspects)
    scope = Scope(sides.reads_source, every, at_least=enough if sides.reads_source else {})
    again = Validator(crew, scope, is_over=stop.is_set).run(iter(ones), iter(others), Findings())
    return again, {entry.path: entry for entry in others if entry.type != "gone"}


def _opened(recipe: Recipe, patience: Patience) -> Store:
    return Retrying(recipe.open(0), patience, lambda _: None)


def _is_moving(suspect: Suspect, target: Entry | None, difference: Difference, *, followed: bool) -> bool:
    """True for what is on its way. The beginning of a log stays as it is: there, nothing may differ."""
    is_log = suspect.last is not None and suspect.last.form == "log" and target is not None
    may_move = difference.klass != "column" and not (is_log and difference.klass == "content")
    return may_move and suspect.keeps_up(target, followed=followed)


def _state(entry: Entry | None) -> object:
    return entry and (entry.size, entry.mtime_ns, entry.mode, entry.digest, entry.signature)
