"""The verified position of whoever follows: what was applied is found in its place, or brought anew; kept up to date, and kept.

A position that was reached in an earlier run is gone on from: what was written since then is in doubt.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial

import psycopg

from crossfade.errors import CrossfadeError, GateShut
from crossfade.migrate.follow.doubts import Doubts, Whole
from crossfade.migrate.follow.verifier import SHARE, Verifier, Wrong
from crossfade.migrate.prepare import Run
from crossfade.migrate.telling import Teller
from crossfade.model.changes import Page
from crossfade.model.entries import Entry
from crossfade.model.paths import text_of
from crossfade.observe.progress import Position
from crossfade.store.backends.postgres import proofs
from crossfade.store.backends.postgres.ledger import Ledger
from crossfade.store.port import Applied, Store

_RECALLED = 20_000
_SLACK = timedelta(seconds=5)
_TICK_SECONDS = 1.0
_KEPT_SECONDS = 5.0
_SHOWN_SECONDS = 30.0
_SCRUB_SECONDS = 6 * 3600.0
"""Between two looks at every byte of the target: what goes wrong by itself, or by hand, shows nowhere else."""


class Proving:
    """Proves what is applied to *target*, while *run* follows. *lag* says how far behind it is."""

    def __init__(self, run: Run, teller: Teller, *, source: Store, target: Store, lag: Callable[[], float]) -> None:
        self._run = run
        self._teller = teller
        self._ledger = Ledger(run.ledger.server, run.ledger.schema)
        self._doubts = Doubts()
        self._now: datetime | None = None
        self._ticked = self._kept = 0.0
        self._told: tuple[str, float] = "", 0.0
        self._kinds = sorted(run.kinds or {kind.name for kind in run.layout.kinds})
        self._scrubbed = time.monotonic()
        part = run.governor.part(SHARE)
        self._verifier = Verifier(
            self._doubts,
            target=target,
            books=target if target.can.digests else source,
            migration=run.migration,
            lag=lag,
            pace=lambda seconds: part.pace(seconds).seconds,
        )

    def begin(self) -> None:
        """Take up the position that an earlier run has reached."""
        run, schema = self._run, self._run.ledger.schema
        found = run.ledger.ask(lambda c: proofs.standing(c, schema, run.migration))
        self._now = found.now
        kinds = self._kinds
        since = found.at
        if since is None or found.is_ahead:
            self._doubts.prove(kinds, Whole(1, run.before.created_at if run.before else found.now))
            return
        written = self._written(since)
        if len(written) > _RECALLED:
            self._doubts.prove(kinds, Whole(len(written), since))
        else:
            self._doubts.recall(written, time.monotonic(), since)

    def _written(self, since: datetime) -> list[Entry]:
        """What was written since then, by the clock of the control database; a few more than can be recalled, at most."""
        run, (books, store_id) = self._run, self._run.books
        if books is not run.ledger:
            since += books.now() - run.ledger.now() - _SLACK  # another server has another clock
        limit, marked = _RECALLED + 1, run.to_files
        work = partial(proofs.lately, schema=books.schema, store_id=store_id, migration=run.migration)
        return books.ask(lambda c: work(c, kinds=self._kinds, since=since, limit=limit, marked=marked))

    def took(self, page: Page, applied: Applied) -> None:
        """*page* was applied."""
        self._doubts.took(page, applied, time.monotonic(), self._now)

    def turn(self, now: float) -> list[Wrong]:
        """Verify a little; what is not as it was applied. Raises ContentDiffers for what was brought anew, and is not so still."""
        self._tick(now)
        if now - self._scrubbed >= _SCRUB_SECONDS:
            self._scrubbed = now
            self._doubts.prove(self._kinds, Whole())
        return self._told_of(self._verifier.slice(now))

    def rush(self, until: float) -> list[Wrong]:
        """Verify what is left, up to *until*; what has to be dealt with before it can go on."""
        return self._told_of(self._verifier.rush(until))

    @property
    def unverified(self) -> int:
        """How many changes were applied and not verified yet."""
        return self._doubts.changes

    def check_settled(self) -> None:
        """Raises GateShut where something is left."""
        if not self._doubts.is_settled:
            raise GateShut(
                f"{self.unverified:,} changes are not verified yet; nothing was handed over", hint="try again, or --hold-max"
            )

    @property
    def position(self) -> Position:
        """As it is shown."""
        doubts, at = self._doubts, self.verified_at
        return Position(doubts.applied, doubts.changes, doubts.size, at.isoformat() if at else "")

    @property
    def verified_at(self) -> datetime | None:
        """What was applied before then, by the server's clock, is verified."""
        return self._doubts.at or self._now

    @property
    def now(self) -> datetime:
        """What is applied later is later than that, by the server's clock. Only once it has begun."""
        assert self._now is not None
        return self._now

    @property
    def reason(self) -> str:
        """What was found to be wrong a moment ago."""
        return self._told[0] if time.monotonic() < self._told[1] else ""

    def keep(
        self, positions: Iterable[datetime | None], reread: Callable[[], list[datetime | None]], *, at_once: bool = False
    ) -> None:
        """Write down how far it is, now and then: as far as the last of *positions*, of all that are followed.

        *reread* says likewise up to when logs were read whole; None among them says that nothing is to be written down.
        """
        now, found = time.monotonic(), list(positions)
        if None in found or (now - self._kept < _KEPT_SECONDS and not at_once):
            return
        self._kept, at = now, min(time for time in found if time is not None)
        whole = reread()
        reread_at = None if None in whole else min(time for time in whole if time is not None)
        with suppress(psycopg.Error, CrossfadeError):
            self._ledger.change(lambda c: proofs.keep(c, self._ledger.schema, self._run.migration, at, reread_at))

    def close(self) -> None:
        """Let go of the connection."""
        self._ledger.close()

    def _told_of(self, wrong: list[Wrong]) -> list[Wrong]:
        """*wrong*, once it is in the journal, and shown for a while."""
        for found in wrong:
            if found.is_ours:
                path, detail = text_of(found.path), found.detail
                said = f"{path} was not as it was applied ({detail}); brought anew"
                self._told = said, time.monotonic() + _SHOWN_SECONDS
                self._run.scribe.say("verification differs", {"path": path, "detail": detail}, "brought anew")
        return wrong

    # The server's clock

    def _tick(self, now: float) -> None:
        """Ask what time it is: what is applied later is later than that."""
        if now - self._ticked < _TICK_SECONDS:
            return
        self._ticked = now
        with suppress(psycopg.Error, CrossfadeError):
            self._now = self._ledger.now()
