"""The steps of a hand-over, done and undone on a tree of files and its twin in a database.

The decision is one transaction in the database, which holds the gate of the database's side closed until it ends: the
route, the direction of the migration, the cursor of the reverse stream and the line in the journal commit together.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace

from crossfade.errors import Fenced, GateShut
from crossfade.migrate.handover.hold import Hold
from crossfade.migrate.handover.noting import in_time, note_changes, noted
from crossfade.migrate.handover.order import WISH, Order
from crossfade.migrate.handover.standing import Move
from crossfade.migrate.handover.twin import Twin
from crossfade.migrate.prepare import Run
from crossfade.observe.failpoints import durable
from crossfade.store.backends.file.gate import Marker
from crossfade.store.backends.postgres import direction, drift, feed, journal, route
from crossfade.store.backends.postgres.journal import Line
from crossfade.store.backends.postgres.server import Connection

_MARGIN_SECONDS = 2.0
"""After a hold, until the server ends it by itself, and an exchange with it is given up."""


class Acts:
    """The acts of one try of *order*. *drain* brings over what is known, within so many seconds; *prove* verifies it."""

    def __init__(
        self,
        run: Run,
        twin: Twin,
        order: Order,
        move: Move,
        *,
        prepare: Callable[[], None],
        drain: Callable[[list[bytes], float], None],
        prove: Callable[[float], None],
    ) -> None:
        self._run = run
        self._twin = twin
        self._order = order
        self._move = move
        self._prepare = prepare
        self._drain = drain
        self._prove = prove
        self._held = ExitStack()
        self._connection: Connection | None = None
        self._before: Marker | None = None
        self._hold = Hold(order.hold_max, self._undo_fence)
        self._tolerated = 0
        self._strayed: list[bytes] = []
        self.step_ms: dict[str, float] = {}

    @property
    def hold_seconds(self) -> float:
        """How long writers had to wait."""
        return self._hold.lasted

    def act(self, name: str) -> None:
        """Do the step of that name, and note how long it took."""
        began = time.monotonic()
        getattr(self, f"_do_{name}")()
        self.step_ms[name] = round((time.monotonic() - began) * 1000, 1)

    def undo(self, name: str) -> None:
        """Take it back, as far as there is something to take back."""
        getattr(self, f"_undo_{name}", lambda: None)()

    def release(self) -> None:
        """Let writers go on, whatever happened."""
        self._hold.release()
        self._held.close()
        self._connection = None

    # Before

    def _do_check(self) -> None:
        """The gates are looked at by whoever keeps the order. What is overruled may have drifted; what drifts from now on, not."""
        self._tolerated = self._run.ledger.ask(self._drifted) if self._order.force else 0

    def _do_prepare(self) -> None:
        """Have the marker, and have the database note its changes, which the files will follow; ask it what is not ours."""
        run = self._run
        self._twin.gate.make()
        self._twin.have_marker()
        self._prepare()
        note_changes(run.ledger, run.store_id)
        if run.from_files:
            self._strayed = run.ledger.ask(lambda c: drift.strayed(c, run.ledger.schema, run.migration, run.store_id))

    def _do_fence(self) -> None:
        self._before = self._twin.gate.read()
        self._twin.gate.write(self._twin.marker(self._move.kinds))

    def _undo_fence(self) -> None:
        """Say what was said before. It is known by heart, since the database may be away; a later runner's word stands."""
        if self._before is not None:
            self._twin.gate.write(replace(self._before, runner=self._run.epoch))

    # Held

    def _do_close(self) -> None:
        connection = self._connected()
        self._hold.begin(self._twin.gate.closed)
        route.limit_silence(connection, self._left() + _MARGIN_SECONDS)
        with in_time():
            route.close_gate(connection, self._run.ledger.schema, self._run.store_id, self._left())
        self._fence(connection)
        self._connection = connection

    def _connected(self) -> Connection:
        """The connection of the decision. Whatever happens before its commit goes with it when it is closed."""
        connection = self._run.ledger.server.connect("hand-over")
        self._held.callback(connection.close)
        self._held.enter_context(connection.within(self._order.hold_max + _MARGIN_SECONDS))
        return connection

    def _fence(self, connection: Connection) -> None:
        """Refuse a runner that was replaced, and hold off whoever would replace this one."""
        run = self._run
        if not direction.runs_as(connection, run.ledger.schema, run.migration, run.epoch):
            raise Fenced("another runner took this migration over", hint=f"crossfade status {run.migration}")

    def _undo_close(self) -> None:
        self.release()

    def _do_drain(self) -> None:
        self._drain(self._strayed if self._run.from_files else self._noted(), self._left())

    def _noted(self) -> list[bytes]:
        """The paths of what the database got, in transactions that are all over."""
        run = self._run
        return noted(self._held_connection(), run.ledger.schema, run.store_id, run.migration, self._left())

    def _do_prove(self) -> None:
        self._prove(self._left())

    # The decision

    def _do_decide(self) -> None:
        connection, run = self._held_connection(), self._run
        self._check_drift(connection)
        schema, epoch, after = run.ledger.schema, self._twin.epoch(), self._move.after
        authority: route.Authority = "here" if run.from_files else "elsewhere"
        if not route.switch(connection, schema, run.store_id, self._move.kinds, authority, epoch):
            raise GateShut("the route was changed by somebody else", hint=f"crossfade status {run.migration}")
        self._turn_feed(connection)
        direction.turn(
            connection,
            schema,
            run.migration,
            is_reversed=after.is_reversed,
            cut=after.cut,
            phase="cut-over" if after.is_reversed else "following",
            wish=WISH,
            number=self._order.number,
        )
        detail = {
            "order": self._order.number,
            "epoch": epoch + 1,
            "authority": "database" if run.from_files else "files",
        }
        journal.append(connection, schema, run.migration, Line("handed over", detail, self._order.verb))
        self._hold.decide()
        with durable("postgres.decision"):
            connection.commit()

    def _check_drift(self, connection: Connection) -> None:
        """What somebody wrote over there since the gates were looked at would be the authority's version from now on."""
        found = self._drifted(connection)
        if found > self._tolerated:
            hint = f"crossfade drift {self._run.migration} list"
            raise GateShut(f"{found:,} paths have drifted meanwhile; nothing was handed over", hint=hint)

    def _drifted(self, connection: Connection) -> int:
        return drift.count_open(connection, self._run.ledger.schema, self._run.migration)

    def _turn_feed(self, connection: Connection) -> None:
        """The reverse stream begins where the feed is now; one that runs goes on. A database that retires has nothing more to tell."""
        run, schema = self._run, self._run.ledger.schema
        if run.from_files and feed.load(connection, schema, run.migration, run.store_id) is None:
            feed.save(connection, schema, run.migration, run.store_id, feed.position(connection, schema))
        if all(found.authority == "elsewhere" for found in route.read(connection, schema, run.store_id).values()):
            feed.retire(connection, schema, run.migration, run.store_id)

    # After

    def _do_open(self) -> None:
        self.release()

    def _do_mark(self) -> None:
        self._twin.gate.write(self._twin.marker())
        run = self._run
        while run.ledger.change(lambda c: feed.trim(c, run.ledger.schema, run.store_id)):
            pass  # what nobody reads any more

    # Values

    def _left(self) -> float:
        """What is left of the time that writers may wait. Raises GateShut when it is over."""
        return self._hold.left()

    def _held_connection(self) -> Connection:
        assert self._connection is not None, "the gate is closed by now"
        return self._connection
