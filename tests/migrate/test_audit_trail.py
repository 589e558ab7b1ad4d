"""Few lines of what happens often, none lost; a chain that shows what was done to it."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfade.migrate.audit.gathering import BURST_QUIET_SECONDS, THROTTLE_QUIET_SECONDS, Gathering
from crossfade.migrate.audit.spool import Spool, left_behind, spool_folder
from crossfade.migrate.audit.verify import Chain, verify
from crossfade.store.backends.postgres.journal import START, Line, Written, line_of

BEGINNING = datetime(2026, 11, 23, 1, 2, 3, 456789, UTC)

# What becomes a line


@given(st.lists(st.tuples(st.sampled_from(["A 1", "B 2"]), st.floats(0.0, 20.0)), min_size=1, max_size=200))
def test_every_retry_is_counted_and_a_burst_is_few_lines(faults: list[tuple[str, float]]):
    """However they come: the counts of the lines add up, and lines are bounded by the time that passes, not by the retries."""
    gathering, now, lines = Gathering(), 0.0, []
    for fault, pause in faults:
        now += pause
        lines += gathering.due(now)
        gathering.retry(fault, now)
    lines += gathering.end(now)

    told = Counter[str]()
    for line in lines:
        assert line.event == "retried"
        assert line.detail["count"] == sum(line.detail["faults"].values())
        told.update(line.detail["faults"])
    assert told == Counter(fault for fault, _ in faults)
    assert len(lines) <= 1 + sum(pause >= BURST_QUIET_SECONDS for _, pause in faults) + now / 10


def test_an_outage_of_a_day_is_a_dozen_lines():
    """One retry every two seconds: told after ten seconds, and then ever more rarely."""
    gathering, lines = Gathering(), []
    for second in range(0, 24 * 3600, 2):
        gathering.retry("OperationalError", float(second))
        lines += gathering.due(float(second))
    lines += gathering.end(24 * 3600.0)

    assert 8 <= len(lines) <= 16
    assert sum(line.detail["count"] for line in lines) == 12 * 3600


def test_a_throttle_has_a_beginning_and_an_end():
    """Each reason is named when it comes up; the end says how long each held the work back."""
    gathering = Gathering()
    for second in range(5):
        gathering.throttle("busy", 0.5, float(second))
    gathering.throttle("rate", 2.0, 5.0)
    begun = gathering.due(6.0)
    assert [(line.event, line.reason) for line in begun] == [("throttled", "busy"), ("throttled", "rate")]
    assert gathering.due(7.0 + THROTTLE_QUIET_SECONDS - 0.1) == []
    (ended,) = gathering.due(7.0 + THROTTLE_QUIET_SECONDS)
    assert (ended.event, ended.reason) == ("throttle ended", "busy")
    assert ended.detail == {"seconds": {"busy": 2.5, "rate": 2.0}}
    assert gathering.end(99.0) == []


def test_items_of_quarantine_are_counted_by_page():
    """No path, no content: how many of each kind, in how many pages."""
    gathering = Gathering()
    gathering.quarantined("events", 3)
    gathering.quarantined("events", 2)
    gathering.quarantined("dlq", 1)
    (line,) = gathering.due(1.0)
    assert (line.event, line.detail) == ("quarantined", {"items": {"events": 5, "dlq": 1}, "pages": 3})
    assert gathering.due(2.0) == []


# What waits on disk


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's state directory."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path


def _said(event: str) -> Line:
    return Line(event, {"count": 2}, "why \udcff", said_at=BEGINNING)


def test_what_is_kept_comes_back_as_it_was_said(state: Path):
    """With its time, its identity and its author, whoever reads it."""
    spool, lines = Spool("aa"), [_said("one"), _said("two")]
    spool.keep(lines[:1])
    spool.keep(lines[1:])
    assert spool.lines == lines
    assert list(left_behind("aa")) == [], "its writer lives"
    spool.close()

    (left,) = left_behind("aa")
    assert (left.lines, left.unread) == (lines, 0)
    assert line_of(json.loads(json.dumps(lines[0].values()))) == lines[0]
    assert os.stat(left.path).st_mode & 0o077 == 0
    assert os.stat(spool_folder()).st_mode & 0o077 == 0
    assert list(left_behind("a")) == []


def test_what_is_appended_is_gone_and_a_new_file_begins(state: Path):
    """The file's name tells nothing about what comes next."""
    spool = Spool("aa")
    spool.keep([_said("one")])
    spool.clear()
    assert spool.lines == []
    assert os.listdir(spool_folder()) == []
    second = _said("two")
    spool.keep([second])
    spool.close()
    assert [left.lines for left in left_behind("aa")] == [[second]]


