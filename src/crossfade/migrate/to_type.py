"""The commands that go on with a migration, as a person types them. Loads nothing that moves bytes: a status says them."""

from __future__ import annotations

import shlex

from crossfade.migrate.plan import name_option
from crossfade.store.backends.postgres.ledger import MigrationRow
from crossfade.store.location import parse


def start_again(row: MigrationRow, *, once: bool = True) -> str:
    """The command that goes on with a copy, or brings changes over. Its layout is written down in the database."""
    options = ["--include-transient"] if row.plan["include_transient"] else []
    options += [f"--{name.replace('_', '-')}" for name in _said(row)]
    options += ["--once"] if once else []
    return shlex.join(["crossfade", "start", row.source, row.target, *_named(row), *options])


def _said(row: MigrationRow) -> list[str]:
    """The options that *row* was begun with and that its next run needs, too. What a first copy may delete, no later one does."""
    names = ["merge", "skip_unreadable", *([] if row.was_proved else ["delete_extra"])]
    return [name for name in names if row.wanted.get(name)]


def _named(row: MigrationRow) -> list[str]:
    """The tree's name, where the URLs do not say it."""
    return name_option(parse(row.source), parse(row.target), row.plan["store"])


def refilling(source: str, target: str, store: str) -> str:
    """The command that fills *source*, a migration's, again from the tree *store* in its target."""
    name = [] if parse(target).store else ["--store-name", store]
    return shlex.join(["crossfade", "restore", target, source, *name, "--if-empty"])
