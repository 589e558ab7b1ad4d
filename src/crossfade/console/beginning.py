"""Becoming the runner of a migration: in the foreground or in the background, for a copy that ends or one that follows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from crossfade.console import commands
from crossfade.console.background import Begun, detached
from crossfade.console.found_again import hints_found_again

if TYPE_CHECKING:
    from crossfade.migrate.prepare import Request


@dataclass(frozen=True)
class Beginning:
    """How a run is begun, and how one that follows ends."""

    grace_seconds: float
    detach: bool
    as_json: bool

    def run(self, request: Request) -> int:
        """Run *request*; the exit status."""

        def verb(begun: Begun) -> int:
            with hints_found_again(request.control.url):
                if request.once:
                    return commands.start.start_once(request, as_json=self.as_json, begun=begun)
                return commands.follow.start_following(
                    request, grace_seconds=self.grace_seconds, as_json=self.as_json, begun=begun
                )

        remember = commands.start.remember
        return detached(verb, remember, as_json=self.as_json) if self.detach else verb(remember)
