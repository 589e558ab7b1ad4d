"""``crossfade status --watch`` and ``--wait-for``: looking at a migration again and again, until there is nothing left to see."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

import psycopg

from crossfade.console.commands.pause import show_outcome
from crossfade.console.commands.status import text_of
from crossfade.console.deadline import Deadline, TimeIsUp
from crossfade.console.finding import Sought, sought
from crossfade.console.state import State, held_of, holding, look_again, state_of, value_of
from crossfade.console.streams import OUT, is_left
from crossfade.console.talk import lag_of, lasting, say, say_head, show
from crossfade.errors import NotReached, TargetUnreachable
from crossfade.store.backends.postgres.ledger import Ledger
from crossfade.store.backends.postgres.session import SILENCE_SECONDS

_WATCH_SECONDS = 1.0
_WAIT_SECONDS = 0.2

Draw = Callable[[State], None]


@dataclass(frozen=True)
class Wait:
    """For which phase to wait, and until when."""

    phase: str
    deadline: Deadline


def watch(words: tuple[str, ...], store: str, wait: Wait | None, *, as_json: bool) -> int:
    """Show it every second: until it ends, until what is waited for holds, or until a Ctrl-C."""
    with suppress(KeyboardInterrupt), _in_time(wait), sought(words, store) as found:
        with _screen(found.ledger, as_json=as_json) as draw:
            last = _look_on(found, draw, wait, _WATCH_SECONDS)
        say_head(last.head)
    return 0


def wait_for(words: tuple[str, ...], store: str, wait: Wait, *, as_json: bool) -> int:
    """Return once *wait* is over. Raises NotReached where that takes too long, or will never be."""
    with _in_time(wait), sought(words, store) as found:
        show_outcome(found.ledger, _look_on(found, lambda _: None, wait, _WAIT_SECONDS), as_json=as_json)
    return 0


@contextmanager
def _in_time(wait: Wait | None) -> Iterator[None]:
    """Raises NotReached once *wait* is over, whatever does not answer."""
    if wait is None:
        yield
        return
    try:
        with wait.deadline:
            yield
    except TimeIsUp:
        sentence = f"within {_allowed(wait)} no database said whether it is {wait.phase}"
        raise NotReached(sentence, hint="see whether the server answers others: pg_isready, psql") from None


def _look_on(found: Sought, draw: Draw, wait: Wait | None, pause_seconds: float) -> State:
    """Look again and again; what was seen last."""
    found.ledger.answer_seconds = SILENCE_SECONDS
    try:
        while True:
            state = _look(found, draw)
            if state is not None:
                if wait is not None and wait.phase in holding(state):
                    return state
                if wait is None and (is_over(state) or is_left(OUT)):
                    return state
            _give_up(found, state, wait)
            time.sleep(pause_seconds)
    except TimeIsUp:
        raise _late(found, cast("Wait", wait), f"{found.store} did not answer in the end") from None
    finally:
        if wait is not None:
            wait.deadline.met()


def _look(found: Sought, draw: Draw) -> State | None:
    """What is seen, once it is drawn. None where the database does not answer: it is asked again."""
    try:
        state = look_again(found.ledger, found.row.migration)
        draw(state)
    except (psycopg.OperationalError, TargetUnreachable):
        say(f"{found.store} does not answer; looking again")
        return None
    return state


def is_over(state: State) -> bool:
    """True where nothing moves any more unless somebody begins something."""
    return state.runner is None and state_of(state)[0] in ("copied", "finished", "rolled-back")


def _give_up(found: Sought, state: State | None, wait: Wait | None) -> None:
    """Raises NotReached where waiting has no sense any more. *state* is None while the database does not answer."""
    if wait is None:
        return
    migration = found.row.migration
    name, reason = state_of(state) if state is not None else ("", "")
    if name == "finished":
        raise _not_reached(found, f"migration {migration} is finished, and will never be {wait.phase}")
    if name in ("rolled-back", "braked"):
        raise _not_reached(found, f"migration {migration} is {name}, and will not be {wait.phase} by itself: {reason}")
    if wait.deadline.is_over:
        raise _late(found, wait, f"it is {name}: {reason}" if name else f"{found.store} did not answer in the end")


def _late(found: Sought, wait: Wait, last: str) -> NotReached:
    return _not_reached(found, f"migration {found.row.migration} was not {wait.phase} within {_allowed(wait)}; {last}")


def _not_reached(found: Sought, sentence: str) -> NotReached:
    return NotReached(sentence, hint=f"crossfade status {found.row.migration}")


def _allowed(wait: Wait) -> str:
    return lasting(wait.deadline.seconds or 0.0)


# What is shown


@contextmanager
def _screen(ledger: Ledger, *, as_json: bool) -> Iterator[Draw]:
    """A picture that is drawn anew on a terminal; elsewhere a line each time."""
    if as_json or not sys.stdout.isatty():
        yield lambda state: show(_json_of(ledger, state) if as_json else line_of(value_of(state, {})))
        return
    from rich.console import Console  # noqa: PLC0415 - only where there is a terminal
    from rich.live import Live  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    with Live(console=Console(), auto_refresh=False) as live:
        yield lambda state: live.update(Text(text_of(value_of(state, held_of(ledger, state.row)))), refresh=True)


def _json_of(ledger: Ledger, state: State) -> str:
    return json.dumps(value_of(state, held_of(ledger, state.row)), default=str)


def line_of(value: dict[str, Any]) -> str:
    """A status in one line."""
    parts = [f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}  {value['state']}: {value['reason']}"]
    parts += [f"lag {lag_of(value['lag'])}"] if value["lag"] is not None else []
    parts += [f"ETA {lasting(value['eta']['seconds'])}"] if value["eta"]["seconds"] is not None else []
    parts += [f"throttled: {value['throttle']['reason']}"] if value["throttle"]["active"] else []
    return "; ".join(parts)
