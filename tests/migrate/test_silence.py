"""A database that does not answer is noticed, though whoever asks it hangs."""

from __future__ import annotations

import pytest

from crossfade.migrate import silence
from crossfade.migrate.silence import Silence
from support.running import wait_for


def test_a_silence_is_told_once_and_so_is_its_end(monkeypatch: pytest.MonkeyPatch):
    """What is answered soon is none, and what is not asked neither."""
    monkeypatch.setattr(silence, "_TICK_SECONDS", 0.01)
    told: list[str] = []
    with Silence(told.append) as watched:
        for _ in range(20):
            with watched.asking():
                pass
        monkeypatch.setattr(silence, "_SECONDS", 0.1)
        with watched.asking():
            wait_for("a word", lambda: told)
            assert told == ["the database has not answered for 0 s"]
        wait_for("its end", lambda: len(told) > 1)
        assert told[1:] == [""]
