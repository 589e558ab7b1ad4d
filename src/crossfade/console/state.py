"""In which state a migration is, why, and what to type next: what every verb says of it, from whatever host."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from crossfade.console.found_again import found_again
from crossfade.console.positions import is_verified, positions_of
from crossfade.console.talk import say
from crossfade.errors import CrossfadeError
from crossfade.migrate.handover.books import books_of, counted
from crossfade.migrate.phases import RESTORING
from crossfade.migrate.to_type import refilling, start_again
from crossfade.migrate.values import SCHEMA_VERSION
from crossfade.store.backends.postgres import drift
from crossfade.store.backends.postgres.leases import Runner
from crossfade.store.backends.postgres.ledger import KindTotals, Ledger, MigrationRow
from crossfade.store.backends.postgres.server import translate
from crossfade.store.backends.postgres.wishes import paused_by
from crossfade.store.location import parse

LAG_SECONDS = 1.0
"""A target that is no further behind is in step."""


@dataclass(frozen=True)
class State:
    """One migration at one instant: *now*, by the server's clock. ``drift`` counts paths that somebody wrote on the other side.

    ``store`` is the URL of the database that it was found in.
    """

    row: MigrationRow
    runner: Runner | None
    totals: list[KindTotals]
    head: bytes = b""
    now: datetime | None = None
    drift: int = 0
    store: str = ""

    @property
    def progress(self) -> dict[str, Any]:
        """What its runner said last; nothing where there is none."""
        return self.row.progress or {} if self.runner is not None else {}


def look_at(ledger: Ledger, row: MigrationRow) -> State:
    """The migration of *row*, as it is now."""
    head = ledger.journal_head(row.migration)
    drifted = ledger.ask(lambda c: drift.count(c, ledger.schema, drift.Which(row.migration)))
    totals, store = ledger.totals(row.store_id), ledger.server.name
    return State(row, ledger.runner(row.migration), totals, head, ledger.now(), drifted, store)


def look_again(ledger: Ledger, migration: str) -> State:
    """The same with all that may have changed."""
    return look_at(ledger, next(row for row in ledger.migrations() if row.migration == migration))


def held_of(ledger: Ledger, row: MigrationRow) -> dict[str, int]:
    """How many items are in quarantine, by kind, wherever they are held. A source that cannot be looked into is mentioned."""
    try:
        with books_of(ledger, row) as every:
            return counted(every)
    except (CrossfadeError, psycopg.Error) as error:
        why = translate(error, row.source) if isinstance(error, psycopg.Error) else error
        say(f"what is in quarantine in {row.source} is not counted: {why.sentence}")
        return ledger.quarantined(row.migration)


# The state, and why


def state_of(state: State) -> tuple[str, str]:
    """(state, reason). A phase without a runner was interrupted, whatever it says."""
    return _run_by(state, state.runner) if state.runner is not None else _left(state.row)


def _run_by(state: State, runner: Runner) -> tuple[str, str]:
    row, progress = state.row, state.progress
    who, pause = f"process {runner.pid} on {runner.host}", paused_by(row.wanted)
    if _is_paused(row, progress, pause):
        return "paused", f"{pause or 'about to go on'}; {who} holds it"
    doing = _doing(progress) or row.phase
    if pause:
        doing = f"about to be {pause}; still {doing}"
    if row.phase == "following":
        return "ready" if is_ready(state) else "following", f"{doing}; {who}"
    if row.phase == "cut-over":
        return "cut-over", f"{doing}, in reverse; {who}"
    return "copying", f"{doing}; {who}"


def _is_paused(row: MigrationRow, progress: dict[str, Any], pause: str) -> bool:
    """True where nothing moves. A restore keeps its phase: there its runner says so, of this pause; what it said of one before
    may be a second old.
    """
    return row.phase == "paused" or (row.phase == RESTORING and bool(pause) and progress.get("paused") == pause)


def _doing(progress: dict[str, Any]) -> str:
    """What a runner does, or what it waits for."""
    lag = progress.get("lag")
    if progress.get("reason") or lag is None:
        return str(progress.get("reason") or progress.get("step") or "")
    if lag["entries"]:
        return f"{lag['entries']:,} paths behind"
    return "in step" if lag["in_step"] else "looking over all of it"


def _left(row: MigrationRow) -> tuple[str, str]:
    """Where no runner works on it."""
    if row.phase == "finished":
        return "finished", "the source is retired"
    if row.phase == "rolled-back":
        return "rolled-back", "following has ended; the source is as it always was, and the target keeps what it holds"
    if pause := paused_by(row.wanted):
        return "paused", f"{pause}; no runner works on it"
    if row.phase == RESTORING:
        return RESTORING, "a restore was not finished; what is missing in the files is not taken for removed"
    if row.phase == "copied":
        return "copied", f"proven at {row.proved_at:%Y-%m-%d %H:%M:%S %Z}" if row.proved_at else ""
    if row.phase == "planned":
        return "planned", "nothing was copied yet"
    if row.phase == "different":
        return "different", "its validation found that the target is not what the source is"
    if row.phase == "braked":
        return "braked", "so much is gone from the source that a person must say it is meant; nothing more was removed"
    if row.reversed:
        return "interrupted", "cut over, and no runner follows in reverse; nothing is lost"
    return "interrupted", "no runner works on it; nothing is lost"


def is_ready(state: State) -> bool:
    """True while the target is in step with what it follows, and verified to be. What lives has always something on its way."""
    lag, now = state.progress.get("lag"), state.now or state.row.updated_at
    is_in_step = lag is not None and lag["in_step"] and lag["seconds"] <= LAG_SECONDS
    is_undisturbed = not (state.drift or paused_by(state.row.wanted))
    return bool(is_in_step) and is_undisturbed and is_verified(state.row, state.progress, now)


_BEGUN = ("copying", "copied", "following", "paused", "cut-over", "different", "finished")


def holding(state: State) -> frozenset[str]:
    """The phases that hold: what it is now, and of the way there what was reached for good."""
    name, _ = state_of(state)
    found = {"planned", name}
    if state.row.was_proved:
        found |= {"copying", "copied"}
    if state.row.phase in _BEGUN:
        found.add("copying")
    if name in ("ready", "cut-over") and state.runner is not None:
        found.add("following")
    if name == "cut-over" and is_ready(state):
        found.add("ready")
    return frozenset(found)


# For programs


def value_of(state: State, held: dict[str, int]) -> dict[str, Any]:
    """The status schema of every verb. *held* says how many items of each kind are in quarantine."""
    row, progress = state.row, state.progress
    name, reason = state_of(state)
    kinds = [
        {
            "kind": total.kind,
            "entries": total.entries,
            "records": total.records,
            "bytes": total.bytes,
            "raw": total.raws,
            "incomplete": total.incomplete,
            "quarantined": held.get(total.kind, 0),
        }
        for total in state.totals
    ]
    now = state.now or row.updated_at
    positions = positions_of(row, progress, state.totals, now)
    eta = progress.get("eta_seconds")
    return {
        "schema_version": SCHEMA_VERSION,
        "migration": row.migration,
        "source": row.source,
        "target": row.target,
        "state": name,
        "reason": reason,
        "positions": positions,
        "lag": progress.get("lag"),
        "drift": {"open": state.drift},
        "kinds": kinds,
        "eta": {"seconds": eta, "basis": "bytes over the last seconds" if eta is not None else "not measured"},
        "throttle": progress.get("throttle", {"active": False, "reason": "", "seconds_total": 0.0}),
        "head": state.head.hex(),
        "next_steps": [_found_again(step, state) for step in _steps(name, state, held, positions)],
    }


# What to type next


def _steps(name: str, state: State, held: dict[str, int], positions: dict[str, Any]) -> list[dict[str, str]]:
    row = state.row
    return [*_drifted(state), *_proofs(name, row, positions), *next_steps(name, row, held)]


def _found_again(step: dict[str, str], state: State) -> dict[str, str]:
    """*step*, with the database where its command would not find the migration from here. A pair of URLs names it by itself."""
    return {**step, "command": found_again(step["command"], state.store)}


def next_steps(name: str, row: MigrationRow, held: dict[str, int]) -> list[dict[str, str]]:
    """Commands, each with its reason; what needs a person comes first."""
    steps = [_step(f"quarantine {row.migration} list", "see what could not be placed")] if held else []
    match name:
        case "different":
            steps.append(_step(f"validate {row.migration} --repair", "mend the target from the source"))
        case "restoring":
            restore = refilling(row.source, row.target, row.plan["store"])
            steps.append({"command": restore, "why": "bring back what is missing"})
        case "planned" | "interrupted":
            steps.append(_going_on(row))
        case "paused":
            steps.append(_step(f"resume {row.migration}", "let it go on"))
        case "braked":
            steps.append(_step(f"resume {row.migration}", "once the volume is mounted again"))
            steps.append(_step(f"resume {row.migration} --allow-removals", "if the removal is meant"))
        case "copying" | "following" | "ready" | "cut-over":
            steps.append(_step(f"pause {row.migration}", "have it stand still; nothing is lost"))
            steps.append(_step(f"status {row.migration} --watch", "see it move"))
            steps += [_step(f"cutover {row.migration} --dry-run", "see every gate and step")] if name == "ready" else []
            steps += [_step(f"rollback {row.migration} --dry-run", "see what leads back")] if name == "cut-over" else []
        case "rolled-back":
            steps.append(_step(f"resume {row.migration}", "copy what changed, and follow again"))
        case "copied":
            steps += _after_a_copy(row)
    return steps


def _going_on(row: MigrationRow) -> dict[str, str]:
    """What takes up a run where it stopped. A stranger's files are deleted only where that is said again."""
    says_again = row.wanted.get("delete_extra") and not row.was_proved
    words = start_again(row, once=bool(row.wanted.get("once"))) if says_again else f"crossfade resume {row.migration}"
    return {"command": words, "why": "continue where it stopped"}


def _drifted(state: State) -> list[dict[str, str]]:
    """What tells who wrote where nobody should."""
    why = "see what was written on the side that does not decide"
    return [_step(f"drift {state.row.migration} list", why)] if state.drift else []


def _proofs(name: str, row: MigrationRow, positions: dict[str, Any]) -> list[dict[str, str]]:
    """What renews a proof that is too old for the authority to change hands on."""
    if not positions["verified"]["stale"] or name not in ("following", "cut-over"):
        return []
    why = "prove the whole; the last proof is older than a day or ahead of the clock, or there is none"
    return [_step(f"validate {row.migration}", why)]


def _step(words: str, why: str) -> dict[str, str]:
    return {"command": f"crossfade {words}", "why": why}


def _after_a_copy(row: MigrationRow) -> list[dict[str, str]]:
    steps = [
        {"command": start_again(row), "why": "bring later changes over"},
        {"command": start_again(row, once=False), "why": "follow the source from now on"},
    ]
    if row.source.startswith("file://"):
        name = [] if parse(row.target).store else ["--store-name", row.plan["store"]]
        back = shlex.join(["crossfade", "start", row.target, f"{row.source}.back", *name, "--once"])
        steps.append({"command": back, "why": "bring it back, elsewhere"})
    return steps
