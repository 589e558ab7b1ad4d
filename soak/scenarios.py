"""What somebody may be doing when the machine goes down. One more scenario is one more row.

Each is a process that is killed at a place (``observe.failpoints``) while a program writes, and what is done about it: the same
command again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Side = Literal["files", "database"]

_COPY = ("postgres.schema", "postgres.claim", "postgres.page", "postgres.index", "postgres.ledger", "registry.save")
_FILES = ("postgres.intents", "file.sync", "file.rename", "file.directory", "postgres.marks")
_RESTORE = ("postgres.claim", "postgres.ledger", "registry.save", *_FILES)
_INTO_DATABASE = ("postgres.page", "postgres.ledger")
_INTO_FILES = (*_FILES, "file.append", "feed.cursor", "postgres.ledger")
_HAND_OVER = ("gate.marker", "postgres.decision", "postgres.ledger")


@dataclass(frozen=True)
class Scenario:
    """One row: its *name*, where the state comes from, and at which *places* its process passes.

    *verb* is asked of whoever follows, or is the command itself; *first* is what was asked before. *writes* is how the program writes meanwhile, and is
    nothing for what is done while nobody writes.
    """

    name: str
    source: Side
    places: tuple[str, ...]
    verb: str = ""
    first: tuple[str, ...] = ()
    writes: Literal["", "files", "sql", "writer"] = ""
    follows: bool = True

    @property
    def title(self) -> str:
        """As the matrix names it."""
        ways = {"files": "files → database", "database": "database → files"}
        return f"{self.name}, {ways[self.source]}"


SCENARIOS = (
    Scenario("copy", "files", _COPY, follows=False),
    Scenario("copy", "database", (*_RESTORE, "file.metadata"), follows=False),
    Scenario("restore", "database", (*_RESTORE, "file.metadata"), verb="restore", follows=False),
    Scenario("follow", "files", _INTO_DATABASE, writes="files"),
    Scenario("follow", "database", _INTO_FILES, writes="sql"),
    Scenario("cut over", "files", (*_HAND_OVER, "postgres.page"), verb="cutover", writes="writer"),
    Scenario("cut over", "database", (*_HAND_OVER, *_INTO_FILES), verb="cutover", writes="writer"),
    Scenario("reverse stream", "files", _INTO_FILES, first=("cutover",), writes="sql"),
    Scenario("reverse stream", "database", _INTO_DATABASE, first=("cutover",), writes="files"),
    Scenario("roll back", "files", (*_HAND_OVER, *_INTO_FILES), verb="rollback", first=("cutover",), writes="writer"),
    Scenario("roll back", "database", (*_HAND_OVER, "postgres.page"), verb="rollback", first=("cutover",), writes="writer"),
)
"""*source* is where the migration began; after a cut-over it goes the other way."""
