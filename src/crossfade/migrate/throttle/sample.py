"""What was seen of the machine and of the server at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from crossfade.migrate.throttle.judge import Signal


@dataclass(frozen=True)
class Health:
    """What the server says. None is what it does not say, or not to this role; ``unseen`` says so in words.

    ``blocked`` counts the sessions of others that wait for a lock of ours. ``cpu_seconds`` is what its processes that work for
    us have used, where they are on this machine.
    """

    blocked: int | None = None
    replica_lag_seconds: float | None = None
    archive_lag_bytes: float | None = None
    cpu_seconds: float | None = None
    waited_seconds: float = 0.0
    unseen: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sample:
    """One look. ``at`` is in seconds of a clock that never goes back; seconds of processors only grow.

    ``cpus`` is what the machine, or the container, gives. ``waited`` is the share of time in which somebody else waited for a
    processor, ``stalled`` the share in which anybody waited for a disk, ``load`` the others' load for each processor, where
    the kernel does not tell the first.
    """

    at: float
    cpus: float
    cpu_seconds: float
    waited: float | None = None
    stalled: float | None = None
    load: float | None = None
    health: Health = field(default_factory=Health)
    unseen: tuple[str, ...] = ()

    @property
    def used_seconds(self) -> float:
        """Processor time that was used for us, by us and by the server, as far as it is seen."""
        return self.cpu_seconds + (self.health.cpu_seconds or 0.0)


FLOOR = 0.2
"""What is left of the share where the machine is busy: the work goes on, slowly."""

LAST = 0.02
"""And where the target suffers: next to nothing, for as long as it does."""

MIB = float(1 << 20)

MARKS: Mapping[str, tuple[float, float, float, str]] = {
    "waited": (0.05, 0.12, FLOOR, "others wait for the processor"),
    "stalled": (0.40, 0.60, FLOOR, "the disk is busy"),
    "load": (0.9, 1.2, FLOOR, "others wait for the processor"),
    "blocked": (0.0, 1.0, LAST, "sessions of others wait for locks of ours"),
    "replica_lag_seconds": (5.0, 10.0, LAST, "a replica of the server lags behind"),
    "archive_lag_bytes": (512 * MIB, 1024 * MIB, LAST, "the server's archive lags behind"),
}
"""Of each signal: its low and its high mark, the share that is left, and what is said of it."""


def signals_of(sample: Sample) -> list[Signal]:
    """The signals in *sample*."""
    values = {**vars(sample), **vars(sample.health)}
    return [Signal(values[name], low, high, floor, reason) for name, (low, high, floor, reason) in MARKS.items()]
