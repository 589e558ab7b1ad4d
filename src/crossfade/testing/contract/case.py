"""A case of the contract: a sentence, what it needs of a store, and how to try it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from crossfade.store.port import Capabilities
from crossfade.testing.contract.bench import Bench


@dataclass(frozen=True)
class Case:
    """One thing that a store does. *needs* says of which stores it is asked."""

    run: Callable[[Bench], None]
    needs: Callable[[Capabilities], bool]

    def __call__(self, bench: Bench) -> None:
        """Run it."""
        try:
            self.run(bench)
        finally:
            bench.store.close()

    def __str__(self) -> str:
        return self.run.__name__


_CASES: list[Case] = []


def cases(can: Capabilities) -> list[Case]:
    """The cases for a store that can do this."""
    return [known for known in _CASES if known.needs(can)]


def always(can: Capabilities) -> bool:
    """Asked of every store."""
    return can is not None


def case(needs: Callable[[Capabilities], bool] = always) -> Callable[[Callable[[Bench], None]], Callable[[Bench], None]]:
    def register(run: Callable[[Bench], None]) -> Callable[[Bench], None]:
        _CASES.append(Case(run, needs))
        return run

    return register
