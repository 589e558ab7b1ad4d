"""How far a follower says it is behind: the age of the oldest byte that is missing, never that of the oldest change."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from crossfade.store.backends.file import store
from support.person import Person
from support.running import wait_for
from support.servers import Database


def test_a_log_that_is_written_at_every_moment_is_not_behind_for_ever(
    tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
):
    """Whenever somebody looks, it was touched in that very tick, and has to be looked at again; what was there is brought."""
    monkeypatch.setattr(store, "_is_fresh", lambda status, since: True)
    log = tmp_path / "live/events/r/j/events-1.jsonl"
    log.parent.mkdir(parents=True)
    log.write_bytes(b"{}\n")
    schema = database.location.schema
    lag = f"""SELECT coalesce(max((progress #>> '{{lag,seconds}}')::float), 99) FROM "{schema}".migrations"""
    seen: list[float] = []

    def write() -> None:
        try:
            wait_for("a follower", lambda: database.one("SELECT to_regclass(%s)", f"{schema}.migrations"), 60)
            wait_for("its lag", lambda: database.one(lag) != 99, 60)
            began = time.monotonic()
            while (passed := time.monotonic() - began) < 20 and not (passed > 4 and seen[-1] < 2):
                with log.open("ab", 0) as file:
                    file.write(b"{}\n")
                seen.append(float(str(database.one(lag))))
                time.sleep(0.1)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    writer = threading.Thread(target=write)
    writer.start()
    done = Person(tmp_path / "state").types("start", tmp_path / "live", database.url, "--cpu-max", "100", "--grace", "0")
    writer.join()

    assert done.status == 0, done
    assert seen[-1] < 2, seen
