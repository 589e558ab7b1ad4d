"""The command line: verbs, options, help, and how a run ends (docs/reference/commands.md)."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crossfade.console import commands, control, live, settings, streams
from crossfade.console.beginning import Beginning
from crossfade.console.endings import delivered, ended
from crossfade.console.options import (
    Add,
    AllowEmpty,
    AllowRemovals,
    BatchBytes,
    BatchRecords,
    Certificate,
    CpuMax,
    DeleteExtra,
    Detach,
    ErrorBudget,
    Except,
    FailFast,
    Grace,
    IncludeTransient,
    Json,
    LayoutName,
    MarkInterval,
    Merge,
    Only,
    Rate,
    SkipUnreadable,
    Source,
    Store,
    StoreName,
    Target,
    Words,
    Workers,
)
from crossfade.console.talk import show
from crossfade.console.unforeseen import watch_threads
from crossfade.errors import OptionInvalid

if TYPE_CHECKING:
    from crossfade.migrate.prepare import Request

app = typer.Typer(
    help="Move an application's file-based state into PostgreSQL, and back, byte for byte.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
layouts_app = typer.Typer(help="The rules that say what each path is.", no_args_is_help=False, rich_markup_mode=None)
app.add_typer(layouts_app, name="layouts")
live.add_to(app)
control.add_to(app)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib import metadata  # noqa: PLC0415 - reads what is installed, for one option

        show(f"crossfade {metadata.version('crossfade')}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="print it, and exit")] = False,
) -> None:
    """Move an application's file-based state into PostgreSQL, and back, byte for byte."""
    del version


@app.command()
def plan(
    source: Source,
    target: Target,
    layout: LayoutName = "",
    store_name: StoreName = "",
    only: Only = None,
    without: Except = None,
    add: Add = None,
    workers: Workers = 2,
    include_transient: IncludeTransient = False,
    allow_empty: AllowEmpty = False,
    as_json: Json = False,
) -> int:
    """What is there, what will be hard, how long it will take. Measured; nothing is written."""
    manner = settings.manner_of(workers=workers, allow_empty=allow_empty)
    request = _request(source, target, layout, store_name, only, without, add, include_transient, manner)
    return commands.plan.plan(request, as_json=as_json)


@app.command()
def start(
    source: Source,
    target: Target,
    once: Annotated[bool, typer.Option("--once", help="copy, prove, exit")] = False,
    incremental: Annotated[
        bool, typer.Option("--incremental", help="bring a copy that is finished up to date, prove, exit")
    ] = False,
    detach: Detach = False,
    grace: Grace = 10.0,
    allow_removals: AllowRemovals = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="as plan: nothing is written")] = False,
    layout: LayoutName = "",
    store_name: StoreName = "",
    only: Only = None,
    without: Except = None,
    add: Add = None,
    workers: Workers = 2,
    rate_limit: Rate = "",
    cpu_max: CpuMax = None,
    batch_bytes: BatchBytes = "8MiB",
    batch_records: BatchRecords = 50_000,
    mark_interval: MarkInterval = 5.0,
    fail_fast: FailFast = False,
    error_budget: ErrorBudget = "",
    merge: Merge = False,
    delete_extra: DeleteExtra = False,
    skip_unreadable: SkipUnreadable = False,
    allow_empty: AllowEmpty = False,
    include_transient: IncludeTransient = False,
    certificate: Certificate = "",
    as_json: Json = False,
) -> int:
    """Copy everything and prove it, then follow; given again, continue, or bring changes over."""
    once = once or incremental
    manner = settings.manner_of(
        workers=workers,
        rate_limit=rate_limit,
        cpu_max=settings.ceiling(cpu_max, once=once),
        batch_bytes=batch_bytes,
        batch_records=batch_records,
        mark_interval=mark_interval,
        fail_fast=fail_fast,
        error_budget=error_budget,
        merge=merge,
        delete_extra=delete_extra,
        skip_unreadable=skip_unreadable,
        allow_empty=allow_empty,
        allow_removals=allow_removals,
        certificate=settings.with_once(certificate, once=once),
    )
    request = _request(source, target, layout, store_name, only, without, add, include_transient, manner)
    if dry_run:
        return commands.plan.plan(request, as_json=as_json)
    return Beginning(grace, detach, as_json).run(replace(request, once=once, incremental=incremental))


