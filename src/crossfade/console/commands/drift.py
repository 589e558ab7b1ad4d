"""``crossfade drift``: what somebody wrote on the side that does not decide, and what is to become of it."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from crossfade.console.commands.start import interruptible, patient
from crossfade.console.finding import Sought, sought
from crossfade.console.talk import counted, say, say_head, show, show_json, sized, table
from crossfade.errors import MigrationUnknown, OptionInvalid, RunnerActive
from crossfade.migrate.again import request_again
from crossfade.migrate.follow.live import Live
from crossfade.migrate.plan import Manner
from crossfade.migrate.prepare import prepared
from crossfade.migrate.report import SCHEMA_VERSION
from crossfade.migrate.validate.sides import sides
from crossfade.migrate.versions import Version, Versions, versions
from crossfade.model.paths import text_of
from crossfade.store.backends.postgres import drift
from crossfade.store.backends.postgres.drift import Item, Wish
from crossfade.store.port import Reading, Store

_POLL_SECONDS = 0.1
_RUNNER_SECONDS = 60.0
_DIFFERENT = 3


def list_items(words: tuple[str, ...], store: str, *, as_json: bool) -> int:
    """The open items; 3 where there are any."""
    with sought(words, store) as found:
        items, head = _open(found), found.ledger.journal_head(found.row.migration)
    if as_json:
        value = {"schema_version": SCHEMA_VERSION, "migration": found.row.migration}
        show_json({**value, "items": [_value(item) for item in items], "head": head.hex()})
    elif items:
        head_row = ("item", "side", "class", "path", "size", "seen", "times")
        show(table(head_row, [_row(item) for item in items], left=4))
        for item in items:
            if item.outcome:
                say(f"{item.item}: {item.outcome}")
    else:
        say("nothing has drifted")
    say_head(head)
    return _DIFFERENT if items else 0


def show_item(words: tuple[str, ...], store: str, number: int, *, content: bool, as_json: bool) -> int:
    """The two versions side by side, or with *content* the bytes of the one that does not count, verbatim."""
    with sought(words, store) as found:
        item, head = _item(found, number), found.ledger.journal_head(found.row.migration)
        with _both(found) as (authority, other):
            if content:
                _print(other, item)
            else:
                _show(item, versions(authority, other, item.seen.path), head, as_json=as_json)
    say_head(head)
    return 0


def deal(words: tuple[str, ...], store: str, wanted: Wish, numbers: list[int], *, as_json: bool) -> int:
    """Have items ignored or taken, by whoever runs the migration, or here; 3 where some are left open."""
    with sought(words, store) as found:
        ledger, migration = found.ledger, found.row.migration
        for number in numbers:
            _item(found, number)
        chosen = ledger.change(lambda c: drift.wish(c, ledger.schema, migration, wanted, numbers or None))
        _carry_out(found, chosen)
        items = ledger.ask(lambda c: drift.named(c, ledger.schema, chosen))
        head = ledger.journal_head(migration)
    left = sum(item.state == "open" for item in items)
    if as_json:
        value = {"schema_version": SCHEMA_VERSION, "migration": migration}
        show_json({**value, "items": [_value(item) for item in items], "head": head.hex()})
    else:
        for item in items:
            show(f"{item.item}  {text_of(item.seen.path)}: {item.state}; {item.outcome or 'not done yet'}")
        say(f"{counted(len(items) - left, 'item')} dealt with, {counted(left, 'item')} left open")
    say_head(head)
    return _DIFFERENT if left else 0


# Doing it


def _carry_out(found: Sought, chosen: list[int]) -> None:
    """Wait for whoever runs the migration; where nobody does, do it here."""
    until = time.monotonic() + _RUNNER_SECONDS
    while _is_wished(found, chosen) and time.monotonic() < until:
        if found.ledger.runner(found.row.migration) is None and _here(found):
            return
        time.sleep(_POLL_SECONDS)


def _here(found: Sought) -> bool:
    stop = threading.Event()
    request = replace(request_again(found.row, found.store, Manner(merge=False), "drift"), patient=patient(stop))
    try:
        with interruptible(stop), prepared(request) as run:
            Live(run, watch=lambda _: None, stop=stop, grace_seconds=0.0).deal_with_drift()
    except RunnerActive:  # somebody began to run it this moment
        return False
    return True


def _is_wished(found: Sought, chosen: list[int]) -> bool:
    return any(item.wish is not None for item in _open(found) if item.item in chosen)


# Looking


def _open(found: Sought) -> list[Item]:
    ledger = found.ledger
    return ledger.ask(lambda c: drift.items(c, ledger.schema, found.row.migration))


def _item(found: Sought, number: int) -> Item:
    for item in _open(found):
        if item.item == number:
            return item
    raise OptionInvalid(f"there is no open item {number}", hint=f"crossfade drift {found.row.migration} list")


@contextmanager
def _both(found: Sought) -> Iterator[tuple[Store, Store]]:
    """The side that decides, and the other one, to be read."""
    request = request_again(found.row, found.store, Manner(), "drift")
    with sides(request.source, request.target, request.store_name) as pair:
        if pair.migration is None:
            raise MigrationUnknown("the pair is not the migration's any more", hint="crossfade list")
        authority, other = (recipe.open(0) for recipe in pair.recipes)
        try:
            yield authority, other
        finally:
            authority.close()
            other.close()


def _print(other: Store, item: Item) -> None:
    for entry in other.look([item.seen.path]):
        if entry.type == "file":
            for block in other.read([Reading(entry)]):
                sys.stdout.buffer.write(block.data)
    sys.stdout.buffer.flush()


# Saying


def _show(item: Item, compared: Versions, head: bytes, *, as_json: bool) -> None:
    if not as_json:
        show(_side_by_side(item, compared))
        return
    spoken = {"authority": _version(compared.authority), "other": _version(compared.other)}
    value = {"schema_version": SCHEMA_VERSION, **_value(item), **spoken, "differs_at": compared.differs_at}
    show_json({**value, "head": head.hex()})


def _value(item: Item) -> dict[str, Any]:
    seen = item.seen
    return {
        "item": item.item,
        "side": seen.side,
        "path": text_of(seen.path),
        "key": seen.key.hex(),
        "kind": seen.kind,
        "class": seen.klass,
        "type": seen.type,
        "size": seen.size,
        "first_seen": item.first_seen,
        "last_seen": item.last_seen,
        "count": item.count,
        "state": item.state,
        "wish": item.wish,
        "outcome": item.outcome,
    }


def _row(item: Item) -> tuple[str, ...]:
    seen, when = item.seen, f"{item.last_seen:%Y-%m-%d %H:%M:%S}"
    size = "-" if seen.type == "gone" else sized(seen.size)
    return str(item.item), seen.side, seen.klass, text_of(seen.path), size, when, str(item.count)


def _version(version: Version) -> dict[str, Any] | None:
    entry, digest = version.entry, version.digest
    if entry is None:
        return None
    described = {"type": entry.type, "size": entry.size, "mode": entry.mode, "mtime_ns": entry.mtime_ns}
    return {**described, "digest": digest.hex() if digest else None}


def _side_by_side(item: Item, compared: Versions) -> str:
    one, other = _version(compared.authority), _version(compared.other)
    names = ("type", "size", "mode", "mtime_ns", "digest")
    rows = [(name, _cell(name, one), _cell(name, other)) for name in names]
    lines = [f"item {item.item}  {item.seen.klass}  {text_of(item.seen.path)}"]
    lines.append(table(("", "the side that decides", f"the {item.seen.side}"), rows, left=3))
    if compared.differs_at is not None:
        lines.append(f"the content differs from offset {compared.differs_at} on")
    return "\n".join(lines)


def _cell(name: str, version: dict[str, Any] | None) -> str:
    if version is None:
        return "nothing" if name == "type" else "-"
    value = version[name]
    return f"{value:o}" if name == "mode" else str(value)[:16] if name == "digest" and value else str(value)
