"""``crossfade status`` and ``crossfade list``: what the control state says, whoever runs it, from anywhere."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Any

from crossfade.console.finding import Sought, opened, sought, stores
from crossfade.console.talk import counted, lasting, say, say_head, show, show_json, sized, table
from crossfade.errors import CrossfadeError
from crossfade.migrate.prepare import name_for
from crossfade.migrate.report import SCHEMA_VERSION
from crossfade.store.backends.postgres.leases import Runner
from crossfade.store.backends.postgres.ledger import KindTotals, MigrationRow
from crossfade.store.location import parse


@dataclass(frozen=True)
class Status:
    """One migration at one instant."""

    row: MigrationRow
    runner: Runner | None
    totals: list[KindTotals]
    quarantined: dict[str, int]
    head: bytes = b""


def status(words: tuple[str, ...], store: str, *, as_json: bool) -> int:
    """Show one migration."""
    with sought(words, store) as found:
        sample = _sample(found)
    if as_json:
        show_json(value_of(sample))
    else:
        show(_text(sample))
    say_head(sample.head)
    return 0


def _sample(found: Sought) -> Status:
    ledger, row = found.ledger, found.row
    held, head = ledger.quarantined(row.migration), ledger.journal_head(row.migration)
    return Status(row, ledger.runner(row.migration), ledger.totals(row.store_id), held, head)


def state_of(sample: Status) -> tuple[str, str]:
    """(state, reason). A phase without a runner was interrupted, whatever it says."""
    phase, runner = sample.row.phase, sample.runner
    if runner is not None:
        progress = sample.row.progress or {}
        doing = progress.get("reason") or progress.get("step") or phase
        return "copying", f"{doing}; process {runner.pid} on {runner.host}"
    if phase == "copied":
        return "copied", f"proven at {sample.row.proved_at:%Y-%m-%d %H:%M:%S %Z}" if sample.row.proved_at else ""
    if phase == "planned":
        return "planned", "nothing was copied yet"
    if phase == "different":
        return "different", "its validation found that the target is not what the source is"
    return "interrupted", "no runner works on it; nothing is lost"


def value_of(sample: Status) -> dict[str, Any]:
    """The status schema of every verb."""
    row = sample.row
    state, reason = state_of(sample)
    progress = row.progress or {} if sample.runner is not None else {}
    kinds = [
        {
            "kind": total.kind,
            "entries": total.entries,
            "records": total.records,
            "bytes": total.bytes,
            "raw": total.raws,
            "incomplete": total.incomplete,
            "quarantined": sample.quarantined.get(total.kind, 0),
        }
        for total in sample.totals
    ]
    applied = {"entries": sum(t.entries - t.incomplete for t in sample.totals), "bytes": sum(t.bytes for t in sample.totals)}
    eta = progress.get("eta_seconds")
    return {
        "schema_version": SCHEMA_VERSION,
        "migration": row.migration,
        "source": row.source,
        "target": row.target,
        "state": state,
        "reason": reason,
        "positions": {
            "authority": {"bytes": progress.get("bytes_total")},
            "applied": applied,
            "verified": {"at": row.proved_at},
        },
        "kinds": kinds,
        "eta": {"seconds": eta, "basis": "bytes over the last seconds" if eta is not None else "not measured"},
        "throttle": progress.get("throttle", {"active": False, "reason": "", "seconds_total": 0.0}),
        "head": sample.head.hex(),
        "next_steps": _next_steps(state, row, sample.quarantined),
    }


def _next_steps(state: str, row: MigrationRow, quarantined: dict[str, int]) -> list[dict[str, str]]:
    again = start_again(row)
    steps = []
    if quarantined:
        steps.append({"command": f"crossfade quarantine {row.migration} list", "why": "see what could not be placed"})
    if state == "different":
        steps.append({"command": f"crossfade validate {row.migration} --repair", "why": "mend the target from the source"})
    if state in ("planned", "interrupted"):
        steps.append({"command": again, "why": "continue where it stopped"})
    if state == "copied":
        steps.append({"command": again, "why": "bring later changes over"})
        if row.source.startswith("file://"):
            name = [] if parse(row.target).store else ["--store-name", row.plan["store"]]
            back = shlex.join(["crossfade", "start", row.target, f"{row.source}.back", *name, "--once"])
            steps.append({"command": back, "why": "bring it back, elsewhere"})
    return steps


def start_again(row: MigrationRow) -> str:
    """The command that goes on with a migration, or brings changes over. Its layout is written down in the database."""
    options = ["--include-transient"] if row.plan["include_transient"] else []
    return shlex.join(["crossfade", "start", row.source, row.target, *_named(row), *options, "--once"])


def _named(row: MigrationRow) -> list[str]:
    """The tree's name, where the URLs do not say it."""
    places = parse(row.source), parse(row.target)
    said = next((place.store for place in places if place.store), "") or (
        "" if places[0].is_database else name_for(places[0])
    )
    return [] if said == row.plan["store"] else ["--store-name", row.plan["store"]]


def _text(sample: Status) -> str:
    value = value_of(sample)
    rows = [
        (
            kind["kind"],
            f"{kind['entries']:,}",
            f"{kind['records']:,}",
            sized(kind["bytes"]),
            f"{kind['raw']:,}",
            f"{kind['quarantined']:,}",
        )
        for kind in value["kinds"]
    ]
    lines = [
        f"migration {value['migration']}  {value['source']} to {value['target']}",
        f"state     {value['state']}: {value['reason']}",
        table(("kind", "entries", "records", "bytes", "raw", "quarantine"), rows),
    ]
    if value["eta"]["seconds"] is not None:
        lines.append(f"ETA       {lasting(value['eta']['seconds'])}")
    if value["throttle"]["active"]:
        lines.append(f"throttled {value['throttle']['reason']}")
    lines += [f"next      {step['command']}   # {step['why']}" for step in value["next_steps"]]
    return "\n".join(lines)


def list_all(store: str, *, as_json: bool) -> int:
    """Every migration in sight."""
    rows: list[tuple[MigrationRow, Status]] = []
    for place in stores(store):
        try:
            with opened(place) as ledger:
                rows += [(row, Status(row, ledger.runner(row.migration), [], {})) for row in ledger.migrations()]
        except CrossfadeError as error:
            if store:
                raise
            say(f"passed over: {error.sentence}")
    if as_json:
        values = [
            {"migration": row.migration, "source": row.source, "target": row.target, "state": state_of(sample)[0]}
            for row, sample in rows
        ]
        show_json({"schema_version": SCHEMA_VERSION, "migrations": values})
    elif rows:
        cells = [(row.migration, state_of(sample)[0], row.source, row.target) for row, sample in rows]
        show(table(("migration", "state", "source", "target"), cells, left=4))
    else:
        say(f"{counted(0, 'migration')} in sight; from another host, name the database: --store URL")
    return 0
