"""The steps of a hand-over, done and undone on the two sides of a migration.

The decision is one transaction in the control database, which holds the gate of that side closed until it ends: the route,
the direction of the migration, the cursor of the reverse stream and the line in the journal commit together.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack

from crossfade.errors import GateShut
from crossfade.migrate.follow.lanes import kinds_of
from crossfade.migrate.handover.control import control_of
from crossfade.migrate.handover.far import Far
from crossfade.migrate.handover.hold import Hold
from crossfade.migrate.handover.noting import in_time
from crossfade.migrate.handover.order import WISH, Order
from crossfade.migrate.handover.standing import Move
from crossfade.migrate.obstacles import check_way_back
from crossfade.migrate.prepare import Run
from crossfade.observe.failpoints import durable
from crossfade.store.backends.postgres import direction, drift, journal, leases, route
from crossfade.store.backends.postgres.drift import Which
from crossfade.store.backends.postgres.journal import Line
from crossfade.store.backends.postgres.server import Connection
from crossfade.store.registry import FileRecipe

_MARGIN_SECONDS = 2.0
"""After a hold, until the server ends it by itself, and an exchange with it is given up."""


class Acts:
    """The acts of one try of *order*. *drain* brings over what is known, within so many seconds; *prove* verifies it.

    *check* is asked in the transaction of the decision, and raises GateShut where the order does not stand any more.
    """

    def __init__(
        self,
        run: Run,
        far: Far,
        order: Order,
        move: Move,
        *,
        prepare: Callable[[], None],
        drain: Callable[[list[bytes], float], None],
        prove: Callable[[float], None],
        check: Callable[[Connection], None],
    ) -> None:
        self._run = run
        self._far = far
        self._control = control_of(run)
        self._order = order
        self._move = move
        self._prepare = prepare
        self._drain = drain
        self._prove = prove
        self._check = check
        self._held = ExitStack()
        self._connection: Connection | None = None
        self._epoch = route.epoch_of(self._control.routes())
        self._hold = Hold(order.hold_max, self._undo_fence)
        self.step_ms: dict[str, float] = {}

    @property
    def epoch(self) -> int:
        """The route's, before the decision."""
        return self._epoch

    def is_decided(self) -> bool:
        """True where the decision stands, once it cannot be on its way any more."""
        return route.epoch_of(self._control.settled()) != self._epoch

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
        """The gates are looked at by whoever keeps the order."""

    def _do_prepare(self) -> None:
        """Have the far side ready, and have the side that gets the authority note its changes, which the other will follow.

        Raises TargetUnwritable where that one cannot: there would be no way back.
        """
        self._control.refuse_others()
        source = self._run.source
        if isinstance(source, FileRecipe):
            check_way_back(source.location, self._run.layout, self._run.kinds, include_transient=source.include_transient)
        self._far.make(() if self._run.from_control else self._move.kinds)
        self._prepare()
        self._control.note_changes()

    def _undo_prepare(self) -> None:
        self._control.rest()
        self._far.unmake()

    def _do_fence(self) -> None:
        self._far.fence(self._move.kinds)

    def _undo_fence(self) -> None:
        self._far.unfence()

    # Held

    def _do_close(self) -> None:
        connection = self._connected()
        self._hold.begin(self._far.closed)
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
        leases.fence(connection, run.ledger.schema, run.migration, run.epoch)

    def _undo_close(self) -> None:
        self.release()

    def _do_drain(self) -> None:
        self._drain(self._noted(), self._left())

    def _noted(self) -> list[bytes]:
        """The paths of what the side got that hands over, as far as it has to be asked."""
        if self._run.from_control:
            return self._control.noted(self._held_connection(), self._left())
        return self._far.noted(self._left())

    def _do_prove(self) -> None:
        self._prove(self._left())

    def _do_retire(self) -> None:
        self._check_drift(self._held_connection())
        self._left()
        self._far.retire(self._move.kinds)

    def _undo_retire(self) -> None:
        self.release()
        self._far.take_back()

    # The decision

    def _do_decide(self) -> None:
        connection, run = self._held_connection(), self._run
        self._check_drift(connection)
        schema, epoch, after = run.ledger.schema, self._epoch, self._move.after
        authority: route.Authority = "elsewhere" if run.from_control else "here"
        if not route.switch(connection, schema, run.store_id, self._move.kinds, authority, epoch):
            raise GateShut("the route was changed by somebody else", hint=f"crossfade status {run.migration}")
        self._turn_feed(connection)
        self._check(connection)
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
            "authority": self._far.names[0 if run.from_control else 1],
        }
        journal.append(connection, schema, run.migration, Line("handed over", detail, self._order.verb))
        self._hold.decide()
        with durable("postgres.decision"):
            connection.commit()

    def _check_drift(self, connection: Connection) -> None:
        """What somebody wrote over there, and is not put back, would be the authority's version from now on.

        Where drift is overruled, that of kinds that stay may be open still: this hand-over leaves it as it is.
        """
        run = self._run
        which = Which(run.migration, kinds=kinds_of(run) if self._order.force else None)
        found = drift.count(connection, run.ledger.schema, which)
        if found:
            hint = f"crossfade drift {run.migration} list"
            raise GateShut(f"{found:,} paths have drifted meanwhile; nothing was handed over", hint=hint)

    def _turn_feed(self, connection: Connection) -> None:
        """The reverse stream begins where the feed is now; one that runs goes on. A database that retires has nothing more to tell."""
        if not self._run.from_control:
            self._control.begin_feed(connection)
        self._control.end_feed(connection)

    # After

    def _do_open(self) -> None:
        try:
            self._far.open()
        finally:  # where it did not, they are sent on; what comes next may need what is held
            self.release()

    def _do_mark(self) -> None:
        self._far.mark()
        self._control.let_go()

    # Values

    def _left(self) -> float:
        """What is left of the time that writers may wait. Raises GateShut when it is over."""
        return self._hold.left()

    def _held_connection(self) -> Connection:
        assert self._connection is not None, "the gate is closed by now"
        return self._connection
