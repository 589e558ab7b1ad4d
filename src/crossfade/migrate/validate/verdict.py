"""One validation, from two locations to a verdict."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from crossfade.errors import Interrupted
from crossfade.migrate.validate.crew import Submit, Task, crew
from crossfade.migrate.validate.differences import Difference
from crossfade.migrate.validate.memory import Memory
from crossfade.migrate.validate.queries import KindAnswer, ask, ask_values
from crossfade.migrate.validate.repair import orphans
from crossfade.migrate.validate.sides import Sides
from crossfade.migrate.validate.validator import Extent, Findings, Validator
from crossfade.model.entries import Entry
from crossfade.model.kinds import Kind
from crossfade.model.paths import text_of
from crossfade.store.layers.retrying import Patience, Retrying
from crossfade.store.port import Store

SCHEMA_VERSION = 1
_LOOKS = (0.2, 0.8, 2.0)


@dataclass(frozen=True)
class Options:
    """How a validation is carried out."""

    extent: Extent
    jobs: int = 2
    limit: int = 100


@dataclass(frozen=True)
class Verdict:
    """What was found, and how long it took."""

    findings: Findings
    options: Options
    seconds: float
    resumed: bool
    migration: str = ""

    @property
    def count(self) -> int:
        """How many differences there are, named or not."""
        return sum(self.findings.classes.values())

    @property
    def exit(self) -> int:
        """0 equal, 3 different, 4 where only items in quarantine differ."""
        classes = {klass for klass, count in self.findings.classes.items() if count}
        return 0 if not classes else 4 if classes == {"quarantined"} else 3

    def values(self) -> dict[str, Any]:
        """As ``validate --json`` shows it."""
        findings = self.findings
        return {
            "schema_version": SCHEMA_VERSION,
            "migration": self.migration or None,
            "state": {0: "equal", 3: "different", 4: "quarantined"}[self.exit],
            "reason": "; ".join(f"{count} {klass}" for klass, count in sorted(findings.classes.items()) if count),
            "entries": findings.entries,
            "compared": findings.compared,
            "bytes": findings.size,
            "kinds": [{"kind": kind, "entries": count} for kind, count in sorted(findings.kinds.items()) if kind != "-"],
            "records": {kind: answer.records for kind, answer in sorted(findings.answers.items())},
            "classes": findings.classes,
            "differences": [spoken(difference) for difference in findings.differences],
            "sample": {"percentage": self.options.extent.percentage, "seed": self.options.extent.seed},
            "source_root": findings.source_root.hex(),
            "target_root": findings.target_root.hex(),
            "resumed": self.resumed,
            "duration_seconds": round(self.seconds, 3),
        }


def spoken(difference: Difference) -> dict[str, Any]:
    """A difference for people and programs."""
    value = asdict(difference)
    return {"path": text_of(difference.path), "class": value.pop("klass"), **{k: v for k, v in value.items() if k != "path"}}


def validate(sides: Sides, options: Options, *, watch: Callable[[Findings], None], stop: threading.Event) -> Verdict:
    """Compare *sides* in every respect. Raises Interrupted, with what was found so far kept for the next time."""
    began = time.monotonic()
    memory = Memory(sides, options.extent, options.limit)
    findings = memory.recall()
    resumed = findings.after is not None
    whole = options.extent.percentage >= 100
    chosen = _chosen(sides) if whole else {}
    task = Task(sides.reads, sides.asks, chosen, _held(sides), sides.reads_source)

    def told(found: Findings) -> None:
        watch(found)
        memory.keep(found, at_once=stop.is_set())
        if stop.is_set():
            raise Interrupted("stopped; what was compared is remembered", hint="give the same command again to continue")

    with crew(task, options.jobs) as submit:
        _go_through(sides, options, submit, findings, told)
        _look_again(sides, submit, findings, options)
    if whole:
        _compare_answers(sides, chosen, findings, options.limit)
    memory.forget()
    name = sides.migration.migration if sides.migration else ""
    return Verdict(findings, options, time.monotonic() - began, resumed, name)


def _go_through(
    sides: Sides, options: Options, submit: Submit, findings: Findings, told: Callable[[Findings], None]
) -> None:
    held = _held_paths(sides)
    validator = Validator(
        submit,
        reads_source=sides.reads_source,
        extent=options.extent,
        limit=options.limit,
        is_held=held.__contains__,
        is_outside=lambda entry: _is_outside(entry, sides.kinds),
    )
    source, target = _stores(sides)
    try:
        one, other = source.entries(after=findings.after), target.entries(after=findings.after)
        validator.run(one, other, findings, told=told, ahead=options.jobs + 1)
    finally:
        source.close()
        target.close()


def _stores(sides: Sides) -> tuple[Store, Store]:
    """Source and target, for their inventories."""
    opened: list[Store] = [Retrying(recipe.open(0), Patience(60.0), lambda _: None) for recipe in (sides.reads, sides.asks)]
    return (opened[0], opened[1]) if sides.reads_source else (opened[1], opened[0])


def _is_outside(entry: Entry, kinds: frozenset[str] | None) -> bool:
    return kinds is not None and bool(entry.kind) and entry.kind not in kinds


def _look_again(sides: Sides, submit: Submit, findings: Findings, options: Options) -> None:
    """On a pair that is alive, what differs may be on its way: look again before it is called a difference."""
    for seconds in _LOOKS:
        suspects = [d for d in findings.differences if d.klass not in ("quarantined", "query")]
        if not suspects or not _is_alive(sides):
            return
        time.sleep(seconds)
        again = Findings()
        paths = {d.path for d in suspects}
        validator = Validator(
            submit,
            reads_source=sides.reads_source,
            extent=Extent(),
            limit=options.limit,
            is_held=_held_paths(sides).__contains__,
            is_outside=lambda entry, paths=paths: entry.path not in paths,  # type: ignore[misc]
        )
        source, target = _stores(sides)
        validator.run(source.entries(), target.entries(), again, told=lambda _: None, ahead=2)
        still = {d.path for d in again.differences}
        for gone in [d for d in suspects if d.path not in still]:
            findings.differences.remove(gone)
            findings.classes[gone.klass] -= 1


def _is_alive(sides: Sides) -> bool:
    """True while somebody brings changes over."""
    return sides.migration is not None and sides.ledger.runner(sides.migration.migration) is not None


def _held(sides: Sides) -> frozenset[tuple[int, int]]:
    if sides.migration is None:
        return frozenset()
    items = [i for state in ("held", "ignored") for i in sides.ledger.quarantine(sides.migration.migration, state)]
    return frozenset((item.entry, item.pos) for item in items if item.entry is not None and item.pos is not None)


def _held_paths(sides: Sides) -> set[bytes]:
    if sides.migration is None:
        return set()
    items = [i for state in ("held", "ignored") for i in sides.ledger.quarantine(sides.migration.migration, state)]
    return {item.key for item in items if item.pos is None}


def _kinds(sides: Sides) -> list[Kind]:
    return [kind for kind in sides.layout.kinds if sides.kinds is None or kind.name in sides.kinds]


def _chosen(sides: Sides) -> dict[str, dict[str, bytes]]:
    with sides.ledger.snapshot() as connection:
        return {kind.name: ask_values(connection, sides.ledger.schema, sides.store_id, kind) for kind in _kinds(sides)}


def _compare_answers(sides: Sides, chosen: dict[str, dict[str, bytes]], findings: Findings, limit: int) -> None:
    """Ask the database what the other side answered while it was read. What is in quarantine explains itself."""
    explained = {d.kind for d in findings.differences if d.klass == "quarantined"} | _kinds_with_refused(sides)
    with sides.ledger.snapshot() as connection:
        for name, count in orphans(connection, sides.ledger.schema, sides.store_id, [k.name for k in _kinds(sides)]).items():
            findings.note(Difference(b"", name, "extra", f"{count} records that belong to no entry"), limit)
        for kind in _kinds(sides):
            there = ask(connection, sides.ledger.schema, sides.store_id, kind, chosen[kind.name])
            wrong = findings.answers.get(kind.name, KindAnswer(found=dict.fromkeys(chosen[kind.name], 0))).differs(there)
            if wrong and kind.name not in explained:
                detail = ", ".join(wrong[:5]) + (f" and {len(wrong) - 5} more" if len(wrong) > 5 else "")
                findings.note(Difference(b"", kind.name, "query", detail), limit)


def _kinds_with_refused(sides: Sides) -> set[str]:
    """Kinds with records that the server took only as raw bytes: their columns are empty on purpose."""
    found = set()
    with sides.ledger.snapshot() as connection:
        for kind in _kinds(sides):
            query = f'SELECT 1 FROM "{sides.ledger.schema}"."{kind.name}" WHERE store_id = %s AND reason LIKE %s LIMIT 1'
            if connection.execute(query.encode(), [sides.store_id, "server %"]).fetchone():
                found.add(kind.name)
    return found
