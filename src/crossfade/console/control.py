"""The verbs that say what a migration is to do, from anywhere: their options."""

from __future__ import annotations

import typer

from crossfade.console import settings
from crossfade.console.commands import follow as follow_verb
from crossfade.console.commands import pause as pause_verb
from crossfade.console.commands import resume as resume_verb
from crossfade.console.commands import start as start_verb
from crossfade.console.options import (
    AllowRemovals,
    CpuMax,
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
from crossfade.migrate.prepare import Request


def add_to(app: typer.Typer) -> None:
    """Have *app* know these verbs."""
    for verb in (pause, resume):
        app.command()(verb)


def pause(words: Words = None, store: Store = "", reason: Reason = "", as_json: Json = False) -> int:
    """Have a migration stand still, from any terminal or host; its runner lives on, and nothing is lost."""
    return pause_verb.pause(settings.words_of(words), store, reason, as_json=as_json)


def resume(
    words: Words = None,
    store: Store = "",
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
    )

    def begin(request: Request) -> int:
        if request.once:
            return start_verb.start_once(request, as_json=as_json)
        return follow_verb.start_following(request, grace_seconds=grace, allow_removals=allow_removals)

    return resume_verb.resume(settings.words_of(words), store, manner, begin, as_json=as_json)
