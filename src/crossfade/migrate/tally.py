"""What happened so far in a run, as its engine counts it, and how it ended."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from crossfade.migrate.validate.verdict import Verdict
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


@dataclass(frozen=True)
class Result:
    """How a run ended. ``already`` is set where there was nothing to do: the time of the proof that still holds.

    ``verdict`` is what its validation came to.
    """

    report: dict[str, Any]
    already: datetime | None = None
    unreadable: tuple[tuple[bytes, str], ...] = ()
    head: bytes = b""
    verdict: Verdict | None = None
