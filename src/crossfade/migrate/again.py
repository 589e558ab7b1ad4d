"""A migration that was begun, asked for once more: from its row to the request that began it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from crossfade.migrate.plan import Manner
from crossfade.migrate.prepare import Request
from crossfade.store.backends.postgres.ledger import MigrationRow
from crossfade.store.location import Location, conninfo, parse


def request_again(row: MigrationRow, place: Location, manner: Manner, verb: str) -> Request:
    """The request that *row* was begun with, for *verb*. *place* is its database as it was found, with a secret if it has one."""
    source, target = (_as_found(parse(url), place) for url in (row.source, row.target))
    return Request(
        source,
        target,
        store_name="" if source.is_database and target.store else row.plan["store"],
        include_transient=row.plan["include_transient"],
        manner=manner,
        verb=verb,
    )


def as_begun(manner: Manner, wanted: dict[str, Any]) -> Manner:
    """*manner*, with what was said when the migration was begun and holds for as long as it lives: what is left as it is."""
    return replace(
        manner,
        merge=manner.merge or bool(wanted.get("merge")),
        skip_unreadable=manner.skip_unreadable or bool(wanted.get("skip_unreadable")),
    )


def _as_found(location: Location, place: Location) -> Location:
    """*location*, with the secret by which its database was reached, if it is that one: another tree or schema may be meant."""
    return replace(location, secret=place.secret) if _reached(location) == _reached(place) else location


def _reached(location: Location) -> str:
    return conninfo(location) if location.scheme == "postgresql" else location.url
