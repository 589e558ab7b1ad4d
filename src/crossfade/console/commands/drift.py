"""``crossfade drift``: what somebody wrote on the side that does not decide, and what is to become of it."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any

from crossfade.console.commands.start import interruptible, patient
from crossfade.console.finding import Sought, sought
from crossfade.console.streams import while_read
from crossfade.console.talk import counted, say, say_head, show, show_json, show_listing, sized, table
from crossfade.errors import MigrationUnknown, OptionInvalid, RunnerActive
from crossfade.migrate.again import as_begun, request_again
from crossfade.migrate.follow.live import Live
from crossfade.migrate.plan import Manner
from crossfade.migrate.prepare import prepared
from crossfade.migrate.validate.sides import sides
from crossfade.migrate.values import SCHEMA_VERSION
from crossfade.migrate.versions import Version, Versions, versions
from crossfade.model.paths import text_of
from crossfade.store.backends.postgres import drift
from crossfade.store.backends.postgres.drift import Item, Which, Wish
from crossfade.store.port import Reading, Store

_POLL_SECONDS = 0.1
_RUNNER_SECONDS = 60.0
_DIFFERENT = 3


def list_items(words: tuple[str, ...], store: str, *, as_json: bool) -> int:
    """The open items; 3 where there are any. A page of them is in hand at a time."""
    states: Counter[str] = Counter()
    with sought(words, store) as found:
        pages = drift.pages(found.ledger.ask, found.ledger.schema, Which(found.row.migration))
        if as_json:
            _show_values(found, while_read(_counted(chain.from_iterable(pages), states)))
        else:
            for page in while_read(pages):
                _show_table(list(_counted(page, states)))
        head = found.ledger.journal_head(found.row.migration)
    if not states and not as_json:
        say("nothing has drifted")
    say_head(head)
    return _DIFFERENT if states else 0


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
    with sought(words, store, changes=True) as found:
        for number in numbers:
            _item(found, number)
        found.begin()
        states: Counter[str] = Counter()
        dealt = _counted(_dealt(found, wanted, numbers), states)
        if as_json:
            _show_values(found, dealt)
        else:
            for item in dealt:
                show(f"{item.item}  {text_of(item.seen.path)}: {item.state}; {item.outcome or 'not done yet'}")
        head = found.ledger.journal_head(found.row.migration)
        left = states.pop("open", 0)
        if not as_json:
            say(f"{counted(states.total(), 'item')} dealt with, {counted(left, 'item')} left open")
        say_head(head)
    return _DIFFERENT if left else 0


# Doing it


def _dealt(found: Sought, wanted: Wish, numbers: list[int]) -> Iterator[Item]:
    """Have items dealt with, all where none is named, a page after the other; each as it is then.

    Once a page is not done in time, the others are wished for, and not waited for.
    """
    ledger, migration, in_time = found.ledger, found.row.migration, True
    for chosen in _chosen(found, numbers):
        ledger.change(partial(drift.wish, schema=ledger.schema, migration=migration, wanted=wanted, chosen=chosen))
        in_time = in_time and _carry_out(found, chosen)
        yield from _named(found, chosen)


def _chosen(found: Sought, numbers: list[int]) -> Iterator[list[int]]:
    """The numbers of the items, by the page: those that are named, else all that are open, what is above first."""
    if numbers:
        yield from (numbers[at : at + drift.PAGE] for at in range(0, len(numbers), drift.PAGE))
        return
    for page in drift.pages_by_key(found.ledger.ask, found.ledger.schema, Which(found.row.migration)):
        yield [item.item for item in page]


def _counted(items: Iterable[Item], states: Counter[str]) -> Iterator[Item]:
    for item in items:
        states[item.state] += 1
        yield item


def _carry_out(found: Sought, chosen: list[int]) -> bool:
    """Wait for whoever runs the migration; where nobody does, do it here. False where that takes too long."""
    until = time.monotonic() + _RUNNER_SECONDS
    while any(item.wish is not None for item in _named(found, chosen)):
        if time.monotonic() >= until:
            return False
        if found.ledger.runner(found.row.migration) is None and _here(found):
            return True
        time.sleep(_POLL_SECONDS)
    return True


def _here(found: Sought) -> bool:
    """False where somebody runs it by now. Raises KeyboardInterrupt once the page in hand is done, where that was heard meanwhile."""
    stop, is_here = threading.Event(), True
    manner = as_begun(Manner(), found.row.wanted)
    request = replace(request_again(found.row, found.store, manner, "drift"), patient=patient(stop))
    try:
        with interruptible(stop), prepared(request) as run:
            Live(run, watch=lambda _: None, stop=stop, grace_seconds=0.0).deal_with_drift()
    except RunnerActive:  # somebody began to run it this moment
        is_here = False
    if stop.is_set():
        raise KeyboardInterrupt
    return is_here


# Looking


def _named(found: Sought, numbers: list[int]) -> list[Item]:
    ledger, migration = found.ledger, found.row.migration
    return ledger.ask(lambda c: drift.named(c, ledger.schema, migration, numbers))


def _item(found: Sought, number: int) -> Item:
    for item in _named(found, [number]):
        if item.state == "open":
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
            for block in while_read(other.read([Reading(entry)])):
                sys.stdout.buffer.write(block.data)
    sys.stdout.buffer.flush()


# Saying


def _show_values(found: Sought, items: Iterator[Item]) -> None:
    """For programs, each as it comes."""
    migration = found.row.migration
    value = {"schema_version": SCHEMA_VERSION, "migration": migration}
    show_listing(value, "items", map(_value, items), lambda: {"head": found.ledger.journal_head(migration).hex()})


def _show_table(page: list[Item]) -> None:
    show(table(("item", "side", "class", "path", "size", "seen", "times"), [_row(item) for item in page], left=4))
    for item in page:
        if item.outcome:
            say(f"{item.item}: {item.outcome}")


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
