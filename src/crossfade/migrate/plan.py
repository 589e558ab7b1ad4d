"""A plan says what is moved where, and how its parts are named. Its identity is its hash.

Workers, rates, page sizes and the host are no part of it: they change while a migration runs. Kinds are a set that may grow.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Plan:
    """Source and target as URLs without secrets, the tree's name, the layout by name and fingerprint, the transient rule."""

    source: str
    target: str
    store: str
    layout: str
    fingerprint: str
    include_transient: bool = False

    @property
    def migration(self) -> str:
        """The migration's id: twelve hex digits of the plan's hash."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:12]

    def values(self) -> dict[str, Any]:
        """As it is written down."""
        return asdict(self)


SPOKEN = {
    "source": "the source",
    "target": "the target",
    "store": "the store's name",
    "layout": "the layout's name",
    "fingerprint": "the layout's rules",
    "include_transient": "the transient rule (--include-transient)",
}


def differences(plan: Plan, other: dict[str, Any]) -> list[str]:
    """What tells *plan* from one that was written down, for people."""
    mine = asdict(plan)
    return [spoken for name, spoken in SPOKEN.items() if mine[name] != other.get(name)]


@dataclass(frozen=True)
class Limits:
    """How much a page may hold, and how long it may wait to be full. A page is marked when it is applied."""

    page_bytes: int = 8 << 20
    page_records: int = 50_000
    mark_seconds: float = 5.0


@dataclass(frozen=True)
class Budget:
    """How many items may go to quarantine: so many, or this share of all records, whichever is more."""

    items: int = 100
    share: float = 0.001
    fail_fast: bool = False

    def allows(self, quarantined: int, records: int) -> bool:
        """True while the run may go on."""
        if self.fail_fast:
            return quarantined == 0
        return quarantined <= max(self.items, int(records * self.share))


@dataclass(frozen=True)
class Manner:
    """How a plan is carried out; may differ from run to run."""

    workers: int = 2
    limits: Limits = field(default_factory=Limits)
    records_per_second: float = 0.0
    bytes_per_second: float = 0.0
    budget: Budget = field(default_factory=Budget)
    merge: bool = False
    delete_extra: bool = False
    skip_unreadable: bool = False
    allow_empty: bool = False
    patience_seconds: float = 300.0

    @property
    def rate_text(self) -> str:
        """The limit of the rate, for people."""
        limits = {"records": self.records_per_second, "bytes": self.bytes_per_second}
        return "--rate-limit, " + " and ".join(f"{limit:,.0f} {unit}/s" for unit, limit in limits.items() if limit)
