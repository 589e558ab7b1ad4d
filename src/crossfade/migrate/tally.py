"""What happened so far in a run, as its engine counts it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from crossfade.model.answers import Passed


@dataclass
class Tally:
    """The counts of one run. ``untold`` are pages that were carried and not reported yet."""

    moved: list[bytes] = field(default_factory=list)
    moved_count: int = 0
    unreadable: list[tuple[bytes, str]] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=dict)
    passed: dict[str, Passed | None] = field(default_factory=dict)
    untold: int = 0
    records: int = 0
    refused: int = 0
    retries: int = 0