@app.command()
def validate(
    words: Words = None,
    store: Store = "",
    store_name: StoreName = "",
    sample_percentage: Annotated[
        float, typer.Option("--sample-percentage", help="compare the content of so many percent")
    ] = 100.0,
    seed: Annotated[
        int | None, typer.Option("--seed", help="the sample to take; the same for the same number", show_default="at random")
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", help="processes that compare side by side")] = 2,
    max_report: Annotated[int, typer.Option("--max-report", help="name at most so many paths")] = 100,
    repair: Annotated[
        bool, typer.Option("--repair", help="mend the side that does not decide, then validate again")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="with --repair: show what would be mended")] = False,
    delete_extra: DeleteExtra = False,
    allow_removals: AllowRemovals = False,
    skip_unreadable: SkipUnreadable = False,
    certificate: Certificate = "",
    as_json: Json = False,
) -> int:
    """Is the target what the source is? Content, metadata, columns and queries; exit 3 on any difference."""
    options = commands.validate.options_of(
        sample_percentage, seed, jobs, max_report, skip_unreadable=skip_unreadable, certificate=certificate
    )
    settings.check_repair(repair=repair, dry_run=dry_run, delete_extra=delete_extra, allow_removals=allow_removals)
    return commands.validate.validate(
        settings.words_of(words),
        store,
        store_name,
        options,
        repair=repair,
        dry_run=dry_run,
        delete_extra=delete_extra,
        allow_removals=allow_removals,
        certificate=certificate,
        as_json=as_json,
    )


@app.command()
def audit(
    words: Words = None,
    store: Store = "",
    limit: Annotated[int, typer.Option("--limit", help="the last so many lines; 0 is all")] = 0,
    since: Annotated[
        str, typer.Option("--since", metavar="TIME", help="lines since then: 2026-11-23T01:00:00, in UTC")
    ] = "",
    verify: Annotated[bool, typer.Option("--verify", help="compute every hash anew; exit 3 where one is wrong")] = False,
    head: Annotated[
        str, typer.Option("--head", metavar="H", help="with --verify: a head that a verb printed must be in it")
    ] = "",
    as_json: Json = False,
) -> int:
    """What was done to a migration, line by line; with --verify, whether a line was changed since."""
    if head and not verify:
        raise OptionInvalid("--head belongs to --verify", hint="crossfade audit ID --verify --head H")
    if verify:
        return commands.audit.verify_chain(settings.words_of(words), store, head, as_json=as_json)
    return commands.audit.audit(settings.words_of(words), store, limit=max(limit, 0), since=since, as_json=as_json)


@app.command("list")
def list_(store: Store = "", as_json: Json = False) -> int:
    """Every migration in sight."""
    return commands.status.list_all(store, as_json=as_json)


@app.command()
def quarantine(
    words: Annotated[
        list[str], typer.Argument(metavar="[ID] list|show|replay|ignore [ITEM...]", help="which items; without numbers, all")
    ],
    store: Store = "",
    as_json: Json = False,
) -> int:
    """What could not be placed: list it, show an item's bytes, try again, or ignore it."""
    verbs: dict[str, Callable[[tuple[str, ...], list[str]], int]] = {
        "list": lambda found, _: commands.quarantine.list_items(found, store, as_json=as_json),
        "show": lambda found, items: commands.quarantine.show_item(found, store, settings.one_item(items)),
        "replay": lambda found, items: commands.quarantine.replay(found, store, items, as_json=as_json),
        "ignore": lambda found, items: commands.quarantine.ignore(found, store, items, as_json=as_json),
    }
    at = next((number for number, word in enumerate(words) if word in verbs), None)
    if at is None:
        raise OptionInvalid("quarantine wants list, show, replay or ignore", hint="crossfade quarantine ID list")
    return verbs[words[at]](settings.words_of(words[:at]), commands.quarantine.names_of(words[at + 1 :]))


