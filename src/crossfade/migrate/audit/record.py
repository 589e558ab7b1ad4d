"""How a run begins and ends in the journal: lines that an earlier runner had to keep back, refusals, failures."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

import psycopg

from crossfade.errors import CrossfadeError, Interrupted, Refused, TargetUnreachable
from crossfade.migrate.audit.scribe import Scribe
from crossfade.migrate.audit.spool import Left, left_behind
from crossfade.store.backends.postgres import journal
from crossfade.store.backends.postgres.ledger import Ledger
from crossfade.store.backends.postgres.server import Connection, translate

Error = TypeVar("Error", bound=CrossfadeError)


def refused(ledger: Ledger, migration: str, error: Error, event: str = "refused") -> Error:
    """Write down that something was not done to *migration*, where its ledger takes it; *error* again, to be raised."""
    with suppress(CrossfadeError, psycopg.Error):
        ledger.note(migration, event, {"code": error.code}, error.sentence)
        error.head = ledger.journal_head(migration).hex()
    return error


@contextmanager
def recorded(ledger: Ledger, scribe: Scribe, migration: str) -> Iterator[None]:
    """Around a run: what was kept back comes first, what ends the run comes last, and an error knows the journal's head."""
    bring_what_was_left(ledger, migration)
    try:
        yield
    except (CrossfadeError, psycopg.Error, OSError) as error:
        scribe.flush()
        _say_how_it_ended(scribe, error)
        scribe.flush()
        if isinstance(error, CrossfadeError) and not isinstance(error, TargetUnreachable):
            ledger.patience_seconds = 0.0
            with suppress(CrossfadeError, psycopg.Error):
                error.head = ledger.journal_head(migration).hex()
        raise
    finally:
        scribe.close()


def _say_how_it_ended(scribe: Scribe, error: CrossfadeError | psycopg.Error | OSError) -> None:
    """An interruption is a phase, and has its line."""
    if isinstance(error, OSError):
        scribe.say("failed", {"errno": error.errno}, error.strerror or type(error).__name__)
        return
    coded = translate(error, "the database") if isinstance(error, psycopg.Error) else error
    if not isinstance(coded, Interrupted):
        scribe.say("refused" if isinstance(coded, Refused) else "failed", {"code": coded.code}, coded.sentence)


def bring_what_was_left(ledger: Ledger, migration: str) -> None:
    """Append what processes that are gone had to keep back while the database was away. Each line stands there once.

    A file with lines that this release does not know stays for the release that wrote them; the journal says so, once.
    """
    for left in left_behind(migration):
        lines = [*left.lines, *_unread(left)]

        def work(connection: Connection, lines: list[journal.Line] = lines) -> None:
            for line in lines:
                journal.append(connection, ledger.schema, migration, line)

        with suppress(CrossfadeError, psycopg.Error):
            ledger.change(work)
            if not left.unread:
                os.unlink(left.path)


def _unread(left: Left) -> list[journal.Line]:
    if not left.unread:
        return []
    name, why = os.path.basename(left.path), "a newer release wrote them, and can read them"
    number = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{name} {left.unread}"))
    return [journal.Line("lines left unread", {"count": left.unread, "file": name}, why, line=number)]
