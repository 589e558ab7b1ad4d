"""How far a run is: one immutable value, sampled at one instant, rendered many ways."""

from __future__ import annotations

from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class KindProgress:
    """One kind's part: done in this run, and the total that is known so far."""

    entries: int = 0
    records: int = 0
    bytes: int = 0
    raw: int = 0
    quarantined: int = 0
    entries_total: int = 0
    bytes_total: int = 0


@dataclass(frozen=True)
class Position:
    """Changes that were applied since following began, and how many of these, and bytes, are not verified yet.

    What was applied before ``verified_at``, by the server's clock, is verified.
    """

    applied: int = 0
    unverified: int = 0
    unverified_bytes: int = 0
    verified_at: str = ""


@dataclass(frozen=True)
class Progress:
    """The whole run. ``rate_bytes`` is measured over the last seconds, None before there is a measurement.

    ``lag_seconds`` is how long the target is behind, and by how many paths and bytes, once following; the bytes are of all but
    the ``unread``, which wait in a feed. ``in_step``: the whole was looked at since then. ``still_seconds``: since when nothing was heard of the source.
    ``unreadable`` are the first paths that cannot be read, with why; ``unheard`` is why not every change is heard of.
    ``position`` is what was applied and verified by then.
    ``counted`` says that the inventory is complete, so that totals are final and an ETA is honest.
    """

    step: str = "planning"
    reason: str = ""
    kinds: dict[str, KindProgress] = field(default_factory=dict)
    seconds: float = 0.0
    rate_bytes: float | None = None
    counted: bool = False
    throttled: str = ""
    throttled_seconds: float = 0.0
    paused: str = ""
    lag_seconds: float | None = None
    behind: int = 0
    unread: int = 0
    behind_bytes: int = 0
    in_step: bool = False
    still_seconds: float = 0.0
    unreadable: tuple[str, ...] = ()
    unheard: str = ""
    position: Position | None = None

    @property
    def bytes(self) -> int:
        """Bytes of content that are in the target, by this run."""
        return sum(kind.bytes for kind in self.kinds.values())

    @property
    def bytes_total(self) -> int:
        """Bytes that this run has to bring, as far as counted."""
        return sum(kind.bytes_total for kind in self.kinds.values())

    @property
    def eta_seconds(self) -> float | None:
        """Seconds left; None before it is measured."""
        if not self.counted or not self.rate_bytes:
            return None
        return max(self.bytes_total - self.bytes, 0) / self.rate_bytes

    def with_kind(self, name: str, **changes: int) -> Progress:
        """The same with *changes* added to one kind's counts."""
        kind = self.kinds.get(name, KindProgress())
        added = {field_name: getattr(kind, field_name) + value for field_name, value in changes.items()}
        return replace(self, kinds={**self.kinds, name: replace(kind, **added)})

    def values(self) -> dict[str, object]:
        """As ``status --json`` shows it."""
        return {
            "step": self.step,
            "reason": self.reason,
            "paused": self.paused,
            "bytes": self.bytes,
            "bytes_total": self.bytes_total if self.counted else None,
            "rate_bytes_per_second": self.rate_bytes,
            "eta_seconds": self.eta_seconds,
            "lag": self._lag(),
            "position": None if self.position is None else vars(self.position),
            "throttle": {"active": bool(self.throttled), "reason": self.throttled, "seconds_total": self.throttled_seconds},
            "kinds": [{"kind": name, **vars(kind)} for name, kind in sorted(self.kinds.items())],
        }

    def _lag(self) -> dict[str, object] | None:
        if self.lag_seconds is None:
            return None
        return {
            "seconds": self.lag_seconds,
            "entries": self.behind,
            "unread": self.unread,
            "bytes": self.behind_bytes,
            "in_step": self.in_step,
            "still_seconds": self.still_seconds,
            "unreadable": list(self.unreadable),
            "unheard": self.unheard,
        }
