"""``crossfade pause``: have a migration stand still, from any terminal, on any host. Its runner lives on, and holds its lease."""

from __future__ import annotations

import time
from collections.abc import Callable

from crossfade.console.commands.status import show_state
from crossfade.console.finding import Sought, sought
from crossfade.console.state import State, look_again, state_of
from crossfade.console.talk import say, say_head
from crossfade.errors import PhaseForbids
from crossfade.migrate.audit.record import refused
from crossfade.store.backends.postgres import wishes
from crossfade.store.backends.postgres.journal import Line
from crossfade.store.backends.postgres.ledger import Ledger
from crossfade.store.backends.postgres.wishes import paused_by

_POLL_SECONDS = 0.05
_HEARD_SECONDS = 10.0
"""How long to wait for a runner to do what was wished. A long page goes on beyond it, and what is wished stands."""


def pause(words: tuple[str, ...], store: str, reason: str, *, as_json: bool) -> int:
    """Want it to be paused; return when it is, or when its runner has still something in hand after a while."""
    with sought(words, store, changes=True) as found:
        state = look_again(found.ledger, found.row.migration)
        _check(found, state)
        if not paused_by(state.row.wanted):
            want(found, "paused", reason)
            state = await_phase(found, is_there=lambda now: state_of(now)[0] == "paused")
        show_outcome(found.ledger, state, as_json=as_json)
    return 0


def _check(found: Sought, state: State) -> None:
    """Refuse where nothing runs that could stand still, and nothing would go on by itself."""
    name, _ = state_of(state)
    if name not in ("planned", "copied", "different", "finished", "rolled-back"):
        return
    error = PhaseForbids(
        f"migration {found.row.migration} is {name}, and no runner works on it: there is nothing to pause",
        hint=f"crossfade status {found.row.migration}",
    )
    raise refused(found.ledger, found.row.migration, error)


def want(found: Sought, state: str, reason: str) -> None:
    """Write down that the migration is to be ``paused`` or to ``run``, with its line in the journal; wake its runner."""
    found.begin()
    ledger, migration = found.ledger, found.row.migration
    line = Line("pause wished" if state == "paused" else "resume wished", {}, reason)
    ledger.change(lambda connection: wishes.order(connection, ledger.schema, migration, state, line))


def await_phase(found: Sought, is_there: Callable[[State], bool]) -> State:
    """Look again and again until *is_there*, for ten seconds at most; what was seen last."""
    until = time.monotonic() + _HEARD_SECONDS
    while True:
        state = look_again(found.ledger, found.row.migration)
        if is_there(state) or time.monotonic() > until:
            return state
        time.sleep(_POLL_SECONDS)


def show_outcome(ledger: Ledger, state: State, *, as_json: bool) -> None:
    """What came of it: one line, or the whole status for programs."""
    if as_json:
        show_state(ledger, state, as_json=True)
    else:
        name, reason = state_of(state)
        say(f"migration {state.row.migration} is {name}: {reason}")
    say_head(state.head)
