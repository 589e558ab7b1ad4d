"""``crossfade validate``: is the target what the source is? Never 0 on a difference."""

from __future__ import annotations

import shlex
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace

from crossfade.console.commands.start import interruptible
from crossfade.console.finding import sought
from crossfade.console.talk import counted, lasting, say, show, show_json, sized
from crossfade.migrate.plan import Manner
from crossfade.migrate.prepare import Request, prepared
from crossfade.migrate.validate.repair import mend, mend_orphans, tasks_for
from crossfade.migrate.validate.sides import sides
from crossfade.migrate.validate.validator import Findings
from crossfade.migrate.validate.verdict import Options, Verdict, spoken
from crossfade.migrate.validate.verdict import validate as compare
from crossfade.model.paths import text_of
from crossfade.store.location import Location, parse


def validate(
    words: tuple[str, ...],
    store: str,
    store_name: str,
    options: Options,
    *,
    repair: bool,
    dry_run: bool,
    delete_extra: bool,
    as_json: bool,
) -> int:
    """Compare; with *repair*, mend and compare again."""
    source, target, name = _pair(words, store, store_name)
    stop = threading.Event()
    with interruptible(stop):
        request = Request(source, target, store_name=name, manner=Manner(delete_extra=delete_extra))
        verdict, request = _compare(request, options, stop)
        while repair and verdict.exit == 3:
            _mend(request, verdict, dry_run=dry_run)
            if dry_run:
                break
            say("validating again")
            before = verdict.count
            verdict, request = _compare(request, options, stop)
            if verdict.count >= before:
                break
    if as_json:
        show_json({"source": source.url, "target": target.url, **verdict.values()})
    else:
        show(_text(verdict, source, target))
    return verdict.exit


def _pair(words: tuple[str, ...], store: str, store_name: str) -> tuple[Location, Location, str]:
    if len(words) == 2:
        return parse(words[0]), parse(words[1]), store_name
    with sought(words, store) as found:
        return parse(found.row.source), parse(found.row.target), store_name or str(found.row.plan["store"])


def _compare(request: Request, options: Options, stop: threading.Event) -> tuple[Verdict, Request]:
    """The verdict; and the request by which what differs can be mended, with the plan that this pair was begun with."""
    source, target = request.source, request.target
    with sides(source, target, request.store_name) as pair:
        if pair.migration is None:
            say(f"no migration of {source} to {target} is known; they are compared all the same")
        transient = bool(pair.migration and pair.migration.plan.get("include_transient"))
        known = replace(request, store_name=pair.store, include_transient=transient)
        return compare(pair, options, watch=_watch(), stop=stop), known


def _watch() -> Callable[[Findings], None]:
    """A line every hundred thousand entries: enough to see that it moves."""
    told = 0

    def watch(findings: Findings) -> None:
        nonlocal told
        if findings.entries - told >= 100_000:
            told = findings.entries
            say(f"validating; {counted(findings.entries, 'entry', 'entries')}, {sized(findings.size)} compared")

    return watch


def _mend(request: Request, verdict: Verdict, *, dry_run: bool) -> None:
    with ExitStack() as held:
        run = held.enter_context(prepared(request))
        tasks = tasks_for(run, verdict.findings.differences)
        for task in tasks:
            say(f"{'would mend' if dry_run else 'mending'} {task.verb:<7} {spoken_path(task.entry.path)}")
        if dry_run:
            return
        run.ledger.note(run.migration, "repair", {"paths": len(tasks)})
        mended, orphaned = mend(run, tasks), mend_orphans(run)
        say(
            f"{counted(mended, 'path')} mended"
            + (f", {counted(orphaned, 'record')} without an entry deleted" if orphaned else "")
        )


def spoken_path(path: bytes) -> str:
    """A path for people; the root has no name of its own."""
    return text_of(path) or "(the root)"


def _text(verdict: Verdict, source: Location, target: Location) -> str:
    findings, extent = verdict.findings, verdict.options.extent
    part = "" if extent.percentage >= 100 else f" (content of a {extent.percentage:g} % sample, seed {extent.seed})"
    lines = ["went on where an interrupted validation stopped"] if verdict.resumed else []
    lines += [
        f"{counted(findings.entries, 'entry', 'entries')}, {sized(findings.size)} compared in {lasting(verdict.seconds)}{part}",
    ]
    for difference in findings.differences:
        value = spoken(difference)
        where = "" if difference.offset is None else f", segment {difference.segment}, offset {difference.offset}"
        what = value["path"] or ("(the root)" if difference.klass != "query" else f"kind {difference.kind}")
        lines.append(f"  {difference.klass:<11} {what}: {difference.detail}{where}")
    if verdict.count > len(findings.differences):
        lines.append(f"  and {verdict.count - len(findings.differences)} more; --max-report names more")
    if verdict.exit == 0:
        lines.append(f"equal: {source} and {target}; root {findings.source_root.hex()[:16]}")
    elif verdict.exit == 4:
        lines.append(f"equal, but for what is in quarantine: crossfade quarantine {verdict.migration} list")
    else:
        again = shlex.join(["crossfade", "validate", source.url, target.url])
        lines.append(f"different: {again} --repair   # mends the target")
    return "\n".join(lines)
