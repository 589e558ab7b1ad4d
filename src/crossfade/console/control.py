"""The verbs that say what a migration is to do, from anywhere: their options."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from crossfade.console import commands, settings
from crossfade.console.beginning import Beginning
from crossfade.console.deadline import Deadline
from crossfade.console.options import (
    PHASES,
    AllowRemovals,
    CpuMax,
    Detach,
    ErrorBudget,
    Grace,
    Json,
    Rate,
    Reason,
    SkipUnreadable,
    Store,
    Words,
    Workers,
)
from crossfade.errors import OptionInvalid


def add_to(app: typer.Typer) -> None:
    """Have *app* know these verbs."""
    for verb in (status, pause, resume, throttle, drift):
        app.command()(verb)


def pause(words: Words = None, store: Store = "", reason: Reason = "", as_json: Json = False) -> int:
    """Have a migration stand still, from any terminal or host; its runner lives on, and nothing is lost."""
    return commands.pause.pause(settings.words_of(words), store, reason, as_json=as_json)


def resume(
    words: Words = None,
    store: Store = "",
    detach: Detach = False,
    grace: Grace = 10.0,
    allow_removals: AllowRemovals = False,
    workers: Workers = 2,
    rate_limit: Rate = "",
    cpu_max: CpuMax = None,
    error_budget: ErrorBudget = "",
    skip_unreadable: SkipUnreadable = False,
    as_json: Json = False,
) -> int:
    """Have a migration go on, from any terminal or host; where no runner lives, become it."""
    manner = settings.manner_of(
        workers=workers,
        rate_limit=rate_limit,
        cpu_max=settings.share(cpu_max),
        error_budget=error_budget,
        skip_unreadable=skip_unreadable,
        allow_removals=allow_removals,
    )

    beginning = Beginning(grace, detach, as_json)
    return commands.resume.resume(settings.words_of(words), store, manner, beginning.run, as_json=as_json)


def throttle(
    words: Words = None, store: Store = "", rate_limit: Rate = "", cpu_max: CpuMax = None, as_json: Json = False
) -> int:
    """Other limits for a run that goes on, from any terminal or host; --rate-limit none takes one away."""
    rates = (0.0, 0.0) if rate_limit == "none" else settings.rate(rate_limit) if rate_limit else None
    return commands.throttle.throttle(settings.words_of(words), store, rates, settings.share(cpu_max), as_json=as_json)


def status(
    words: Words = None,
    store: Store = "",
    watch: Annotated[bool, typer.Option("--watch", help="show it every second, until it ends")] = False,
    phase: Annotated[str, typer.Option("--wait-for", metavar="PHASE", help="return once it is " + ", ".join(PHASES))] = "",
    timeout: Annotated[
        float | None, typer.Option("--timeout", metavar="TIME", parser=settings.seconds, help="wait so long: 30s, 5m")
    ] = None,
    as_json: Json = False,
) -> int:
    """How far a migration is, why it stands still if it does, and what to type next."""
    found, wait = settings.words_of(words), _wait(phase, timeout)
    if watch:
        return commands.watch.watch(found, store, wait, as_json=as_json)
    if wait is not None:
        return commands.watch.wait_for(found, store, wait, as_json=as_json)
    return commands.status.status(found, store, as_json=as_json)


def _wait(phase: str, timeout: float | None) -> commands.watch.Wait | None:
    if phase and phase not in PHASES:
        raise OptionInvalid(f"--wait-for {phase!r} is no phase", hint=f"one of {', '.join(PHASES)}")
    if timeout is not None and not phase:
        raise OptionInvalid("--timeout belongs to --wait-for", hint="crossfade status ID --wait-for ready --timeout 5m")
    return commands.watch.Wait(phase, Deadline(timeout)) if phase else None


def drift(
    words: Annotated[
        list[str], typer.Argument(metavar="[ID] list|show|ignore|take [ITEM...]", help="which items; without numbers, all")
    ],
    content: Annotated[
        bool, typer.Option("--content", help="with show: the bytes of the version that does not count")
    ] = False,
    store: Store = "",
    as_json: Json = False,
) -> int:
    """What was written on the side that does not decide: list it, compare it, put it aside, or take it."""
    verbs: dict[str, Callable[[tuple[str, ...], list[int]], int]] = {
        "list": lambda found, _: commands.drift.list_items(found, store, as_json=as_json),
        "show": lambda found, items: commands.drift.show_item(
            found, store, settings.one_item(items), content=content, as_json=as_json
        ),
        "ignore": lambda found, items: commands.drift.deal(found, store, "ignore", items, as_json=as_json),
        "take": lambda found, items: commands.drift.deal(found, store, "take", items, as_json=as_json),
    }
    at = next((number for number, word in enumerate(words) if word in verbs), None)
    if at is None:
        raise OptionInvalid("drift wants list, show, ignore or take", hint="crossfade drift ID list")
    return verbs[words[at]](settings.words_of(words[:at]), settings.items_of(words[at + 1 :]))
