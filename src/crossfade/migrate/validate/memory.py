"""What a validation has found so far, kept in the database: one that was interrupted goes on where it stopped.

A state is of use only for the same pair, the same options, and as long as nothing was copied since it began.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any, cast

import msgspec
from psycopg import sql

from crossfade.migrate.validate.sides import Sides
from crossfade.migrate.validate.validator import Extent, Findings
from crossfade.store.backends.postgres.server import Connection

_SECONDS = 2.0
_NEVER = datetime(1, 1, 1, tzinfo=UTC)


class Memory:
    """Remembers findings every few seconds."""

    def __init__(self, sides: Sides, extent: Extent, limit: int) -> None:
        self._ledger = sides.ledger
        self._pair = f"{sides.source.url} {sides.target.url} {sides.store_id}"
        self._options = f"{extent.percentage} {extent.seed} {limit}"
        self._basis = sides.migration.updated_at if sides.migration else _NEVER
        self._last = time.monotonic()

    def recall(self) -> Findings:
        """Where an interrupted validation stood; new findings where there is none."""
        query = self._sql("SELECT state FROM {}.validations WHERE pair = %s AND options = %s AND basis = %s")
        with self._ledger.snapshot() as connection:
            row = connection.execute(query, [self._pair, self._options, self._basis]).fetchone()
        return msgspec.json.decode(str(row[0]), type=Findings) if row else Findings()

    def keep(self, findings: Findings, *, at_once: bool = False) -> None:
        """Write *findings* down, if it was a while ago."""
        if at_once or time.monotonic() - self._last >= _SECONDS:
            self._last = time.monotonic()
            self._write(findings)

    def _write(self, findings: Findings) -> None:
        query = self._sql(
            "INSERT INTO {}.validations (pair, options, state, basis) VALUES (%s, %s, %s, %s)"
            " ON CONFLICT (pair, options) DO UPDATE SET state = excluded.state, basis = excluded.basis, updated_at = clock_timestamp()"
        )
        values = [self._pair, self._options, msgspec.json.encode(findings).decode(), self._basis]
        self._ledger.change(lambda connection: connection.execute(query, values))

    def forget(self) -> None:
        """It is done: the next one begins anew."""
        query = self._sql("DELETE FROM {}.validations WHERE pair = %s AND options = %s")

        def work(connection: Connection) -> None:
            connection.execute(query, [self._pair, self._options])

        self._ledger.change(work)

    def _sql(self, text: str) -> sql.Composed:
        return sql.SQL(cast("Any", text)).format(sql.Identifier(self._ledger.schema))
