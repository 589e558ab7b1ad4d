"""Two lists are gone through in batches that have an end, whatever becomes of their entries."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any, cast

import pytest

from crossfade.migrate.validate import parts
from crossfade.migrate.validate.differences import Difference
from crossfade.migrate.validate.measure import Measured
from crossfade.migrate.validate.validator import Findings, Scope, Validator
from crossfade.model.entries import Entry

ENTRIES = [Entry(b"%06d" % number, kind="docs", form="document") for number in range(2_000)]
SCOPES = {
    "seen": Scope(reads_source=True, limit=1),
    "moved": Scope(reads_source=True, limit=1, has_moved=lambda _one, _other: True),
    "held": Scope(reads_source=True, limit=1, held=lambda _key: "held"),
}


class _Idle:
    """A crew that finds nothing."""

    jobs = 1

    def give(self, _pairs: object) -> Future[Measured]:
        future: Future[Measured] = Future()
        future.set_result(Measured())
        return future

    def hear(self, future: Future[Measured], _is_over: object) -> Measured:
        return future.result()


@pytest.mark.parametrize("what", SCOPES)
def test_a_batch_ends_whatever_is_in_it(what: str):
    """Else a million files that were touched under a copy would be one batch, and nobody could stop it on the way."""
    crew: Any = _Idle()
    told: list[bytes | None] = []
    Validator(crew, SCOPES[what]).run(iter(ENTRIES), iter(()), Findings(), told=lambda found, _: told.append(found.after))

    assert told == [b"000499", b"000999", b"001499", b"001999"]


def test_a_kind_is_excused_by_what_is_held_of_it_however_much_is_held_of_others():
    """Differences are named up to a number; what is not named is in quarantine all the same."""
    findings, nobody = Findings(), cast("Any", None)
    for number in range(1_500):
        findings.note(Difference(b"%d" % number, "docs", "quarantined", ""), 1)
    findings.note(Difference(b"log", "events", "quarantined", ""), 1)

    assert set(parts._excuses(nobody, findings, ())) == {"docs", "events"}


def test_what_is_ignored_excuses_a_kind_and_is_no_difference():
    """Somebody looked at it, and said so: its columns are missing in what the kind is asked for all the same."""
    crew: Any = _Idle()
    scope = Scope(reads_source=True, limit=1, held=lambda _key: "ignored")
    findings = Validator(crew, scope).run(iter(ENTRIES), iter(()), Findings())

    assert (findings.ignored, findings.classes, findings.differences) == (len(ENTRIES), {}, [])
    assert set(parts._excuses(cast("Any", None), findings, ())) == {"docs"}
