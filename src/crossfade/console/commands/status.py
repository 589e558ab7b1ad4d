"""``crossfade status`` and ``crossfade list``: what the control state says, whoever runs it, from anywhere."""

from __future__ import annotations

from typing import Any

from crossfade.console.finding import opened, sought, stores
from crossfade.console.state import State, held_of, look_at, state_of, value_of
from crossfade.console.talk import counted, lag_of, lasting, say, say_head, show, show_json, sized, table
from crossfade.errors import CrossfadeError
from crossfade.migrate.values import SCHEMA_VERSION
from crossfade.store.backends.postgres.ledger import Ledger, MigrationRow
from crossfade.store.backends.postgres.server import plain_errors


def status(words: tuple[str, ...], store: str, *, as_json: bool) -> int:
    """Show one migration."""
    with sought(words, store) as found:
        state = look_at(found.ledger, found.row)
        show_state(found.ledger, state, as_json=as_json)
    say_head(state.head)
    return 0


def show_state(ledger: Ledger, state: State, *, as_json: bool) -> None:
    """One migration, on stdout."""
    value = value_of(state, held_of(ledger, state.row))
    if as_json:
        show_json(value)
    else:
        show(text_of(value))


def text_of(value: dict[str, Any]) -> str:
    """A status for people."""
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
    if value["lag"] is not None:
        lines.append(f"lag       {lag_of(value['lag'])}")
        lines.append(f"verified  {value['positions']['verified']['reason']}")
    if value["drift"]["open"]:
        lines.append(f"drift     {value['drift']['open']:,} open")
    if value["eta"]["seconds"] is not None:
        lines.append(f"ETA       {lasting(value['eta']['seconds'])}")
    if value["throttle"]["active"]:
        lines.append(f"throttled {value['throttle']['reason']}")
    lines += [f"next      {step['command']}   # {step['why']}" for step in value["next_steps"]]
    return "\n".join(lines)


def list_all(store: str, *, as_json: bool) -> int:
    """Every migration in sight. Raises what keeps the only place where to look from being looked into."""
    rows: list[tuple[MigrationRow, str]] = []
    places = stores(store)
    for place in places:
        try:
            with plain_errors(place.url), opened(place) as ledger:
                found = [State(row, ledger.runner(row.migration), []) for row in ledger.migrations()]
                rows += [(state.row, state_of(state)[0]) for state in found]
        except CrossfadeError as error:
            if len(places) == 1:  # an empty list would say that there is nothing
                raise
            say(f"passed over: {error.sentence}")
    if as_json:
        values = [
            {"migration": row.migration, "source": row.source, "target": row.target, "state": name} for row, name in rows
        ]
        show_json({"schema_version": SCHEMA_VERSION, "migrations": values})
    elif rows:
        cells = [(row.migration, name, row.source, row.target) for row, name in rows]
        show(table(("migration", "state", "source", "target"), cells, left=4))
    else:
        say(f"{counted(0, 'migration')} in sight; from another host, name the database: --store URL")
    return 0
