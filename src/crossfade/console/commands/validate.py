"""``crossfade validate``: is the target what the source is? Never 0 on a difference."""

from __future__ import annotations

import secrets
import shlex
import threading
from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from crossfade.console import settings
from crossfade.console.commands.start import interruptible, patient
from crossfade.console.finding import sought
from crossfade.console.found_again import found_again, hints_found_again
from crossfade.console.progress import display
from crossfade.console.talk import counted, say, say_head, show, show_json, this_command
from crossfade.console.verdicts import judged, next_steps, spoken_path
from crossfade.errors import AGAIN, CrossfadeError, Interrupted, OptionInvalid, PhaseForbids
from crossfade.migrate.again import as_begun, request_again
from crossfade.migrate.audit.record import refused
from crossfade.migrate.certificate import certificate as certificate_of
from crossfade.migrate.certificate import check_file, write
from crossfade.migrate.decide import Task
from crossfade.migrate.known import tree_option
from crossfade.migrate.plan import Manner
from crossfade.migrate.prepare import Request, prepared
from crossfade.migrate.validate.ending import sides_of
from crossfade.migrate.validate.repair import Mended, check_believed, check_mendable, mend, tasks_for, way_to_mend
from crossfade.migrate.validate.sides import Sides, sides
from crossfade.migrate.validate.validation import validate as compare
from crossfade.migrate.validate.validator import Extent
from crossfade.migrate.validate.verdict import Options, Verdict
from crossfade.store.backends.postgres import journal, proofs
from crossfade.store.backends.postgres.journal import Line
from crossfade.store.backends.postgres.server import Connection
from crossfade.store.layers.retrying import Patience
from crossfade.store.location import Location
from crossfade.store.registry import DatabaseRecipe

_NAMED = 100
"""How many paths a line of the journal names, at most; it counts them all."""


def options_of(
    sample_percentage: float, seed: int | None, jobs: int, max_report: int, *, skip_unreadable: bool, certificate: str
) -> Options:
    """How a validation is carried out, from what was typed. A certificate says nothing of what was not looked at."""
    percentage = settings.positive(sample_percentage, "--sample-percentage")
    if certificate and percentage < 100:
        raise OptionInvalid(
            "a sample proves nothing that could be certified", hint="--certificate without --sample-percentage"
        )
    return Options(
        _extent(percentage, seed),
        int(settings.positive(jobs, "--jobs")),
        int(settings.positive(max_report, "--max-report")),
        Patience(settings.patience_seconds()),
        skip_unreadable,
    )


def _extent(percentage: float, seed: int | None) -> Extent:
    """All of it, or a sample: another one each time, unless it is named."""
    if percentage >= 100:
        return Extent()
    return Extent(percentage, secrets.randbits(32) if seed is None else seed)


def validate(
    words: tuple[str, ...],
    store: str,
    store_name: str,
    options: Options,
    *,
    repair: bool,
    dry_run: bool,
    delete_extra: bool,
    allow_removals: bool,
    certificate: str,
    as_json: bool,
) -> int:
    """Compare; with *repair*, mend and compare again; with *certificate*, write one."""
    manner = Manner(
        delete_extra=delete_extra,
        allow_removals=allow_removals,
        skip_unreadable=options.skip_unreadable,
        patience_seconds=options.patience.deadline_seconds,
    )
    request = _request(words, store, store_name, manner, changes=repair and not dry_run)
    options = replace(options, skip_unreadable=request.manner.skip_unreadable)
    with hints_found_again(request.control.url):
        ended = _carried_out(request, options, certificate, repair=repair, dry_run=dry_run)
    return _show(ended, as_json=as_json)


@dataclass(frozen=True)
class _Ended:
    """The verdict on two *sides*, the one with the authority first; the head of the journal.

    By *request* what differs can be mended, with the plan that this pair was begun with; *steps* are what to type next.
    """

    verdict: Verdict
    sides: tuple[Location, Location]
    request: Request
    steps: list[dict[str, str]]
    head: bytes


