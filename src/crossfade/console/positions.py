"""How far the authority, the target and its verification are: three positions, each with what is counted."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from crossfade.console.talk import counted, lasting
from crossfade.store.backends.postgres.ledger import KindTotals, MigrationRow
from crossfade.store.backends.postgres.proofs import Standing

VERIFIED_SECONDS = 10.0
"""What was applied is verified within that time, unless something is wrong, or there is too much of it."""


def positions_of(row: MigrationRow, progress: dict[str, Any], totals: Sequence[KindTotals], now: datetime) -> dict[str, Any]:
    """The positions as ``status --json`` has them. Changes are counted since following began."""
    standing, held = Standing(row.proved_at, row.verified_at, now), sum(total.bytes for total in totals)
    found, behind = progress.get("position") or {}, (progress.get("lag") or {}).get("entries", 0)
    applied = found.get("applied")
    positions: dict[str, Any] = {
        "authority": {"bytes": progress.get("bytes_total"), "changes": None if applied is None else applied + behind},
        "applied": {"entries": sum(t.entries - t.incomplete for t in totals), "bytes": held, "changes": applied},
        "verified": {
            "at": _time(found.get("verified_at")) or standing.at,
            "bytes": None if applied is None else held - found["unverified_bytes"],
            "changes": None if applied is None else applied - found["unverified"],
            "proved_at": row.proved_at,
            "stale": standing.is_stale,
        },
    }
    positions["verified"]["reason"] = _spoken(positions, now)
    return positions


def is_verified(row: MigrationRow, progress: dict[str, Any], now: datetime) -> bool:
    """True for one that follows, if the whole was proved within a day, and all that was applied since is, but for the last seconds."""
    at = _time((progress.get("position") or {}).get("verified_at"))
    is_recent = at is not None and (row.updated_at - at).total_seconds() <= VERIFIED_SECONDS
    return is_recent and not Standing(row.proved_at, row.verified_at, now).is_stale


def _spoken(positions: dict[str, Any], now: datetime) -> str:
    """What is verified, for people; empty where nothing is."""
    verified, applied = positions["verified"], positions["applied"]
    if verified["at"] is None:
        return ""
    left = 0 if applied["changes"] is None else applied["changes"] - verified["changes"]
    what = f"all but {counted(left, 'change')}" if left else f"all, {_ago(verified['at'], now)}"
    if verified["proved_at"] is None:
        return f"{what}; the whole was never proven"
    return f"{what}; the whole was proven {_ago(verified['proved_at'], now)}" + (
        ", which is stale" if verified["stale"] else ""
    )


def _ago(then: datetime, now: datetime) -> str:
    return f"{lasting(max((now - then).total_seconds(), 0.0))} ago"


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
