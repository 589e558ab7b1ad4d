"""``crossfade plan``: what is there, what will be hard, how long it will take. Reads only."""

from __future__ import annotations

import os
import shlex
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, replace
from typing import Any

from crossfade.console.talk import counted, lasting, say, show, show_json, sized, table
from crossfade.migrate.known import chosen_kinds, find_store, layout_of
from crossfade.migrate.plan import tree_name
from crossfade.migrate.prepare import Request, check_pair, refuse_empty
from crossfade.migrate.survey import Survey, count_entries, measure, measure_reading, take_stock
from crossfade.migrate.values import SCHEMA_VERSION
from crossfade.model import layouts
from crossfade.model.layouts import Layout
from crossfade.store.backends.postgres import schema
from crossfade.store.backends.postgres.ledger import Ledger
from crossfade.store.backends.postgres.server import Server
from crossfade.store.location import Location
from crossfade.store.registry import DatabaseRecipe, FileRecipe, serving


def plan(request: Request, *, as_json: bool) -> int:
    """Survey the source, measure on the target, show it."""
    check_pair(request.source, request.target)
    survey = Survey()
    with ExitStack() as held:
        layout, adds = _survey(request, survey, held)
    value = _value(request, layout, survey, adds)
    if as_json:
        show_json(value)
    else:
        show(_text(value, survey))
    return 0


def _survey(request: Request, survey: Survey, held: ExitStack) -> tuple[Layout, list[str]]:
    """Count and measure; the layout, and what would be added to a database source."""
    if request.source.is_database:
        server = held.enter_context(serving(request.source))
        row = find_store(Ledger(server, request.source.schema), request.source, request.store_name)
        layout = layouts.parse(row.layout, source=row.layout_name)
        stored = DatabaseRecipe(request.source, server, row.store_id, layout)
        refuse_empty(request, stored)
        database = stored.open()
        held.callback(database.close)
        sample = count_entries(database.entries(), _kinds(request, layout, request.target.store or row.name), survey)
        if not request.target.is_database:
            measure_reading(database, sample, survey)
            return layout, [f"rows of migrations, leases, marks, journal and quarantine in schema {request.source.schema}"]
        with _measuring_place(request.target) as place:
            measure(database, sample, layout, place, request.manner.workers, survey)
        return layout, []
    return _survey_files(request, survey, held), []


def _survey_files(request: Request, survey: Survey, held: ExitStack) -> Layout:
    """The same of a directory; the layout is that with which ``start`` would go on."""
    recipe = FileRecipe(
        request.source, layouts.load(request.layout or "prodigy"), request.include_transient, skip_unreadable=True
    )
    recipe.open().close()  # before a server is started for what is not there
    place = held.enter_context(_measuring_place(request.target))
    layout = _begun_with(request, place) or recipe.layout
    recipe = replace(recipe, layout=layout)
    files = recipe.open()
    held.callback(files.close)
    say(f"reading {request.source}")
    refuse_empty(request, recipe)
    name = tree_name(request.source, request.target, request.store_name)
    sample = take_stock(files, _kinds(request, layout, name), survey)
    measure(files, sample, layout, place, request.manner.workers, survey)
    return layout


def _begun_with(request: Request, place: Server) -> Layout | None:
    """The layout of the tree that would be filled, where it is there and no other is asked for."""
    if request.layout:
        return None
    with closing(Ledger(place, request.target.schema)) as ledger:
        return layout_of(ledger, request.source, tree_name(request.source, request.target, request.store_name))


def _kinds(request: Request, layout: Layout, name: str) -> frozenset[str] | None:
    """Those that ``start`` would move: a migration that was begun keeps to its own."""
    place = request.target if request.target.is_database else request.source
    if place.scheme == "embedded" and not os.path.isdir(place.path):
        return chosen_kinds(request, layout, None)
    with serving(place) as server, closing(Ledger(server, place.schema)) as ledger:
        rows = ledger.migrations() if ledger.version() is not None else []
    pair = (request.source.url, request.target.url, name)
    before = next((row for row in rows if (row.source, row.target, row.plan["store"]) == pair), None)
    return chosen_kinds(request, layout, before)


