"""The parts that every validation has, whether somebody asked for it or a copy ends with it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import product

from crossfade.migrate.decide import toward_files
from crossfade.migrate.validate.crew import Task
from crossfade.migrate.validate.differences import Difference
from crossfade.migrate.validate.queries import ask, refused
from crossfade.migrate.validate.sides import Sides
from crossfade.migrate.validate.strays import misnamed, strays
from crossfade.migrate.validate.validator import Findings
from crossfade.migrate.validate.verdict import Options
from crossfade.model.answers import KindAnswer
from crossfade.model.entries import Entry
from crossfade.model.kinds import Kind
from crossfade.store.backends.file.store import FileStore
from crossfade.store.backends.postgres.ledger import KindTotals
from crossfade.store.backends.postgres.server import Connection
from crossfade.store.layers.retrying import Retrying
from crossfade.store.port import Store

_MUCH_BYTES = 16 << 20
_MUCH_ENTRIES = 2000


@dataclass(frozen=True)
class Held:
    """What is ``held`` in quarantine, or ``ignored``: *places* of records, by row and offset, and the keys of *whole* entries."""

    places: dict[tuple[int, int], str] = field(default_factory=dict)
    whole: dict[bytes, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """A hash over all of it."""
        said = sorted(self.places.items()), sorted(self.whole.items())
        return hashlib.sha256(repr(said).encode()).hexdigest()


def held_items(sides: Sides) -> Held:
    """What is held back: records by any migration of the tree, whole entries by that of the pair."""
    rows = {row.migration for row in sides.asked.migrations() if row.store_id == sides.asks.store_id} | {sides.name}
    held = Held()
    for state, row in product(("ignored", "held"), rows):  # what one migration ignores may be held by another
        for item in sides.asked.quarantine(row, state):
            if item.entry is not None and item.pos is not None:
                held.places[item.entry, item.pos] = state
            elif item.pos is None and row == sides.name:
                held.whole[item.key] = state
    return held


def task_for(sides: Sides, options: Options, held: Held) -> Task:
    """What the workers need to know."""
    return Task(
        sides.reads, sides.asks, held.places, sides.reads_source, options.patience, skip_unreadable=options.skip_unreadable
    )


class Lists:
    """The two inventories of a pair, and what of them could not be seen."""

    def __init__(self, sides: Sides, options: Options) -> None:
        self._sides = sides
        self._opened: list[Store] = [recipe.open(0) for recipe in sides.recipes]
        self.source, self.target = (Retrying(store, options.patience, lambda _: None) for store in self._opened)

    def both(self, after: bytes | None = None) -> tuple[Iterator[Entry], Iterator[Entry]]:
        """What each has to show, from *after* on. Where strangers may stay, tombstones tell what is not theirs: we wrote it."""
        return self.source.entries(after=after, tombstones=self._sides.keeps_strangers), self.target.entries(after=after)

    def is_outside(self, one: Entry | None, other: Entry | None) -> bool:
        """True for kinds that are not moved, for what lies where nobody can look, and for a stranger that may stay."""
        entry = one or other
        assert entry is not None
        kinds = self._sides.kinds
        if kinds is not None and entry.kind and entry.kind not in kinds:
            return True
        if self._sides.keeps_strangers and is_stranger(one, other):
            return True
        return any(isinstance(store, FileStore) and store.hides(entry.path) for store in self._opened)

    def unseen(self) -> list[tuple[bytes, str]]:
        """What could not be listed, and why."""
        return [item for store in self._opened if isinstance(store, FileStore) for item in store.passed_over]

    def left_out(self) -> dict[str, int]:
        """What the source's list met and does not move, by its fates; a database holds nothing of the kind."""
        source = self._opened[0]
        return dict(sorted(source.left_out.items())) if isinstance(source, FileStore) else {}

    def close(self) -> None:
        """Let go of both sides."""
        self.source.close()
        self.target.close()


def is_stranger(source: Entry | None, target: Entry | None) -> bool:
    """True for what somebody else put into a directory, where the source has nothing, and had nothing that was written there."""
    task = toward_files(source, target) if source is None or source.type == "gone" else None
    return task is not None and task.verb == "stranger"