def _carried_out(request: Request, options: Options, certificate: str, *, repair: bool, dry_run: bool) -> _Ended:
    """What it came to, once all that can be mended is."""
    if certificate:
        check_file(certificate, request.source, request.target)
    if repair:
        _check_mendable(request)
    stop = threading.Event()
    with interruptible(stop, this_command(options.again)):
        ended = _compare(request, options, stop, certificate)
        while repair and ended.verdict.exit == 3:
            if dry_run:
                _rehearse(request, ended.verdict)
                break
            mended = _mend(ended.request, ended.verdict, stop)
            if stop.is_set():
                raise Interrupted(
                    "stopped while it mended; what was mended stands", hint=f"{AGAIN} {options.again}".rstrip()
                )
            say("validating again")
            before = ended.verdict.count
            ended = _compare(ended.request, options, stop, certificate)
            if mended.left or ended.verdict.count >= before:
                break
    return ended


def _show(ended: _Ended, *, as_json: bool) -> int:
    source, target = ended.sides
    steps = [{**step, "command": found_again(step["command"], ended.request.control.url)} for step in ended.steps]
    if as_json:
        value = ended.verdict.values() | {"head": ended.head.hex() or None, "next_steps": steps}
        show_json({"source": source.url, "target": target.url, **value})
    else:
        show(judged(ended.verdict, ended.sides, steps))
    if ended.head:
        say_head(ended.head)
    return ended.verdict.exit


def _request(words: tuple[str, ...], store: str, store_name: str, manner: Manner, *, changes: bool) -> Request:
    """The pair that *words* mean, as it was begun, where they name a migration."""
    if len(words) == 2:
        source, target = map(settings.location, words)
        return Request(source, target, store_name=store_name, manner=manner, verb="repair")
    with sought(words, store, changes=changes) as found:
        request = request_again(found.row, found.store, as_begun(manner, found.row.wanted), "repair")
    return replace(request, store_name=store_name or request.store_name)


def _check_mendable(request: Request) -> None:
    with sides(request.source, request.target, request.store_name, skip_unreadable=request.manner.skip_unreadable) as pair:
        check_mendable(pair)


def _compare(request: Request, options: Options, stop: threading.Event, certificate: str) -> _Ended:
    source, target = request.source, request.target
    with sides(source, target, request.store_name, skip_unreadable=options.skip_unreadable) as pair:
        if pair.migration is None:
            say(f"no migration of {source} to {target} is known; they are compared all the same")
        if isinstance(pair.reads, DatabaseRecipe) and pair.reads.layout.fingerprint != pair.layout.fingerprint:
            names = f"{pair.reads.layout.name!r}, the target's {pair.layout.name!r}"
            say(f"the source's layout is {names}; kinds and columns are compared by the target's")
        since = pair.ledger.now() if pair.migration is not None else None
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
        steps = next_steps(verdict, _mending(request, pair) if verdict.exit == 3 else {})
        return _Ended(verdict, (pair.source, pair.target), _as_begun(request, pair), steps, head)


def _mending(request: Request, pair: Sides) -> dict[str, str]:
    """What mends the target of *pair*; or, where that is refused, what leads on from there."""
    try:
        check_mendable(pair)
    except PhaseForbids as error:
        command, _, why = error.hint.partition("   # ")
        return {"command": command, "why": why or error.sentence}
    if not pair.source.is_database and (first := way_to_mend(pair.migration)):
        return {"command": first, "why": f"a restore of {pair.source} was begun and not proven"}
    return {"command": f"{_again(request, pair)} --repair", "why": f"mends {pair.target}"}


def _again(request: Request, pair: Sides) -> str:
    """The command that compares *pair* once more, whatever else there is that came from the same source."""
    source, target, name = request.source, request.target, []
    if not (source.is_database and target.is_database):
        name = tree_option(pair.ledger, source, target, pair.store)
    elif request.store_name:
        name = ["--store-name", request.store_name]
    skip = ["--skip-unreadable"] if request.manner.skip_unreadable else []
    return shlex.join(["crossfade", "validate", source.url, target.url, *name, *skip])


