"""Two lists are gone through in batches that have an end, whatever becomes of their entries."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from crossfade.errors import Unreadable
from crossfade.migrate.certificate import certificate
from crossfade.migrate.validate import looks, parts
from crossfade.migrate.validate.differences import Difference
from crossfade.migrate.validate.measure import Measured, Pair
from crossfade.migrate.validate.validator import Findings, Scope, Validator
from crossfade.migrate.validate.verdict import Options, Verdict
from crossfade.model.entries import Entry
from crossfade.store.layers.retrying import Patience

ENTRIES = [Entry(b"%06d" % number, kind="docs", form="document") for number in range(2_000)]
SCOPES = {
    "seen": Scope(reads_source=True, limit=1),
    "moved": Scope(reads_source=True, limit=1, has_moved=lambda _one, _other: True),
    "held": Scope(reads_source=True, limit=1, held=lambda _key: "held"),
}


class _Blind:
    """A crew that can read nothing."""

    jobs = 1

    def give(self, pairs: Sequence[Pair]) -> Future[Measured]:
        future: Future[Measured] = Future()
        future.set_result(Measured(unreadable=[(pair.bytes.path, "Permission denied") for pair in pairs]))
        return future

    def hear(self, future: Future[Measured], _is_over: object) -> Measured:
        return future.result()


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


def test_what_could_not_be_read_is_counted_once_and_named_up_to_a_number():
    """A million files of somebody else are no reason to grow; of what differs besides all is known when it is looked at again."""
    crew: Any = _Blind()
    entries = [msgspec.structs.replace(entry, type="file") for entry in ENTRIES]
    others = [*entries[:-1], msgspec.structs.replace(entries[-1], mode=1)]
    scope = Scope(reads_source=True, limit=1)
    findings = Validator(crew, scope).run(iter(entries), iter(others), Findings())
    for _ in range(3):
        findings.read_not([(entries[-1].path, "it still is")], 1, {}.__getitem__, again={entries[-1].path})
        findings.see_not([(b"a", "hidden"), (b"b", "hidden")], known={b"b"})

    assert (findings.unread, findings.unlisted, findings.unread_count) == ({"docs": len(ENTRIES)}, 1, len(ENTRIES) + 1)
    assert (len(findings.unreadable), findings.unreadable[-1][0]) == (1_001, entries[-1].path)
    assert set(parts._excuses(cast("Any", None), replace(findings, unseen=False), ())) == {"docs"}


class _Still:
    """A side of one entry."""

    def look(self, paths: Sequence[bytes]) -> list[Entry]:
        return [Entry(path, type="file", kind="docs", mode=self.mode) for path in paths]

    def __init__(self, mode: int) -> None:
        self.mode = mode

    def close(self) -> None:
        """Nothing is held."""


def test_however_often_it_is_looked_at_what_cannot_be_read_is_counted_once(monkeypatch: pytest.MonkeyPatch):
    """A file whose mode differs, and whose bytes nobody gets at, while somebody brings changes over."""
    monkeypatch.setattr(looks, "_WAITS", (0.0,) * 5)
    monkeypatch.setattr(looks, "_LAG_SECONDS_MIN", 0.01)
    monkeypatch.setattr(looks, "_opened", lambda mode, _: _Still(mode))
    sides: Any = SimpleNamespace(
        recipes=(1, 2),
        reads_source=True,
        layout=SimpleNamespace(place=lambda _path: SimpleNamespace(kind=SimpleNamespace(name="docs"))),
        lag_seconds=lambda: None,
        is_alive=lambda: True,
        is_followed=lambda _lag: True,
    )
    crew: Any = _Blind()
    findings = Findings()
    findings.note(Difference(b"one", "docs", "metadata", "mode"), 1)
    looks.look_again(sides, crew, findings, 1, patience=Patience(0.0), stop=threading.Event())

    assert (findings.unreadable, findings.unread) == ([(b"one", "Permission denied")], {"docs": 1})
    assert findings.classes == {"metadata": 1}


def test_no_certificate_is_written_that_does_not_name_what_its_roots_leave_out():
    """Nobody could check it."""
    findings = Findings(unreadable=[(b"one", "hidden")], unread={"docs": 2})
    with pytest.raises(Unreadable, match="2 paths could not be read"):
        certificate(cast("Any", None), Verdict(findings, Options(), 0.0))
