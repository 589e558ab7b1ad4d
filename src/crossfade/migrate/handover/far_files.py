"""A tree of files as the far side: its marker is a copy of the route, and its gate a pair of locks beside the root."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

from crossfade.migrate.handover.far import Leftover
from crossfade.migrate.handover.steps import Step, steps
from crossfade.migrate.handover.twin import Twin
from crossfade.store.backends.file.gate import Marker
from crossfade.store.backends.postgres import drift, leases

_WAIT_SECONDS = 10.0


class FarFiles:
    """The files of *twin*."""

    names = ("files", "database")

    def __init__(self, twin: Twin) -> None:
        self._twin = twin
        self._before: Marker | None = None
        self._strayed: list[bytes] = []

    def steps(self, *, leaves: bool) -> tuple[Step, ...]:
        """See the protocol."""
        return steps(from_files=leaves)

    def make(self, leaving: tuple[str, ...]) -> None:
        """See the protocol. A marker, the first time; and what the database holds that did not come from here."""
        twin = self._twin
        twin.gate.make()
        twin.have_marker()
        if leaving:
            schema = twin.ledger.schema
            self._strayed = twin.ledger.ask(lambda c: drift.strayed(c, schema, twin.migration, twin.store_id))

    def unmake(self) -> None:
        """See the protocol. A marker that says what was true costs nothing."""

    def fence(self, kinds: tuple[str, ...]) -> None:
        """See the protocol."""
        self._before = self._twin.gate.read()
        self._twin.gate.write(self._twin.marker(kinds))

    def unfence(self) -> None:
        """See the protocol. What was said is known by heart, since the database may be away; a later runner's word stands."""
        if self._before is not None:
            self._twin.gate.write(replace(self._before, runner=self._twin.runner))

    def closed(self, seconds: float) -> AbstractContextManager[None]:
        """See the protocol."""
        return self._twin.gate.closed(seconds)

    def noted(self, seconds: float) -> list[bytes]:
        """See the protocol. The file system tells the follower; the database, what is not ours."""
        del seconds
        return self._strayed

    def retire(self, kinds: tuple[str, ...]) -> None:
        """See the protocol. The fence has done it: writers ask the database."""

    def take_back(self) -> None:
        """See the protocol."""

    def open(self) -> None:
        """See the protocol. Writers ask the database until the marker names a side."""

    def mark(self) -> None:
        """See the protocol."""
        self._twin.gate.write(self._twin.marker())

    def left(self, *, is_turned: bool) -> list[Leftover]:
        """See the protocol. The marker says another thing than the route."""
        marker, route = self._twin.gate.read(), self._twin.marker()
        if marker is None and not (is_turned and os.path.isdir(self._twin.root)):
            return []  # from another host nothing is seen of the files
        if marker is not None and not marker.is_of_tree(route):
            return []  # it is for that one's runner to say who decides
        if marker is not None and (dict(marker.authority), marker.epoch) == (dict(route.authority), route.epoch):
            return []
        said = "is missing" if marker is None else f"says {_spoken(marker)}"
        sentence = f"the marker beside the files {said}; the route says {_spoken(route)}"
        return [Leftover("marker", sentence, "write the marker anew")]

    def mend(self) -> None:
        """See the protocol. Not one later than this runner can have written what is there, unless of another history."""
        twin = self._twin
        there = twin.gate.read()
        self._check_lease()
        is_asked = there is not None and "undecided" in there.authority.values()
        with nullcontext() if is_asked else twin.gate.closed(_WAIT_SECONDS):
            twin.gate.write(twin.marker(), instead_of=there)

    def clear_up(self) -> list[Leftover]:
        """See the protocol. Have the marker name a side again."""
        twin = self._twin
        marker = twin.gate.read()
        if marker is None or marker.migration != twin.migration or "undecided" not in marker.authority.values():
            return []
        twin.gate.write(twin.marker())
        return [Leftover("marker", "the marker beside the files said undecided", "write the marker anew")]

    def leave(self) -> None:
        """See the protocol. The marker says that the files decide, as they do without one."""

    def _check_lease(self) -> None:
        twin = self._twin
        twin.ledger.ask(lambda c: leases.fence(c, twin.ledger.schema, twin.migration, twin.runner))


def _spoken(marker: Marker) -> str:
    sides = ", ".join(f"{kind or 'all'}: {side}" for kind, side in sorted(marker.authority.items()))
    return f"{sides}, epoch {marker.epoch}"
