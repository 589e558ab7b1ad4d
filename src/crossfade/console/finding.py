"""Which migration is meant: an id or its unique beginning, SOURCE TARGET, or the only one in sight."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace

import psycopg

from crossfade.console import book
from crossfade.console.found_again import found_again, hints_found_again
from crossfade.console.talk import say
from crossfade.errors import CrossfadeError, Interrupted, MigrationUnknown, SourceMissing, TargetUnreachable
from crossfade.store.backends.postgres import pointer
from crossfade.store.backends.postgres.ledger import Ledger, MigrationRow
from crossfade.store.backends.postgres.server import NO_DATABASE, plain_errors
from crossfade.store.location import Location, parse
from crossfade.store.registry import serving


@dataclass(frozen=True)
class Sought:
    """One migration and the ledger that it stands in, open."""

    ledger: Ledger
    row: MigrationRow
    store: Location
    _begun: list[str] = field(default_factory=list)

    def begin(self) -> None:
        """Something is changed from here on, or asked for: a Ctrl-C does not say any more that nothing was."""
        self._begun.append(shown_by(self.ledger, self.row.migration))


@contextmanager
def sought(words: tuple[str, ...], store: str, *, changes: bool = False) -> Iterator[Sought]:
    """The migration that *words* mean. Raises MigrationUnknown, listing those that there are; and where something *changes*,
    also while it may be one in a place that cannot be looked into.
    """
    begun: list[str] = []
    try:
        with _found(words, store, changes=changes) as found:
            yield replace(found, _begun=begun)
    except KeyboardInterrupt:
        if not begun:
            raise
        raise Interrupted("stopped; what was asked for before may stand", hint=begun[0]) from None


@contextmanager
def _found(words: tuple[str, ...], store: str, *, changes: bool) -> Iterator[Sought]:
    places = _places(words, store)
    with ExitStack() as held:
        known: list[str] = []
        away: list[Location] = []
        found = [one for place in places for one in _meant(place, words, held, known, away, alone=len(places) == 1)]
        several = list({one.row.migration: one for one in found}.values())
        if len(several) > 1:
            raise _several([one.row for one in several])
        if changes and away:
            raise _hidden(away)
        if not several:
            raise _unknown(words, known)
        with _headed(several[0]):
            yield several[0]


@contextmanager
def _headed(found: Sought) -> Iterator[None]:
    """What fails names the journal's head, too, and can be found from here; where nobody can be asked, the failure is what counts."""
    try:
        with hints_found_again(found.store.url):
            yield
    except TargetUnreachable:
        raise
    except CrossfadeError as error:
        with suppress(CrossfadeError, psycopg.Error):
            error.head = error.head or found.ledger.journal_head(found.row.migration).hex()
        raise


def _meant(
    place: Location, words: tuple[str, ...], held: ExitStack, known: list[str], away: list[Location], *, alone: bool
) -> Iterator[Sought]:
    """Those at *place* that *words* mean; *known* gets the ids of all. One place of several that cannot be looked into is mentioned
    and passed over; *away* gets it, unless there is nothing of the kind.
    """
    ledger: Ledger | None = None
    try:
        with plain_errors(place.url):
            ledger = held.enter_context(opened(place))
            rows = ledger.migrations()
            pointed = list(_pointed(ledger, words, held))
    except CrossfadeError as error:
        if alone:
            raise
        say(f"passed over: {error.sentence}")
        if ledger is not None or not _is_gone(error):  # what is pointed to may be gone, and its own be there
            away.append(place)
        return
    known += [row.migration for row in rows]
    for row in rows:
        if _is_meant(row, words):
            yield Sought(ledger, row, place)
    yield from pointed


def _is_gone(error: CrossfadeError) -> bool:
    """True where *error* says that there is no such directory, database or schema."""
    return isinstance(error, SourceMissing) or error.sentence.endswith(NO_DATABASE)