@contextmanager
def _measuring_place(target: Location) -> Iterator[Server]:
    """The target's server; for an embedded one that does not exist yet, another that is gone afterwards."""
    if target.scheme == "embedded" and not os.path.isdir(target.path):
        with tempfile.TemporaryDirectory(prefix="crossfade-plan-") as folder:
            place = replace(target, path=os.fsencode(os.path.join(folder, "pg")))
            with serving(place, create=True) as server:
                yield server
        return
    with serving(target) as server:
        schema_version = Ledger(server, target.schema)
        schema_version.version()
        schema_version.close()
        yield server


def _value(request: Request, layout: Layout, survey: Survey, adds: list[str]) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "source": request.source.url,
        "target": request.target.url,
        "layout": layout.name,
        "fingerprint": layout.fingerprint,
        "state": "planned",
        "reason": "nothing was written",
        "kinds": [{"kind": name, **asdict(kind)} for name, kind in sorted(survey.kinds.items())],
        "entries": survey.entries,
        "bytes": survey.size,
        "directories": survey.directories,
        "links": survey.links,
        "hazards": [{"reason": reason, **asdict(hazard)} for reason, hazard in sorted(survey.hazards.items())],
        "excluded": [asdict(item) for item in survey.left_out],
        "excluded_count": survey.left_out_count,
        "unreadable": [{"path": path, "why": why} for path, why in survey.unreadable],
        "adds_to_source": adds,
        "estimate": {
            "seconds": survey.seconds,
            "database_bytes": survey.database_bytes,
            "sampled_bytes": survey.sampled_bytes,
            "basis": survey.basis,
        },
        "schema_objects": _objects(request, layout),
        "next_steps": [{"command": _start(request), "why": "copy everything, prove it, exit"}],
    }


def _start(request: Request) -> str:
    """The command that carries out what was planned."""
    words = [request.source.url, request.target.url]
    for option, values in (("--only", request.only), ("--except", request.without), ("--add", request.add)):
        words += [word for value in values for word in (option, value)]
    for option, value in (("--layout", request.layout), ("--store-name", request.store_name)):
        words += [option, value] if value else []
    words += ["--include-transient"] if request.include_transient else []
    words += ["--allow-empty"] if request.manner.allow_empty else []
    return shlex.join(["crossfade", "start", *words, "--once"])


def _objects(request: Request, layout: Layout) -> int:
    """How many DDL statements a new schema takes; the script itself is ``crossfade schema --sql``."""
    return schema.ddl(request.target.schema, layout).count(";\n") if request.target.is_database else 0


def _text(value: dict[str, Any], survey: Survey) -> str:
    rows = [(str(kind["kind"]), f"{kind['entries']:,}", sized(kind["bytes"])) for kind in value["kinds"]]
    lines = [
        f"plan: {value['source']} to {value['target']}, layout {value['layout']}; nothing was written",
        table(("kind", "entries", "bytes"), rows),
        f"  and {counted(survey.directories, 'directory', 'directories')}, {counted(survey.links, 'link')}",
    ]
    if survey.hazards:
        lines.append(
            f"needs care (content looked at: {sized(survey.sampled_bytes)} of {sized(survey.size)}); all of it is kept:"
        )
        lines += [f"  {count.count:>7,}  {reason:<28} {count.paths[0]}" for reason, count in sorted(survey.hazards.items())]
    if survey.left_out:
        lines.append(f"not moved ({counted(survey.left_out_count, 'path')}):")
        lines += [f"  {item.fate:<9} {sized(item.bytes):>10}  {item.path}   by {item.rule}" for item in survey.left_out[:20]]
    if survey.unreadable:
        lines.append("cannot be read; start will stop there:")
        lines += [f"  {path}: {why}" for path, why in survey.unreadable[:20]]
    lines += [f"adds to the source: {what}" for what in value["adds_to_source"]]
    if survey.seconds is not None:
        size = "" if survey.database_bytes is None else f", {sized(survey.database_bytes)} in the database"
        lines.append(f"estimate: {lasting(survey.seconds)}{size}; from {survey.basis}")
    lines += [f"next: {step['command']}" for step in value["next_steps"]]
    return "\n".join(lines)