def test_a_line_that_was_torn_was_never_kept(state: Path):
    """A power cut in the middle of it: what came before stands."""
    spool = Spool("aa")
    spool.keep([_said("one")])
    spool.close()
    (whole,) = left_behind("aa")
    with open(whole.path, "ab") as file:
        file.write(b'{"event": "tw')
    assert list(left_behind("aa")) == [whole]


# What holds


def _chain(count: int) -> list[Written]:
    lines: list[Written] = []
    head = START
    for number in range(1, count + 1):
        at = BEGINNING + timedelta(seconds=number)
        detail = json.dumps({"n": number})
        line = Written("aa", number, f"id-{number}", at, at, "ada", "host", "event", f"reason {number}", detail, head, b"")
        head = line.hash_after(head)
        lines.append(replace(line, hash=head))
    return lines


def _verified(lines: Sequence[Written], known: str = "") -> Chain:
    return verify(lambda: sorted(lines, key=lambda line: line.seq), known)


CHANGES = {
    "actor": "eve",
    "host": "elsewhere",
    "event": "finished",
    "reason": "no reason",
    "detail": "{}",
    "said_at": BEGINNING - timedelta(days=1),
    "at": BEGINNING - timedelta(days=1),
    "line": "another",
    "migration": "bb",
    "previous": START[::-1],
    "hash": START[::-1],
}


@given(st.integers(1, 12), st.data())
def test_a_chain_that_nobody_touched_holds(count: int, data: st.DataObject):
    """And so does every head that it ever had."""
    lines = _chain(count)
    known = data.draw(st.sampled_from([START, *(line.hash for line in lines)]))
    assert _verified(lines) == Chain(count, lines[-1].hash)
    assert _verified(lines, known.hex()[:16]).broken is None


@given(st.integers(1, 12), st.sampled_from([*CHANGES]), st.data())
def test_an_edited_line_is_named(count: int, column: str, data: st.DataObject):
    """Whatever was edited in it."""
    lines = _chain(count)
    at = data.draw(st.integers(0, count - 1))
    lines[at] = replace(lines[at], **{column: CHANGES[column]})
    broken = _verified(lines).broken
    assert broken is not None
    assert (broken.line, broken.what) == (at + 1, "edited")


@given(st.integers(2, 12), st.data())
def test_a_line_that_was_written_anew_with_its_hash_is_named(count: int, data: st.DataObject):
    """The next line follows the old one. The last one can only be told by a head."""
    lines = _chain(count)
    at = data.draw(st.integers(0, count - 1))
    head = lines[-1].hash.hex()
    forged = replace(lines[at], actor="eve")
    lines[at] = replace(forged, hash=forged.hash_after(forged.previous))
    broken = _verified(lines, head).broken
    assert broken is not None
    if at == count - 1:
        assert (broken.line, broken.what) == (count + 1, "cut off")
        assert _verified(lines).broken is None
    else:
        assert (broken.line, broken.what) == (at + 1, "edited")


@given(st.integers(2, 12), st.booleans(), st.data())
def test_a_line_that_was_removed_is_named(count: int, renumbered: bool, data: st.DataObject):
    """Also where those behind it were moved up."""
    lines = _chain(count)
    at = data.draw(st.integers(0, count - 2))
    lines = [*lines[:at], *(replace(line, seq=line.seq - 1) if renumbered else line for line in lines[at + 1 :])]
    broken = _verified(lines).broken
    assert broken is not None
    assert (broken.line, broken.what) == (at + 1, "removed")


@given(st.integers(2, 12), st.data())
def test_lines_in_another_order_are_named(count: int, data: st.DataObject):
    """Two that changed places: the first of them is wrong first."""
    lines = _chain(count)
    one, other = sorted(data.draw(st.lists(st.integers(0, count - 1), min_size=2, max_size=2, unique=True)))
    lines[one], lines[other] = replace(lines[other], seq=one + 1), replace(lines[one], seq=other + 1)
    broken = _verified(lines).broken
    assert broken is not None
    assert (broken.line, broken.what) == (one + 1, "reordered")


@given(st.integers(2, 12), st.data())
def test_a_journal_that_was_cut_off_needs_a_head_to_be_told(count: int, data: st.DataObject):
    """What is left of it is a chain that holds."""
    lines = _chain(count)
    left = data.draw(st.integers(1, count - 1))
    assert _verified(lines[:left]).broken is None
    broken = _verified(lines[:left], lines[-1].hash.hex()).broken
    assert broken is not None
    assert (broken.line, broken.what) == (left + 1, "cut off")


def test_a_journal_without_any_line_is_none():
    """Every migration begins with one."""
    broken = _verified([]).broken
    assert broken is not None
    assert (broken.line, broken.what) == (1, "cut off")