def _pointed(ledger: Ledger, words: tuple[str, ...], held: ExitStack) -> Iterator[Sought]:
    """Those that *words* mean among the migrations which only point from here to where their control state is."""
    for found in ledger.ask(lambda c: pointer.read(c, ledger.schema)):
        if words and not found.migration.startswith(words[0]):
            continue
        place = parse(found.control)
        other = held.enter_context(opened(place))
        with plain_errors(place.url):
            rows = other.migrations()
        yield from (Sought(other, row, place) for row in rows if row.migration == found.migration)


@contextmanager
def opened(place: Location) -> Iterator[Ledger]:
    """The ledger at *place*. Raises SourceMissing where there is none, and what the database says; never makes an embedded server."""
    if place.scheme == "embedded" and not os.path.isdir(place.path):
        raise SourceMissing(f"{place} does not exist", hint="name the database with --store URL")
    with serving(place) as server:
        ledger = Ledger(server, place.schema)
        try:
            with plain_errors(place.url):
                version = ledger.version()
            if version is None:
                raise SourceMissing(f"{place} holds no crossfade schema {place.schema!r}", hint="name it with ?schema=NAME")
            yield ledger
        finally:
            ledger.close()


def stores(store: str) -> list[Location]:
    """Where to look: --store, else CROSSFADE_STORE, else this user's own list."""
    named = store or os.environ.get("CROSSFADE_STORE", "")
    if named:
        return [_database(named)]
    return [parse(url) for url in dict.fromkeys(line.store for line in book.read())]


def shown_by(ledger: Ledger, migration: str) -> str:
    """The command that shows *migration*, which stands in *ledger*, from here."""
    return found_again(f"crossfade status {migration}", ledger.server.name)


def _places(words: tuple[str, ...], store: str) -> list[Location]:
    if len(words) == 2:
        pair = [parse(word) for word in words]
        return [place for place in reversed(pair) if place.is_database][:1]
    if store or os.environ.get("CROSSFADE_STORE") or not words:
        return stores(store)
    lines = [line for line in book.read() if line.migration.startswith(words[0])]
    if len({line.migration for line in lines}) > 1:
        raise MigrationUnknown(
            f"{words[0]!r} is the beginning of several ids: {', '.join(line.migration for line in lines)}",
            hint="type more of it",
        )
    return [parse(line.store) for line in lines]


def _database(url: str) -> Location:
    place = parse(url)
    if not place.is_database:
        raise MigrationUnknown(f"{place} keeps no control state", hint="name the database with --store URL")
    return place


def _is_meant(row: MigrationRow, words: tuple[str, ...]) -> bool:
    if len(words) == 2:
        return (row.source, row.target) == tuple(parse(word).url for word in words)
    return not words or row.migration.startswith(words[0])


def _several(rows: list[MigrationRow]) -> MigrationUnknown:
    known = "; ".join(f"{row.migration} ({row.source} to {row.target})" for row in rows[:5])
    return MigrationUnknown(f"several migrations are meant: {known}", hint="name one by its id")


def _hidden(away: list[Location]) -> MigrationUnknown:
    """What is in sight may be the only one of several that can be seen just now."""
    places = ", ".join(place.url for place in away)
    return MigrationUnknown(
        f"which migration is meant cannot be told: {places} could not be looked into", hint="name one by its id"
    )


def _unknown(words: tuple[str, ...], known: list[str]) -> MigrationUnknown:
    """*known* are those of the databases that were looked into, if any was."""
    wanted = f"no migration {_spoken(words)}" if words else "no migration"
    if known:
        there = ", ".join(known[-5:]) + (f", and {len(known) - 5} more" if len(known) > 5 else "")
        return MigrationUnknown(f"{wanted}; there are: {there}", hint="crossfade list --store URL")
    here = ", ".join(line.migration for line in book.read()[-5:]) or "none was started here"
    return MigrationUnknown(
        f"{wanted}; known on this machine: {here}", hint="from another host, name the database: --store URL"
    )


def _spoken(words: tuple[str, ...]) -> str:
    """*words* in an error; a pair as its locations show themselves, without a password."""
    return repr(words[0]) if len(words) == 1 else "of {} to {}".format(*map(parse, words))
