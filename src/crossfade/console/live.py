"""The verbs of a migration that lives: bringing its files back, and who has the authority, since when."""

from __future__ import annotations

from typing import Annotated

import typer

from crossfade.console import commands, settings
from crossfade.console.options import (
    CpuMax,
    DeleteExtra,
    Force,
    HoldMax,
    Json,
    LagMax,
    Merge,
    Only,
    Rate,
    Rehearsal,
    Settle,
    SkipUnreadable,
    Store,
    StoreName,
    Timeout,
    Words,
    Workers,
    WritersStopped,
)
from crossfade.migrate.handover.order import Order


def add_to(app: typer.Typer) -> None:
    """Give *app* these verbs."""
    for verb in (restore, cutover, rollback, finish, repair):
        app.command()(verb)


def restore(
    source: Annotated[str, typer.Argument(metavar="STORE", help="the database that holds the tree")],
    target: Annotated[str, typer.Argument(metavar="DIR", help="where the program looks for it")],
    if_empty: Annotated[bool, typer.Option("--if-empty", help="leave a directory alone that holds something")] = False,
    store_name: StoreName = "",
    workers: Workers = 2,
    rate_limit: Rate = "",
    cpu_max: CpuMax = None,
    merge: Merge = False,
    delete_extra: DeleteExtra = False,
    skip_unreadable: SkipUnreadable = False,
    allow_empty: Annotated[bool, typer.Option("--allow-empty", help="a store that holds nothing yet is meant")] = False,
    as_json: Json = False,
) -> int:
    """Bring a directory back, and prove it; following it goes on as if it had never been away."""
    from crossfade.migrate.prepare import Request  # noqa: PLC0415 - brings all that moves bytes

    manner = settings.manner_of(
        workers=workers,
        rate_limit=rate_limit,
        cpu_max=settings.ceiling(cpu_max, once=True),
        merge=merge,
        delete_extra=delete_extra,
        skip_unreadable=skip_unreadable,
        allow_empty=allow_empty,
    )
    places = settings.of_restore(settings.location(source), settings.location(target))
    request = Request(*places, store_name=store_name, manner=manner, verb="restore")
    return commands.restore.restore(request, if_empty=if_empty, as_json=as_json)


def cutover(
    words: Words = None,
    store: Store = "",
    dry_run: Rehearsal = False,
    timeout: Timeout = 60.0,
    lag_max: LagMax = 5.0,
    hold_max: HoldMax = 1.0,
    settle: Settle = 2.0,
    only: Only = None,
    writers_stopped: WritersStopped = False,
    force: Force = False,
    as_json: Json = False,
) -> int:
    """Hand the authority to the target: fence, drain, prove, switch; then follow in reverse."""
    order = Order("cutover", lag_max, hold_max, timeout, settle, writers_stopped, force, tuple(only or ()))
    return commands.handover.hand_over(settings.words_of(words), store, order, dry_run=dry_run, as_json=as_json)


def rollback(
    words: Words = None,
    store: Store = "",
    dry_run: Rehearsal = False,
    timeout: Timeout = 60.0,
    lag_max: LagMax = 5.0,
    hold_max: HoldMax = 1.0,
    settle: Settle = 2.0,
    only: Only = None,
    writers_stopped: WritersStopped = False,
    force: Force = False,
    as_json: Json = False,
) -> int:
    """Hand the authority back to the source; what was written since the cut-over comes along."""
    order = Order("rollback", lag_max, hold_max, timeout, settle, writers_stopped, force, tuple(only or ()))
    return commands.handover.hand_over(settings.words_of(words), store, order, dry_run=dry_run, as_json=as_json)


def finish(
    words: Words = None,
    store: Store = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would end; nothing is done")] = False,
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="TIME", parser=settings.seconds, help="how long to bring over what is left")
    ] = 60.0,
    as_json: Json = False,
) -> int:
    """The only step without return: stop the reverse stream, retire the source."""
    order = Order("finish", timeout=timeout)
    return commands.handover.hand_over(settings.words_of(words), store, order, dry_run=dry_run, as_json=as_json)


def repair(
    words: Words = None,
    store: Store = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would be done; nothing is")] = False,
    as_json: Json = False,
) -> int:
    """Complete what a crash left of a hand-over, or take it back; doctor says what there is."""
    return commands.repair.repair(settings.words_of(words), store, dry_run=dry_run, as_json=as_json)
