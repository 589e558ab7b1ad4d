"""The demo is no success where a write of its program was refused, was lost, or came twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from crossfade.console.commands import demo, demo_live
from crossfade.errors import Fenced
from crossfade.store.location import parse


class Unwilling:
    """A writer that takes three events, and refuses the next."""

    def __init__(self, *_: object) -> None:
        self._left = 3

    def __enter__(self) -> Unwilling:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def append(self, *_: object) -> None:
        if not self._left:
            raise Fenced("nothing was written", hint="open the writer anew")
        self._left -= 1

    def put(self, *_: object) -> None:
        pass


def test_a_write_that_was_refused_is_told_and_is_no_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """Though all that was written before is there, and nobody waits for more of it."""
    monkeypatch.setattr(demo_live, "Writer", Unwilling)
    program = demo_live.Program(str(tmp_path), "embedded:///nowhere")
    program.start()
    program.more()
    program.stop()

    assert demo_live.told(program, 3, 3) == 2
    assert "the program is done: 3 events, and then one was refused: nothing was written" in capsys.readouterr().out


@pytest.mark.parametrize(("rows", "different", "status"), [(3, 3, 0), (2, 2, 2), (4, 3, 2), (4, 4, 2)])
def test_each_event_has_to_be_there_once(tmp_path: Path, rows: int, different: int, status: int):
    program = demo_live.Program(str(tmp_path), "embedded:///nowhere")
    program.written = 3
    assert demo_live.told(program, rows, different) == status


def test_a_directory_may_have_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """What a URL would end with is a part of a path; all of it stays in that directory."""
    heard: list[tuple[str, ...]] = []
    monkeypatch.setattr(demo, "_run", lambda *words: heard.append(words) or 0)
    monkeypatch.setattr(demo, "_query", lambda url: heard.append((url,)))
    monkeypatch.setattr(demo, "live", lambda *_: 0)
    monkeypatch.setattr(demo.prodigy, "build", lambda *_, **__: None)

    assert demo.demo(str(tmp_path / "demo#1?"), 3) == 0
    urls = {word for words in heard for word in words if word.startswith("embedded:")}
    assert [parse(url).path for url in urls] == [bytes(tmp_path / "demo#1?" / "database")]
