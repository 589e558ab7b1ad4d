"""``crossfade validate``: is the target what the source is? Never 0 on a difference."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from crossfade.console.commands.start import interruptible
from crossfade.console.finding import sought
from crossfade.console.progress import display
from crossfade.console.talk import counted, say, say_head, show, show_json
from crossfade.console.verdicts import judged, spoken_path
from crossfade.errors import CrossfadeError, PhaseForbids
from crossfade.migrate.audit.record import refused
from crossfade.migrate.certificate import certificate as certificate_of
from crossfade.migrate.certificate import check_file, write
from crossfade.migrate.decide import Task
from crossfade.migrate.plan import Manner
from crossfade.migrate.prepare import Request, prepared
from crossfade.migrate.validate.repair import mend, mend_orphans, tasks_for
from crossfade.migrate.validate.sides import Sides, sides
from crossfade.migrate.validate.validation import validate as compare
from crossfade.migrate.validate.verdict import Options, Verdict
from crossfade.store.backends.postgres import proofs
from crossfade.store.location import Location, parse
from crossfade.store.registry import DatabaseRecipe

_NAMED = 100
"""How many paths a line of the journal names, at most; it counts them all."""


def validate(
    words: tuple[str, ...],
    store: str,
    store_name: str,
    options: Options,
    *,
    repair: bool,
    dry_run: bool,
    delete_extra: bool,
    certificate: str,
    as_json: bool,
) -> int:
    """Compare; with *repair*, mend and compare again; with *certificate*, write one."""
    source, target, name = _pair(words, store, store_name)
    if certificate:
        check_file(certificate, source, target)
    stop = threading.Event()
    with interruptible(stop):
        manner = Manner(delete_extra=delete_extra, patience_seconds=options.patience.deadline_seconds)
        request = Request(source, target, store_name=name, manner=manner, verb="repair")
        ended = _compare(request, options, stop, certificate)
        while repair and ended.verdict.exit == 3:
            if dry_run:
                _rehearse(request, ended.verdict)
                break
            _mend(ended.request, ended.verdict)
            say("validating again")
            before = ended.verdict.count
            ended = _compare(ended.request, options, stop, certificate)
            if ended.verdict.count >= before:
                break
    return _show(ended, source, target, as_json=as_json)


@dataclass(frozen=True)
class _Ended:
    """The verdict; the request by which what differs can be mended, with the plan that this pair was begun with; the head."""

    verdict: Verdict
    request: Request
    head: bytes


def _show(ended: _Ended, source: Location, target: Location, *, as_json: bool) -> int:
    if as_json:
        value = ended.verdict.values()
        show_json({"source": source.url, "target": target.url, **value, "head": ended.head.hex() or None})
    else:
        show(judged(ended.verdict, source, target))
    if ended.head:
        say_head(ended.head)
    return ended.verdict.exit


def _pair(words: tuple[str, ...], store: str, store_name: str) -> tuple[Location, Location, str]:
    if len(words) == 2:
        return parse(words[0]), parse(words[1]), store_name
    with sought(words, store) as found:
        return parse(found.row.source), parse(found.row.target), store_name or str(found.row.plan["store"])


def _compare(request: Request, options: Options, stop: threading.Event, certificate: str) -> _Ended:
    source, target = request.source, request.target
    with sides(source, target, request.store_name, skip_unreadable=options.skip_unreadable) as pair:
        if pair.migration is None:
            say(f"no migration of {source} to {target} is known; they are compared all the same")
        if isinstance(pair.reads, DatabaseRecipe) and pair.reads.layout.fingerprint != pair.layout.fingerprint:
            names = f"{pair.reads.layout.name!r}, the target's {pair.layout.name!r}"
            say(f"the source's layout is {names}; kinds and columns are compared by the target's")
        since = pair.ledger.now() if pair.migration is not None else None
        transient = bool(pair.migration and pair.migration.plan.get("include_transient"))
        known = replace(request, store_name=pair.store, include_transient=transient)
        try:
            with display() as watch:
                verdict = compare(pair, options, watch=watch, stop=stop)
        except CrossfadeError as error:
            if pair.migration is not None:
                refused(pair.ledger, pair.migration.migration, error, "not validated")
            raise
        head = _noted(pair, verdict, since)
        if certificate:
            write(certificate, certificate_of(pair, verdict))
            say(f"certificate {certificate}")
        return _Ended(verdict, known, head)


def _noted(pair: Sides, verdict: Verdict, since: datetime | None) -> bytes:
    """Write the verdict into the journal; its head. Nothing where the two sides have no migration in common.

    Where all was compared and found equal, or on its way, it is the migration's proof from now on, as of *since*.
    """
    if pair.migration is None or since is None:
        return b""
    found, names = (
        verdict.values(),
        ("entries", "compared", "bytes", "sample", "source_root", "target_root", "duration_seconds"),
    )
    classes = {klass: count for klass, count in found["classes"].items() if count}
    detail = {**{name: found[name] for name in names}, "classes": classes}
    pair.ledger.note(pair.migration.migration, "validated", detail, found["state"])
    if verdict.proves:
        ledger, migration = pair.ledger, pair.migration.migration
        ledger.change(lambda c: proofs.renew(c, ledger.schema, migration, since))
    return pair.ledger.journal_head(pair.migration.migration)


def _rehearse(request: Request, verdict: Verdict) -> None:
    """Show what would be mended. Nobody is kept from running the migration by a look."""
    with sides(request.source, request.target, request.store_name) as pair:
        source, target = pair.recipes
        to_files = not pair.target.is_database
        delete_extra = request.manner.delete_extra
        found = verdict.findings.differences
        for task in tasks_for(source, target, found, to_files=to_files, delete_extra=delete_extra):
            say(f"would mend {task.verb:<7} {spoken_path(task.entry.path)}")


def _mend(request: Request, verdict: Verdict) -> None:
    with prepared(request) as run:
        if run.cut:
            raise PhaseForbids(
                f"{', '.join(sorted(run.cut))} were cut over by themselves: neither side has the authority for all",
                hint=f"crossfade cutover {run.migration}, or rollback; then validate --repair",
            )
        found, delete_extra = verdict.findings.differences, request.manner.delete_extra
        tasks = tasks_for(run.source, run.target, found, to_files=run.to_files, delete_extra=delete_extra)
        for task in tasks:
            say(f"mending {task.verb:<7} {spoken_path(task.entry.path)}")
        run.ledger.note(run.migration, "repairing", _changes(tasks))
        mended, orphaned = mend(run, tasks), mend_orphans(run)
        run.ledger.note(run.migration, "repaired", {"paths": mended, "orphans": orphaned})
        say(
            f"{counted(mended, 'path')} mended"
            + (f", {counted(orphaned, 'record')} without an entry deleted" if orphaned else "")
        )


def _changes(tasks: list[Task]) -> dict[str, Any]:
    """What is about to be mended, for the journal: how much of what, and the first paths by name."""
    verbs = Counter(task.verb for task in tasks)
    return {"paths": len(tasks), "verbs": dict(verbs), "first": [spoken_path(task.entry.path) for task in tasks[:_NAMED]]}
