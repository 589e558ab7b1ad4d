"""What a verb says to type next can be typed where it was read: with the database, where an id alone does not lead there."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager

from crossfade.console import book
from crossfade.errors import CrossfadeError, LocationInvalid
from crossfade.store.location import parse

_PLACELESS = re.compile(r"crossfade (?:list|[a-z]+ (?P<migration>[0-9a-f]{12}))(?! --store)\b")
"""A command that means a migration by its id, or all that there are, and does not say yet where."""


def found_again(text: str, store: str) -> str:
    """*text*, which is about a migration in the database *store*, with that in each command that would not find it from here."""

    def whole(command: re.Match[str]) -> str:
        return f"{command[0]} --store {shlex.quote(store)}" if _needs_store(command["migration"], store) else command[0]

    return _PLACELESS.sub(whole, text)


def _needs_store(migration: str | None, url: str) -> bool:
    """True where *migration*, which stands in the database *url*, would not be found from here by its id alone; None is any there."""
    named = os.environ.get("CROSSFADE_STORE", "")
    if not named:
        return not (book.knows(migration) if migration else any(line.store == url for line in book.read()))
    try:
        return parse(named).url != url
    except LocationInvalid:
        return True


@contextmanager
def hints_found_again(store: str) -> Iterator[None]:
    """The same for what a failure says to try."""
    try:
        yield
    except CrossfadeError as error:
        error.hint = found_again(error.hint, store)
        raise