def _as_begun(request: Request, pair: Sides) -> Request:
    """*request* with what need not be said again. Between two databases a name is the source's, and found by itself."""
    transient = bool(pair.migration and pair.migration.plan.get("include_transient"))
    name = request.store_name if request.source.is_database and request.target.is_database else pair.store
    return replace(request, store_name=name, include_transient=transient)


def _noted(pair: Sides, verdict: Verdict, since: datetime | None) -> bytes:
    """Write the verdict into the journal; its head. Nothing where the two sides have no migration in common.

    Where all was compared and found equal, or on its way, it is the migration's proof from now on, as of *since*. Where
    something differs, an earlier proof holds no more.
    """
    if pair.migration is None or since is None:
        return b""
    found, names = (
        verdict.values(),
        ("entries", "compared", "bytes", "sample", "source_root", "target_root", "duration_seconds"),
    )
    classes = {klass: count for klass, count in found["classes"].items() if count}
    ledger, migration = pair.ledger, pair.migration.migration
    line = Line("validated", {**{name: found[name] for name in names}, "classes": classes}, found["state"])

    def work(connection: Connection) -> None:
        journal.append(connection, ledger.schema, migration, line)
        if verdict.exit == 3:
            proofs.withdraw(connection, ledger.schema, migration)
        elif verdict.proves:
            proofs.renew(connection, ledger.schema, migration, verdict.holds_from(since))

    ledger.change(work)
    return ledger.journal_head(migration)


def _rehearse(request: Request, verdict: Verdict) -> None:
    """Show what would be mended. Nobody is kept from running the migration by a look."""
    manner = request.manner
    with sides(request.source, request.target, request.store_name, skip_unreadable=manner.skip_unreadable) as pair:
        source, target = pair.recipes
        check_believed(pair, request, _removals(verdict))
        to_files = not pair.target.is_database
        found = verdict.findings.differences
        for task in tasks_for(source, target, found, to_files=to_files, delete_extra=manner.delete_extra):
            say(f"would mend {task.verb:<7} {spoken_path(task.entry.path)}")


def _mend(request: Request, verdict: Verdict, stop: threading.Event) -> Mended:
    with prepared(replace(request, patient=patient(stop))) as run:
        if run.cut:
            raise PhaseForbids(
                f"{', '.join(sorted(run.cut))} were cut over by themselves: neither side has the authority for all",
                hint=f"crossfade cutover {run.migration}   # or rollback; then validate --repair",
            )
        check_believed(sides_of(run), run.request, _removals(verdict))
        found, delete_extra = verdict.findings.differences, request.manner.delete_extra
        tasks = tasks_for(run.source, run.target, found, to_files=run.to_files, delete_extra=delete_extra)
        for task in tasks:
            say(f"mending {task.verb:<7} {spoken_path(task.entry.path)}")
        run.ledger.note(run.migration, "repairing", _changes(tasks))
        mended = mend(run, tasks, stop.is_set)
        detail = {"paths": mended.paths, "left": len(mended.left), "orphans": mended.strays}
        run.ledger.note(run.migration, "repaired", detail)
        _say_mended(mended)
        return mended


def _removals(verdict: Verdict) -> int:
    """How many entries mending all would remove, round by round: no round names them all."""
    return verdict.findings.classes.get("extra", 0)


def _say_mended(mended: Mended) -> None:
    for path in mended.left[:_NAMED]:
        say(f"left as it is: {spoken_path(path)}; somebody wrote there meanwhile")
    strays = f", {counted(mended.strays, 'record')} without an entry deleted" if mended.strays else ""
    say(f"{counted(mended.paths, 'path')} mended{strays}")


def _changes(tasks: list[Task]) -> dict[str, Any]:
    """What is about to be mended, for the journal: how much of what, and the first paths by name."""
    verbs = Counter(task.verb for task in tasks)
    return {"paths": len(tasks), "verbs": dict(verbs), "first": [spoken_path(task.entry.path) for task in tasks[:_NAMED]]}
