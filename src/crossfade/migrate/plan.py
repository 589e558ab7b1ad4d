"""A plan says what is moved where, and how its parts are named. Its identity is its hash.

Workers, rates, page sizes and the host are no part of it: they change while a migration runs. Kinds are a set that may grow.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from crossfade.store.location import Location, check_name


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


def name_for(source: Location) -> str:
    """A store name out of a directory's: ``~/.prodigy`` is ``prodigy``."""
    last = os.path.basename(source.path).decode("ascii", "replace").lower()
    return re.sub(r"[^a-z0-9]+", "_", last).strip("_")[:40].lstrip("0123456789_") or "tree"


def tree_name(source: Location, target: Location, said: str) -> str:
    """What the tree is called that files at *source* are brought to, where *said* is asked for; empty asks for no name."""
    return check_name("store name", said or target.store or name_for(source))


def name_option(source: Location, target: Location, store: str) -> list[str]:
    """What names the tree *store* of a plan, where its two URLs do not. Between databases, one that the target's has is not the source's."""
    if source.is_database and target.store:
        return []
    said = source.store or target.store or ("" if source.is_database else name_for(source))
    return [] if said == store else ["--store-name", store]


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

    def under(self, records_per_second: float, bytes_per_second: float) -> Limits:
        """The same under a rate, 0.0 for none: pages are small enough to keep to it within a second."""
        size = min(self.page_bytes, max(int(bytes_per_second / 8), 1)) if bytes_per_second else self.page_bytes
        records = min(self.page_records, max(int(records_per_second / 8), 1)) if records_per_second else self.page_records
        return replace(self, page_bytes=size, page_records=records)


def rate_text(records: float, size: float) -> str:
    """A limit of the rate, in records and bytes a second, for people."""
    limits = {"records": records, "bytes": size}
    return "--rate-limit, " + " and ".join(f"{limit:,.0f} {unit}/s" for unit, limit in limits.items() if limit)


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


def keeps_strangers(*, merge: bool, target: Location, planned: str) -> bool:
    """True where ``--merge`` counts: *target*, which is written, is a directory, and the one that was *planned* as that.

    In a tree that was handed over, of files or in a database, what somebody else writes is drift, whatever was said of strangers.
    """
    return merge and not target.is_database and target.url == planned


CPU_PERCENT = 25.0
"""Of the machine, while following: on two processors half of one, which leaves a whole one to the program and half to the server."""


@dataclass(frozen=True)
class Manner:
    """How a plan is carried out; may differ from run to run. ``cpu_max`` is in percent of the machine; None takes all.

    ``certificate`` is the file that it ends with; none where it is empty. ``allow_empty`` says of a source that has nothing that it is
    meant, ``allow_removals`` of one that has lost whatever it has lost.
    """

    workers: int = 2
    limits: Limits = field(default_factory=Limits)
    records_per_second: float = 0.0
    bytes_per_second: float = 0.0
    cpu_max: float | None = None
    budget: Budget = field(default_factory=Budget)
    merge: bool = False
    delete_extra: bool = False
    skip_unreadable: bool = False
    allow_empty: bool = False
    allow_removals: bool = False
    patience_seconds: float = 300.0
    certificate: str = ""

    @property
    def may_find_nothing(self) -> bool:
        """True where an empty source is meant."""
        return self.allow_empty or self.allow_removals