def kinds_of(sides: Sides) -> list[Kind]:
    """The kinds that are moved."""
    return [kind for kind in sides.layout.kinds if sides.kinds is None or kind.name in sides.kinds]


def totals_of(sides: Sides) -> list[KindTotals]:
    """What there is to compare, as the database counts it."""
    return [total for total in sides.asked.totals(sides.asks.store_id) if sides.kinds is None or total.kind in sides.kinds]


def is_much(totals: Iterable[KindTotals]) -> bool:
    """True where there is more to read than one process would have read while others are still being started."""
    found = list(totals)
    return sum(total.bytes for total in found) > _MUCH_BYTES or sum(total.entries for total in found) > _MUCH_ENTRIES


@dataclass(frozen=True)
class _Asked:
    """One kind's questions: how many, those answered differently, and whether a server refused columns of it."""

    questions: int
    wrong: list[str]
    was_refused: bool


def compare_answers(
    sides: Sides, findings: Findings, limit: int, changed: Callable[[], Iterable[str]]
) -> tuple[int, dict[str, str]]:
    """Ask the database what the other side answered: how many questions, and the kinds whose answers tell nothing, with the reason.

    *changed* says afterwards of which kinds something came over since the other side was read.
    """
    find_strays(sides, findings, limit)
    answers = sides.asked.ask(lambda connection: _ask(connection, sides, findings))
    excuses = _excuses(sides, findings, changed())
    asked, unasked = 0, dict[str, str]()
    for name, found in answers.items():
        excuse = excuses.get(name) or (_REFUSED if found.was_refused else "")
        if found.wrong and excuse:
            unasked[name] = excuse
            continue
        asked += found.questions
        if found.wrong:
            more = f" and {len(found.wrong) - 5} more" if len(found.wrong) > 5 else ""
            findings.note(Difference(b"", name, "query", ", ".join(found.wrong[:5]) + more), limit)
    return asked, unasked


_REFUSED = "the server refused columns of some records"


def _excuses(sides: Sides, findings: Findings, changed: Iterable[str]) -> dict[str, str]:
    """The kinds that may answer differently though nothing is wrong, and why."""
    unread = [kind.name for kind in kinds_of(sides)] if findings.unseen else list(findings.unread)
    return {
        **dict.fromkeys(findings.quarantined, "some of it is in quarantine"),
        **dict.fromkeys(unread, "not all of it was read"),
        **dict.fromkeys(changed, "something came over meanwhile"),
    }


def find_strays(sides: Sides, findings: Findings, limit: int) -> None:
    """What belongs to no file, and what goes by a wrong name."""
    schema, store_id, kinds = sides.asked.schema, sides.asks.store_id, [kind.name for kind in kinds_of(sides)]
    for table, count in sides.asked.ask(lambda c: strays(c, schema, store_id, kinds)).items():
        findings.note(Difference(b"", table, "extra", f"{count} records that belong to no entry"), limit)
    for path, kind in sides.asked.ask(lambda c: misnamed(c, schema, store_id)):
        if not kind or kind in kinds:
            findings.note(Difference(path, kind, "metadata", "in words, its path is another"), limit)


def _ask(connection: Connection, sides: Sides, findings: Findings) -> dict[str, _Asked]:
    return {kind.name: _compare(connection, sides, kind, findings.answers.get(kind.name)) for kind in kinds_of(sides)}


def _compare(connection: Connection, sides: Sides, kind: Kind, here: KindAnswer | None) -> _Asked:
    here = here or KindAnswer()
    there = ask(connection, sides.asked.schema, sides.asks.store_id, kind, here)
    wrong = here.differs(there)
    return _Asked(there.questions, wrong, bool(wrong) and refused(connection, sides.asked.schema, sides.asks.store_id, kind))


def check_roots(findings: Findings, limit: int) -> None:
    """Two roots that differ are a difference, even where no path was found that does."""
    if findings.source_root != findings.target_root and not any(findings.classes.values()):
        findings.note(Difference(b"", "", "content", "the roots differ"), limit)
