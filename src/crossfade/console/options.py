"""The options and arguments that several verbs share, each with what it says in ``--help``."""

from __future__ import annotations

from typing import Annotated

import typer

from crossfade.console.settings import seconds

PHASES = ("planned", "copying", "copied", "following", "paused", "ready", "cut-over", "finished")
"""What ``status --wait-for`` takes."""

Source = Annotated[str, typer.Argument(metavar="SOURCE", help="where the state is: a path or a URL")]
Target = Annotated[str, typer.Argument(metavar="TARGET", help="where it goes: a path or a URL")]
Json = Annotated[bool, typer.Option("--json", help="for programs, on stdout")]
Store = Annotated[str, typer.Option("--store", metavar="URL", help="the database to look in (else CROSSFADE_STORE)")]
Words = Annotated[list[str] | None, typer.Argument(metavar="[ID | SOURCE TARGET]", help="which migration")]
LayoutName = Annotated[str, typer.Option("--layout", metavar="NAME|FILE", help="the layout [default: prodigy]")]
StoreName = Annotated[str, typer.Option("--store-name", metavar="NAME", help="this tree's name in the schema")]
Only = Annotated[list[str] | None, typer.Option("--only", metavar="KIND", help="just these kinds")]
Except = Annotated[list[str] | None, typer.Option("--except", metavar="KIND", help="all but these kinds")]
Add = Annotated[list[str] | None, typer.Option("--add", metavar="KIND", help="these kinds too, from now on")]
CpuMax = Annotated[
    float | None, typer.Option("--cpu-max", metavar="PERCENT", help="of this machine's processors, and give way to others")
]
Workers = Annotated[int, typer.Option("--workers", help="processes that copy side by side")]
Rate = Annotated[str, typer.Option("--rate-limit", metavar="RATE", help="5000: records a second; 10MB: bytes a second")]
BatchBytes = Annotated[str, typer.Option("--batch-bytes", metavar="SIZE", help="bytes in a page, at most")]
BatchRecords = Annotated[int, typer.Option("--batch-records", help="records in a page, at most")]
MarkInterval = Annotated[float, typer.Option("--mark-interval", help="seconds until a page is marked, full or not")]
FailFast = Annotated[bool, typer.Option("--fail-fast", help="stop at the first item that cannot be placed")]
ErrorBudget = Annotated[str, typer.Option("--error-budget", metavar="BUDGET", help="quarantine at most [default: 0.1%,100]")]
Merge = Annotated[bool, typer.Option("--merge", help="keep a stranger's files in the target directory")]
DeleteExtra = Annotated[bool, typer.Option("--delete-extra", help="delete a stranger's files in the target directory")]
SkipUnreadable = Annotated[bool, typer.Option("--skip-unreadable", help="leave out what cannot be read; exit 4")]
AllowRemovals = Annotated[bool, typer.Option("--allow-removals", help="believe that most of the source is gone")]
Detach = Annotated[bool, typer.Option("--detach", help="go on in the background, once the lease is taken")]
Grace = Annotated[
    float,
    typer.Option(
        "--grace", metavar="TIME", parser=seconds, help="how long to bring over what is known, once told to stop: 30s, 5m"
    ),
]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="why, for the status and the journal")]
AllowEmpty = Annotated[bool, typer.Option("--allow-empty", help="an empty source is meant")]
IncludeTransient = Annotated[bool, typer.Option("--include-transient", help="take locks and temporary files along")]
Certificate = Annotated[
    str, typer.Option("--certificate", metavar="FILE", help="write down what was compared, for others to check")
]
WritersStopped = Annotated[
    bool, typer.Option("--writers-stopped", help="you know that no writer is left that goes past crossfade")
]
Force = Annotated[bool, typer.Option("--force", help="override conflicts; what is overwritten is kept")]
Rehearsal = Annotated[bool, typer.Option("--dry-run", help="show every gate and every step; nothing is done")]
Timeout = Annotated[float, typer.Option("--timeout", metavar="TIME", parser=seconds, help="how long to try: 30s, 5m")]
LagMax = Annotated[
    float, typer.Option("--lag-max", metavar="TIME", parser=seconds, help="how far the other side may be behind at first")
]
HoldMax = Annotated[
    float, typer.Option("--hold-max", metavar="TIME", parser=seconds, help="how long writers may have to wait")
]
Settle = Annotated[
    float, typer.Option("--settle", metavar="TIME", parser=seconds, help="how long files must have been still")
]
