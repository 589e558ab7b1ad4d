"""What a validation comes to."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from crossfade.migrate.validate.differences import Difference
from crossfade.migrate.validate.validator import Extent, Findings
from crossfade.migrate.values import SCHEMA_VERSION
from crossfade.model.paths import text_of
from crossfade.store.layers.retrying import Patience

_STATES = {0: "equal", 3: "different", 4: "quarantined"}


@dataclass(frozen=True)
class Options:
    """How a validation is carried out."""

    extent: Extent = field(default_factory=Extent)
    jobs: int = 2
    limit: int = 100
    patience: Patience = field(default_factory=Patience)
    skip_unreadable: bool = False

    @property
    def again(self) -> str:
        """What to type besides, for the same validation to go on: the seed that was drawn for its sample."""
        return "" if self.extent.is_whole else f"--seed {self.extent.seed}"


@dataclass(frozen=True)
class Verdict:
    """What was found, and how long it took.

    ``questions`` is how many queries were answered by both sides; ``unasked`` are kinds whose answers tell nothing, each with
    the reason. ``moving`` names paths that are on their way; ``shaken`` says that something was looked at again, so that the
    roots are not of one instant. ``read`` are the kinds whose records had to be read for it. ``basis`` is when the first of it was
    looked at, by whomever, where that is written down.
    """

    findings: Findings
    options: Options
    seconds: float
    migration: str = ""
    resumed: bool = False
    questions: int = 0
    unasked: dict[str, str] = field(default_factory=dict)
    moving: tuple[bytes, ...] = ()
    shaken: bool = False
    read: tuple[str, ...] = ()
    basis: datetime | None = None

    @property
    def count(self) -> int:
        """How many differences there are, named or not."""
        return sum(self.findings.classes.values())

    @property
    def exit(self) -> int:
        """0 equal, 3 different, 4 where only items in quarantine differ, or something could not be read."""
        classes = {klass for klass, count in self.findings.classes.items() if count}
        if classes - {"quarantined"}:
            return 3
        return 4 if classes or self.findings.unreadable else 0

    @property
    def proves(self) -> bool:
        """True where all was compared, and nothing differs but what is in quarantine or on its way."""
        return self.exit in (0, 4) and self.options.extent.is_whole and not self.findings.unreadable

    def holds_from(self, began: datetime) -> datetime:
        """As of when it holds: since this validation *began*, or since the one began with which it went on."""
        return began if self.basis is None else min(began, self.basis)

    @property
    def state(self) -> str:
        """In one word."""
        return "unreadable" if self.exit == 4 and not self.count else _STATES[self.exit]

    @property
    def reason(self) -> str:
        """Why it is not equal, in words."""
        parts = [f"{count} {klass}" for klass, count in sorted(self.findings.classes.items()) if count]
        parts += [f"{self.findings.unread_count} unreadable"] if self.findings.unreadable else []
        return "; ".join(parts)

    @property
    def named(self) -> list[Difference]:
        """The differences that are to be named."""
        return self.findings.differences[: self.options.limit]

    @property
    def kinds(self) -> list[dict[str, Any]]:
        """Counts of what was looked at, kind by kind; records and bytes of what was compared."""
        found = self.findings
        return [
            {"kind": kind, "entries": entries, "records": found.records.get(kind, 0), "bytes": found.sizes.get(kind, 0)}
            for kind, entries in sorted(found.kinds.items())
            if kind != "-"
        ]

    def values(self) -> dict[str, Any]:
        """As ``validate --json`` shows it."""
        findings = self.findings
        return {
            "schema_version": SCHEMA_VERSION,
            "migration": self.migration or None,
            "state": self.state,
            "reason": self.reason,
            "entries": findings.entries,
            "compared": findings.compared,
            "bytes": findings.size,
            "kinds": self.kinds,
            "records": dict(sorted(findings.records.items())),
            "questions": self.questions,
            "unasked": list(self.unasked),
            "classes": {klass: count for klass, count in findings.classes.items() if count},
            "ignored": findings.ignored,
            "differences": [spoken(difference) for difference in self.named],
            "moving": [text_of(path) for path in self.moving],
            "unreadable": [{"path": text_of(path), "why": why} for path, why in findings.unreadable],
            "unreadable_count": findings.unread_count,
            "left_out": findings.left_out,
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
