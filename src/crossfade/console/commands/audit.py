"""``crossfade audit``: what was done to a migration, line by line, and whether these lines are still what they were."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from crossfade.console.finding import Sought, sought
from crossfade.console.found_again import found_again
from crossfade.console.streams import while_read
from crossfade.console.talk import counted, say_head, show, show_json, show_listing
from crossfade.errors import JournalBroken, OptionInvalid
from crossfade.migrate.audit.record import bring_what_was_left
from crossfade.migrate.audit.verify import Chain, verify
from crossfade.migrate.values import SCHEMA_VERSION
from crossfade.store.backends.postgres import journal
from crossfade.store.backends.postgres.journal import Written

_LATE_SECONDS = 2.0
"""A line that was appended so much later than it was said was kept back."""


def audit(words: tuple[str, ...], store: str, *, limit: int, since: str, as_json: bool) -> int:
    """Show the lines, oldest first: all, the last *limit*, or those since a time."""
    moment = _moment(since)
    with sought(words, store) as found:
        bring_what_was_left(found.ledger, found.row.migration)
        head = found.ledger.journal_head(found.row.migration)
        first = _first(found, limit, moment)
        if as_json:
            value = {"schema_version": SCHEMA_VERSION, "migration": found.row.migration}
            show_listing(value, "lines", map(value_of, while_read(_lines(found, first))), lambda: {"head": head.hex()})
        else:
            for line in while_read(_lines(found, first)):
                show(_text(line))
    say_head(head)
    return 0


def verify_chain(words: tuple[str, ...], store: str, known: str, *, as_json: bool) -> int:
    """Compute every hash anew. Raises JournalBroken, naming the first line that is wrong."""
    if known and not re.fullmatch(r"[0-9a-f]{16,64}", known.lower()):
        raise OptionInvalid(f"--head {known!r} is no head", hint="the hash that a verb printed; 16 of its digits are enough")
    with sought(words, store) as found:
        migration = found.row.migration
        chain = verify(lambda: _lines(found, 0), known.lower())
    if as_json:
        show_json({"schema_version": SCHEMA_VERSION, "migration": migration, **chain.values(), "head": chain.head.hex()})
    if chain.broken is not None:
        again = found_again(f"crossfade audit {migration}", found.store.url)
        raise JournalBroken(
            f"the journal of migration {migration}: {chain.broken.sentence}",
            hint=f"{again}   # and a backup of the database, to compare with",
        )
    if not as_json:
        show(f"the journal of migration {migration} holds: {_scope(chain, known)}")
    say_head(chain.head)
    return 0


def _scope(chain: Chain, known: str) -> str:
    whole = f"{counted(chain.lines, 'line')}, none edited, removed or put into another order"
    return whole + (", and the head that was named is among them" if known else "; --head H tells whether the end is there")


def _moment(text: str) -> datetime | None:
    """A time as people write it; without an offset, UTC."""
    try:
        moment = datetime.fromisoformat(text) if text else None
    except ValueError:
        raise OptionInvalid(f"--since {text!r} is no time", hint="--since 2026-11-23T01:00:00") from None
    return moment.replace(tzinfo=UTC) if moment and moment.tzinfo is None else moment


def _first(found: Sought, limit: int, since: datetime | None) -> int:
    """The number of the line before the first that is wanted."""
    schema, migration = found.ledger.schema, found.row.migration
    with found.ledger.snapshot() as connection:
        last = journal.count(connection, schema, migration)
        after = journal.count(connection, schema, migration, since=since) if since else 0
    return max(after, last - limit if limit else 0)


def _lines(found: Sought, after: int) -> Iterator[Written]:
    with found.ledger.snapshot() as connection:
        yield from journal.read(connection, found.ledger.schema, found.row.migration, after=after)


def value_of(line: Written) -> dict[str, Any]:
    """A line for programs. The migration's id is the beginning of the plan's hash."""
    return {
        "line": line.seq,
        "id": line.line,
        "at": line.at,
        "said_at": line.said_at,
        "actor": line.actor,
        "host": line.host,
        "event": line.event,
        "reason": line.reason,
        "plan": line.migration,
        "detail": json.loads(line.detail),
        "hash": line.hash.hex(),
    }


def _text(line: Written) -> str:
    late = (line.at - line.said_at).total_seconds() > _LATE_SECONDS
    said = [f"(said {line.said_at.astimezone(UTC):%Y-%m-%d %H:%M:%S})"] if late else []
    rest = [part for part in (line.reason, *_figures(json.loads(line.detail))) if part]
    moment = f"{line.at.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}"[:-3]
    return "  ".join(
        [f"{line.seq:>5}  {moment}  {line.actor}@{line.host}  {line.event:<16}", "; ".join(rest), *said]
    ).rstrip()


def _figures(detail: dict[str, Any]) -> Iterator[str]:
    """What a line's detail says, for people: no plan, and of a hash its beginning; ``--json`` has all of it."""
    for name, value in detail.items():
        if name != "plan" and value not in ({}, []):
            yield f"{name} {_spoken(value)}"


def _spoken(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_spoken(inner)}" for name, inner in value.items())
    if isinstance(value, list):
        return ", ".join(map(_spoken, value[:5])) + (f", and {len(value) - 5} more" if len(value) > 5 else "")
    text = str(value)
    return text[:16] if re.fullmatch(r"[0-9a-f]{64}", text) else text
