"""Files that change while somebody looks at them: what was read is marked so that the next look finds the change."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from crossfade.migrate.survey import Survey, measure_reading
from crossfade.store.backends.file import store as module
from crossfade.store.backends.file.store import FileStore
from crossfade.store.location import parse
from crossfade.store.port import Reading
from crossfade.testing.contract import LAYOUT


@pytest.fixture
def live(tmp_path: Path) -> FileStore:
    """A store for whoever follows."""
    return FileStore(parse(str(tmp_path)), LAYOUT, waits=False)


def test_a_log_that_is_shorter_by_now_has_nothing_behind_its_end(live: FileStore, tmp_path: Path):
    """It was truncated between the look and the reading: whoever follows sees that at the next look, and no fault."""
    (tmp_path / "log.jsonl").write_bytes(b"0123456789" * 10)
    (entry,) = live.look([b"log.jsonl"])
    (tmp_path / "log.jsonl").write_bytes(b"0123456789")
    (block,) = live.read([Reading(entry, offset=50)])
    assert (block.data, block.last, block.entry.size) == (b"", True, 10)


def test_what_was_touched_in_the_tick_of_the_look_is_marked_so_however_long_it_takes_to_judge_it(
    live: FileStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A long document is parsed for longer than a tick; another write in the tick of the look would show nowhere."""
    is_json = module._is_json

    def slow(data: bytes) -> bool:
        time.sleep(0.05)
        return is_json(data)

    monkeypatch.setattr(module, "_is_json", slow)
    (tmp_path / "doc.json").write_bytes(b"{}")
    (entry,) = live.look([b"doc.json"])
    (block,) = live.read([Reading(entry)])
    assert block.entry.signature is not None
    assert block.entry.signature.ctime_ns == 0


def test_what_was_touched_a_moment_ago_is_marked_as_it_is(live: FileStore, tmp_path: Path):
    for name in ("doc.json", "log.jsonl"):
        (tmp_path / name).write_bytes(b"{}")
    time.sleep(0.05)
    entries = list(live.look([b"doc.json", b"log.jsonl"]))
    assert [block.entry.signature for block in live.read(list(map(Reading, entries)))] == [e.signature for e in entries]


def test_a_file_that_cannot_be_read_or_is_gone_ends_no_plan(
    live: FileStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Of a role that may not create a schema to try in, files are read, and no more. Root may read everything."""
    for name in ("gone.json", "here.json", "shut.json"):
        (tmp_path / name).write_bytes(b"{}")
    sample = [entry for entry in live.entries() if entry.type == "file"]
    (tmp_path / "gone.json").unlink()
    opened = live._tree.open

    def shut(path: bytes) -> int:
        if path == b"shut.json":
            raise PermissionError(13, "Permission denied")
        return opened(path)

    monkeypatch.setattr(live._tree, "open", shut)
    survey = Survey()
    measure_reading(live, sample, survey)
    assert (survey.sampled_bytes, survey.unreadable) == (2, [("shut.json", "Permission denied")])
