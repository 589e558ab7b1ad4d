"""``crossfade demo DIR``: the whole journey on a store that it makes itself. Every command it shows, it runs."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from itertools import count
from urllib.parse import quote

from psycopg import sql

from crossfade.console.commands.demo_live import live
from crossfade.console.finding import opened
from crossfade.console.talk import show, table
from crossfade.errors import Interrupted, OptionInvalid
from crossfade.store.backends.postgres.ledger import Ledger
from crossfade.store.location import parse
from crossfade.testing import prodigy

QUERIES = (
    (
        "how the sessions stand",
        "SELECT status, count(*) FROM crossfade.sessions GROUP BY 1 ORDER BY 2 DESC, 1",
        ("status", "count"),
    ),
    (
        "the busiest jobs, and how often their agents failed",
        (
            "SELECT job_id, count(*), count(*) FILTER (WHERE event_type = 'agent_failed') FROM crossfade.events"
            " GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 5"
        ),
        ("job_id", "events", "failed"),
    ),
)


def demo(directory: str, events: int) -> int:
    """The journey, in *directory*, which keeps all of it."""
    place = parse(directory)
    if place.scheme != "file":
        raise OptionInvalid("demo wants a new directory", hint="crossfade demo DIR")
    root = os.fsdecode(place.path)
    if os.path.exists(root) and os.listdir(root):
        raise OptionInvalid(f"{root} is not empty", hint=_elsewhere(root, events))
    try:
        return _journey(root, events)
    except KeyboardInterrupt:
        raise Interrupted(f"stopped; {root} keeps what was made until then", hint=_elsewhere(root, events)) from None


def _elsewhere(root: str, events: int) -> str:
    """The command that begins anew, in a directory beside *root* that is not there yet."""
    beside = next(name for number in count(2) if not os.path.exists(name := f"{root}-{number}"))
    return shlex.join(["crossfade", "demo", beside, "--events", str(events)])


def _journey(directory: str, events: int) -> int:
    """Make a store, plan, move it, query it, bring it back."""
    source, database, restored = (os.path.join(directory, name) for name in ("prodigy", "database", "restored"))
    url = f"embedded://{quote(os.fsencode(database))}"
    _title(f"A realistic ~/.prodigy: sessions, checkpoints, dead letters and {events:,} events")
    prodigy.build(source, events=events)
    status = 0
    _title("Look first: nothing is written")
    status |= _run("plan", source, url)
    _title("Copy it into PostgreSQL, and prove that every byte arrived")
    status |= _run("start", source, url, "--once")
    _title("It is a database now")
    _query(url)
    _title("Again, with nothing to do")
    status |= _run("start", source, url, "--once")
    _title("And back, into a new directory")
    status |= _run("start", url, restored, "--once")
    status |= live(directory, _run, _title)
    return 2 if status else 0


def _title(text: str) -> None:
    show(f"\n── {text} " + "─" * max(80 - len(text), 3))


def _run(*arguments: str) -> int:
    show(f"$ crossfade {shlex.join(arguments)}")
    return subprocess.run([sys.executable, "-m", "crossfade", *arguments], check=False).returncode


def _query(url: str) -> None:
    place = parse(url)
    with opened(place) as ledger:
        for title, query, head in QUERIES:
            show(f"\n-- {title}\n{query};")
            show(table(head, _rows(ledger, query)))


def _rows(ledger: Ledger, query: str) -> list[tuple[str, ...]]:
    with ledger.snapshot() as connection:
        rows = connection.execute(sql.SQL(query)).fetchall()
    return [tuple(f"{cell:,}" if isinstance(cell, int) else str(cell or "-") for cell in row) for row in rows]
