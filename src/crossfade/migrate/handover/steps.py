"""The steps of a hand-over, around one durable decision. Printing, rehearsing, doing and undoing read the same list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Part = Literal["before", "held", "decision", "after"]


@dataclass(frozen=True)
class Step:
    """One step: *part* says where it stands. ``before`` and ``held`` are undone when something fails, in reverse; while
    ``held`` writers wait. ``after`` is completed by whoever comes next.
    """

    name: str
    part: Part
    sentence: str


def steps(*, from_files: bool) -> tuple[Step, ...]:
    """All steps between files and a database, in order. The side that hands over is the files, or the database."""
    one, other = ("files", "database") if from_files else ("database", "files")
    return (
        *_before(one, other),
        Step(
            "fence", "before", "the marker beside the files says that the authority changes hands: writers ask the database"
        ),
        *_held(one),
        *_decided(other),
        Step("mark", "after", f"the marker names the {other}"),
    )


def steps_of_databases(*, from_source: bool) -> tuple[Step, ...]:
    """All steps between two databases, the plan's source and its target, in order."""
    one, other = ("source", "target") if from_source else ("target", "source")
    retire = Step("retire", "held", "the source takes no writes any more; until the decision nobody does")
    return (
        *_before(one, other),
        *_held(one),
        *((retire,) if from_source else ()),
        *_decided(other),
        Step("mark", "after", f"what the {one} has noted, and is brought over, is let go of"),
    )


def _before(one: str, other: str) -> tuple[Step, ...]:
    return (
        Step("check", "before", "every gate is met"),
        Step("prepare", "before", f"what will be written to the {other} is noted for the {one} from here on"),
    )


def _held(one: str) -> tuple[Step, ...]:
    return (
        Step("close", "held", "writers wait, on both sides"),
        Step("drain", "held", f"what the {one} got until now is brought over"),
        Step("prove", "held", "all of that is verified where it stands"),
    )


def _decided(other: str) -> tuple[Step, ...]:
    return (
        Step("decide", "decision", f"the {other} has the authority from here on"),
        Step("open", "after", "writers go on"),
    )
