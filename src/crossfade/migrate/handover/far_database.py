"""A database as the far side: the plan's source, whose target keeps the control state.

Its own route mirrors the other one, and there is an order in which nobody can find both open. It is closed for good, and that
is committed, before the decision; or it opens after it. In between nobody may write anywhere, so that a crash there costs
time, and is mended by whoever comes next: the decision is in the control database, or it is not.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import closing, contextmanager

from crossfade.errors import GateShut, NotYet, PhaseForbids
from crossfade.migrate.handover.control import Tree
from crossfade.migrate.handover.far import Leftover
from crossfade.migrate.handover.noting import in_time
from crossfade.migrate.handover.steps import Step, steps_of_databases
from crossfade.observe.failpoints import durable
from crossfade.store.backends.postgres import feed, leases, pointer, route
from crossfade.store.backends.postgres.pointer import Pointer
from crossfade.store.backends.postgres.route import Authority, Route
from crossfade.store.backends.postgres.server import Connection

_WAIT_SECONDS = 10.0

_CURE = "set the source's route right"


class FarDatabase:
    """The tree *there*, in the source. *control* is its twin, at the URL *url*, which has no secret. *epoch* is the runner's."""

    names = ("source", "target")

    def __init__(self, there: Tree, control: Tree, url: str, epoch: int = 0) -> None:
        self._there = there
        self._control = control
        self._pointer = Pointer(there.migration, there.store_id, url)
        self._epoch = epoch
        self._connection: Connection | None = None

    def steps(self, *, leaves: bool) -> tuple[Step, ...]:
        """See the protocol."""
        return steps_of_databases(from_source=leaves)

    def make(self, leaving: tuple[str, ...]) -> None:
        """See the protocol. A pointer, the runner's epoch, and a feed for who may have to follow from here."""
        there = self._there
        self._check(leaving)
        if not there.ledger.change(lambda c: pointer.make(c, there.schema, self._pointer, self._epoch)):
            raise leases.replaced(there.migration)
        there.note_changes()

    def _check(self, leaving: tuple[str, ...]) -> None:
        if any(row.migration == self._there.migration for row in self._there.ledger.migrations()):
            raise NotYet(
                "handing the authority from one tree of a schema to another one of it is not there yet: they share one feed",
                hint="copy it into another schema: ?schema=NAME",
            )
        routes = self._there.routes()
        if any(route.side_of(routes, kind) == "elsewhere" for kind in leaving):
            raise PhaseForbids(
                "the source has not got the authority itself: it follows another side",
                hint=f"crossfade list --store {shlex.quote(self._there.ledger.server.name)}",
            )
        if leaving:
            self._there.refuse_others()

    def unmake(self) -> None:
        """See the protocol."""
        self._there.rest()

    def fence(self, kinds: tuple[str, ...]) -> None:
        """See the protocol. Nobody relies on what is written here without asking."""

    def unfence(self) -> None:
        """See the protocol."""

    @contextmanager
    def closed(self, seconds: float) -> Iterator[None]:
        """See the protocol. Also refuses a runner that was replaced, and holds off whoever would replace this one."""
        there = self._there
        with closing(there.ledger.server.connect("hand-over")) as connection:
            route.limit_silence(connection, seconds + _WAIT_SECONDS)
            with in_time():
                route.close_gate(connection, there.schema, there.store_id, seconds)
            leases.fence(connection, there.schema, there.migration, self._epoch)
            self._connection = connection
            try:
                yield
            finally:
                self._connection = None

    def noted(self, seconds: float) -> list[bytes]:
        """See the protocol."""
        return self._there.noted(self._held(), seconds)

    def retire(self, kinds: tuple[str, ...]) -> None:
        """See the protocol."""
        connection, there = self._held(), self._there
        epoch = route.epoch_of(route.read(connection, there.schema, there.store_id))
        if not route.switch(connection, there.schema, there.store_id, kinds, "elsewhere", epoch):
            raise PhaseForbids("the source's route was changed by somebody else", hint=f"crossfade status {there.migration}")
        pointer.note(connection, there.schema, there.migration, epoch + 1)
        with durable("postgres.route"):
            connection.commit()

    def take_back(self) -> None:
        """See the protocol."""
        with self.closed(_WAIT_SECONDS):
            self._follow_suit(self._held())

    def open(self) -> None:
        """See the protocol. Where the authority has left it, that is so already; where the hold broke, it is closed anew."""
        if self._connection is None:
            self.take_back()
        else:
            self._follow_suit(self._connection)

    def mark(self) -> None:
        """See the protocol."""
        self._there.ledger.change(self._there.end_feed)
        self._there.let_go()

    def left(self, *, is_turned: bool) -> list[Leftover]:
        """See the protocol."""
        there = self._there
        found = there.ledger.ask(lambda c: pointer.find(c, there.schema, there.migration))
        if found is None:
            return [Leftover("route", "the source does not know that the authority has left it", _CURE)] if is_turned else []
        routes = there.routes()
        astray = set(self._astray(routes, self._control.routes(), found).values())
        if "elsewhere" in astray:
            return [Leftover("route", "the source takes writes, though the target has the authority", _CURE)]
        if astray:
            sentence = "the authority was about to change hands, and neither the source nor the target takes writes"
            return [Leftover("route", sentence, _CURE)]
        return self._feed_left(routes)

    def _feed_left(self, routes: dict[str, Route]) -> list[Leftover]:
        there = self._there
        cursor = there.ledger.ask(lambda c: feed.load(c, there.schema, there.migration, there.store_id))
        is_over = cursor is not None and all(found.authority == "elsewhere" for found in routes.values())
        if not is_over and not there.is_unread():
            return []
        return [Leftover("feed", "the source notes its changes, and nobody reads them any more", "let go of them")]

    def mend(self) -> None:
        """See the protocol."""
        self.take_back()
        self._there.rest()
        self.mark()

    def clear_up(self) -> list[Leftover]:
        """See the protocol."""
        found = self.left(is_turned=False)
        if found:
            self.mend()
        return found

    def leave(self) -> None:
        """See the protocol. Nobody reads its feed any more, and nobody points from it."""
        there = self._there

        def work(connection: Connection) -> None:
            feed.retire(connection, there.schema, there.migration, there.store_id)
            pointer.remove(connection, there.schema, there.migration)

        there.ledger.change(work)
        there.let_go()

    # The mirror

    def _follow_suit(self, connection: Connection) -> None:
        """Make the route here the opposite of the other one, and have changes read from here on, before writers are let in."""
        there = self._there
        found = pointer.find(connection, there.schema, there.migration) or self._pointer
        routes = route.read(connection, there.schema, there.store_id)
        astray = self._astray(routes, self._control.settled(), found)
        if astray:
            epoch = route.epoch_of(routes)
            route.set_sides(connection, there.schema, there.store_id, astray, epoch)
            pointer.note(connection, there.schema, there.migration, epoch + 1)
        if "here" in astray.values():
            there.begin_feed(connection)
        with durable("postgres.route"):
            connection.commit()

    def _astray(self, routes: dict[str, Route], truth: dict[str, Route], found: Pointer) -> dict[str, Authority]:
        return route.astray(routes, truth, is_ours=found.route_epoch == route.epoch_of(routes))

    def _held(self) -> Connection:
        if self._connection is None:
            raise GateShut("writers would wait for too long; nothing was handed over", hint="try again, or raise --hold-max")
        return self._connection
