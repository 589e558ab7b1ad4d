"""Which verb fits which phase: one table, asked by the command line before anything is written, and by the runner again."""

from __future__ import annotations

from crossfade.migrate.handover.order import Verb


def forbidden(verb: Verb, *, is_reversed: bool, phase: str) -> str:
    """Why *verb* does not fit; empty where it does."""
    if phase == "finished":
        return "the migration is finished; there is no way back from there"
    if verb == "cutover":
        if is_reversed:
            return "it was cut over already"
        return "" if phase in _ARRIVED else f"it is {phase}; only what was copied and follows can be cut over"
    if verb == "finish":
        return "" if is_reversed else "it was not cut over; only then is there a source to retire"
    return "it was rolled back already" if phase == "rolled-back" else ""


_ARRIVED = ("copied", "following", "paused", "interrupted", "ready")
