"""A hand-over as somebody asked for it: written into the migration's row, carried out by whoever runs it."""

from __future__ import annotations

import uuid
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Verb = Literal["cutover", "rollback", "finish"]

WISH = "switch"
"""Its name among the wishes of a migration."""

WAITED_SECONDS = 20.0
"""How much longer than its own time an order is waited for; then nobody does any more, and it is not begun."""


@dataclass(frozen=True)
class Order:
    """What to do, and within which limits; times in seconds.

    ``lag_max``: how far behind the other side may be when it begins. ``hold_max``: how long writers may wait. ``timeout``:
    how long to try. ``settle``: how long the files must have been still. ``writers_stopped``: somebody vouches that no
    foreign writer is left. ``force`` overrides conflicts, and keeps what it overwrites.
    """

    verb: Verb
    lag_max: float = 5.0
    hold_max: float = 1.0
    timeout: float = 60.0
    settle: float = 2.0
    writers_stopped: bool = False
    force: bool = False
    only: tuple[str, ...] = ()
    number: str = field(default_factory=lambda: str(uuid.uuid4()))

    def values(self) -> dict[str, Any]:
        """As it is written down."""
        return asdict(self)


def ordered(wanted: dict[str, Any]) -> Order | None:
    """The hand-over that stands among the wishes of a migration, if there is one."""
    values = wanted.get(WISH)
    return None if not values else Order(**{**values, "only": tuple(values.get("only", ()))})