@layouts_app.callback(invoke_without_command=True)
def layouts(context: typer.Context, as_json: Json = False) -> int:
    """The layouts that come along."""
    if context.invoked_subcommand is None:
        commands.layouts.list_layouts(as_json)
    return 0


@layouts_app.command("list")
def layouts_list(as_json: Json = False) -> int:
    """The layouts that come along, and their kinds."""
    commands.layouts.list_layouts(as_json)
    return 0


@layouts_app.command("show")
def layouts_show(name: Annotated[str, typer.Argument(metavar="NAME|FILE", help="a built-in layout, or a file")]) -> int:
    """Print a layout's text."""
    commands.layouts.show(name)
    return 0


@layouts_app.command("test")
def layouts_test(
    directory: Annotated[str, typer.Argument(metavar="DIR", help="a tree of files")],
    layout: LayoutName = "prodigy",
    as_json: Json = False,
) -> int:
    """Which rule takes each path below DIR."""
    commands.layouts.test(directory, layout, as_json)
    return 0


@app.command()
def doctor(
    store: Store = "",
    stop_orphans: Annotated[bool, typer.Option("--stop-orphans", help="stop embedded servers that nobody uses")] = False,
    as_json: Json = False,
) -> int:
    """What this installation has, what is left lying about, and what to do with it."""
    return commands.doctor.doctor(store, stop=stop_orphans, as_json=as_json)


@app.command()
def explain(
    code: Annotated[str, typer.Argument(metavar="[CODE]", help="like CF203; without one, all are listed")] = "",
    as_json: Json = False,
) -> int:
    """What an error code means, and what to do."""
    return commands.explain.explain(code, as_json=as_json)


@app.command()
def schema(
    url: Annotated[str, typer.Argument(metavar="[URL]", help="a database, to see its version")] = "",
    as_sql: Annotated[bool, typer.Option("--sql", help="print the DDL")] = False,
    name: Annotated[str, typer.Option("--schema", help="the schema's name")] = "crossfade",
    layout: LayoutName = "",
    role: Annotated[str, typer.Option("--role", help="print the GRANTs for this role, too")] = "",
    as_json: Json = False,
) -> int:
    """A database's schema version; or, with --sql, the DDL for a DBA."""
    if as_sql:
        return commands.schema.print_sql(name, layout, role)
    if not url:
        raise OptionInvalid("schema wants a database, or --sql", hint="crossfade schema --sql")
    return commands.schema.print_version(url, as_json=as_json)


@app.command()
def demo(
    directory: Annotated[str, typer.Argument(metavar="DIR", help="a new directory; everything stays in it")],
    events: Annotated[int, typer.Option("--events", help="how many events to make")] = 50_000,
) -> int:
    """The whole journey on a store that it makes itself."""
    return commands.demo.demo(directory, events)


def _request(
    source: str,
    target: str,
    layout: str,
    store_name: str,
    only: list[str] | None,
    without: list[str] | None,
    add: list[str] | None,
    include_transient: bool,
    manner: Any,
) -> Request:
    from crossfade.migrate.prepare import Request  # noqa: PLC0415 - brings all that moves bytes

    return Request(
        settings.location(source),
        settings.location(target),
        layout,
        store_name,
        tuple(only or ()),
        tuple(without or ()),
        tuple(add or ()),
        include_transient,
        manner,
    )


def run() -> None:
    """The entry point: run a verb, print what went wrong, exit as documented."""
    streams.take_over()
    watch_threads()
    sys.exit(delivered(_run()))


def _run() -> int:
    return ended(lambda: int(app(standalone_mode=False, prog_name="crossfade") or 0))
