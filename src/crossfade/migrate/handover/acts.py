"""The steps of a hand-over, done and undone on a tree of files and its twin in a database.

The decision is one transaction in the database, which holds the gate of the database's side closed until it ends: the
route, the direction of the migration, the cursor of the reverse stream and the line in the journal commit together.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from psycopg import errors as pg

from crossfade.errors import Fenced, GateShut
from crossfade.migrate.handover.order import WISH, Order
from crossfade.migrate.handover.standing import Move
from crossfade.migrate.handover.twin import Twin
from crossfade.migrate.prepare import Run
from crossfade.model.paths import path_of
from crossfade.observe.failpoints import durable
from crossfade.store.backends.file.gate import Marker
from crossfade.store.backends.postgres import direction, feed, journal, route
from crossfade.store.backends.postgres.journal import Line
from crossfade.store.backends.postgres.server import Connection


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
        self._until = 0.0
        self.hold_seconds = 0.0
        self.step_ms: dict[str, float] = {}
        self._began = 0.0

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
        if self._connection is not None:
            self.hold_seconds = time.monotonic() - self._began
        self._held.close()
        self._connection = None

    # Before

    def _do_prepare(self) -> None:
        """Have the marker, and have the database note its changes, which the files will follow."""
        run = self._run
        self._twin.gate.make()
        if self._twin.gate.read() is None:
            self._twin.gate.write(self._twin.marker())
        self._prepare()
        run.ledger.change(self._turn_on)

    def _turn_on(self, connection: Connection) -> None:
        """Once is enough: it waits for all who write."""
        run = self._run
        if not direction.is_fed(connection, run.ledger.schema, run.store_id):
            feed.turn_on(connection, run.ledger.schema, run.store_id)

    def _do_fence(self) -> None:
        self._before = self._twin.gate.read()
        self._twin.gate.write(self._twin.marker(self._move.kinds))

    def _undo_fence(self) -> None:
        if self._before is not None:
            self._twin.gate.write(self._before)

    # Held

    def _do_close(self) -> None:
        connection = self._connected()
        self._began = time.monotonic()
        self._until = self._began + self._order.hold_max
        self._held.enter_context(self._twin.gate.closed(self._left()))
        with _in_time():
            route.close_gate(connection, self._run.ledger.schema, self._run.store_id, self._left())
        self._fence(connection)
        self._connection = connection

    def _connected(self) -> Connection:
        """The connection of the decision. Whatever happens before its commit goes with it when it is closed."""
        connection = self._run.ledger.server.connect("hand-over")
        self._held.callback(connection.close)
        return connection

    def _fence(self, connection: Connection) -> None:
        """Refuse a runner that was replaced, and hold off whoever would replace this one."""
        run = self._run
        if not direction.runs_as(connection, run.ledger.schema, run.migration, run.epoch):
            raise Fenced("another runner took this migration over", hint=f"crossfade status {run.migration}")

    def _undo_close(self) -> None:
        self.release()

    def _do_drain(self) -> None:
        self._drain([] if self._run.from_files else self._noted(), self._left())

    def _noted(self) -> list[bytes]:
        """The paths of what the database got, in transactions that are all over."""
        connection, run = self._held_connection(), self._run
        cursor = feed.load(connection, run.ledger.schema, run.migration, run.store_id)
        if cursor is None:
            raise GateShut("nothing is noted of what the database gets", hint=f"crossfade resume {run.migration}")
        with _in_time():
            found, _ = feed.drained(connection, run.ledger.schema, run.store_id, cursor, run.migration, seconds=self._left())
        return [path_of(dirty.key) for dirty in found]

    def _do_prove(self) -> None:
        self._prove(self._left())

    # The decision

    def _do_decide(self) -> None:
        connection, run = self._held_connection(), self._run
        self._left()
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
        )
        detail = {
            "order": self._order.number,
            "epoch": epoch + 1,
            "authority": "database" if run.from_files else "files",
        }
        journal.append(connection, schema, run.migration, Line("handed over", detail, self._order.verb))
        with durable("postgres.decision"):
            connection.commit()

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

    def _do_check(self) -> None:
        """The gates are looked at by whoever keeps the order."""

    # Values

    def _left(self) -> float:
        """What is left of the time that writers may wait. Raises GateShut when it is over."""
        left = self._until - time.monotonic()
        if left <= 0:
            raise GateShut(
                f"writers would wait longer than {self._order.hold_max:g} s; nothing was handed over",
                hint="try again when less is written, or raise --hold-max",
            )
        return left

    def _held_connection(self) -> Connection:
        assert self._connection is not None, "the gate is closed by now"
        return self._connection


@contextmanager
def _in_time() -> Iterator[None]:
    """A lock that is not had in time is a gate that is shut."""
    try:
        yield
    except pg.LockNotAvailable:
        raise GateShut(
            "a writer of the database holds on to its transaction; nothing was handed over", hint="try again"
        ) from None
