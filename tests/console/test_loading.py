"""What a command loads: whoever types it waits for it, each time."""

from __future__ import annotations

from pathlib import Path

import pytest

from crossfade.console import commands
from support.person import Person
from support.running import Terminal, finish
from support.servers import Database

PROGRAM = """
import os, sys
from crossfade.__main__ import main
try:
    main()
finally:
    with open(os.environ["LOADED"], "w") as file:
        file.write("\\n".join(sys.modules))
"""


def loaded(home: Path, *words: object) -> set[str]:
    """What ``crossfade WORDS`` has loaded once it ends."""
    process = Terminal(home, {"LOADED": str(home / "loaded")}).popen(*words, program=PROGRAM)
    run = finish(process)
    assert run.status == 0, run
    return set((home / "loaded").read_text().splitlines())


@pytest.mark.parametrize("words", [["--help"], ["start", "--help"], ["--version"], ["explain", "CF101"], ["layouts"]])
def test_what_asks_nobody_loads_no_driver(words: list[str], tmp_path: Path):
    """Help, and what the program knows by itself: neither the database's driver, nor what moves bytes, nor what tests need."""
    found = loaded(tmp_path, *words)

    heavy = {
        "psycopg",
        "pydantic",
        "asyncio",
        "multiprocessing",
        "inotify_simple",
        "crossfade.testing",
        "crossfade.migrate.prepare",
    }
    assert found & heavy == set()


def test_a_status_loads_nothing_that_moves_bytes(tmp_path: Path, database: Database):
    """It is asked every second by whoever waits for something."""
    (tmp_path / "live").mkdir()
    (tmp_path / "live/one.json").write_text("{}")
    Person(tmp_path).moves(tmp_path / "live", database.url)

    found = loaded(tmp_path, "status")

    assert "psycopg" in found
    moving = {"prepare", "workers", "engine", "follow.live", "handover.completing", "validate.verdict"}
    assert found & {f"crossfade.migrate.{name}" for name in moving} == set()
    assert found & {"inotify_simple", "multiprocessing", "crossfade.testing"} == set()


def test_a_copy_that_ends_loads_nothing_that_follows(tmp_path: Path, database: Database):
    """What hears of changes, and what hands over, is for those that live."""
    (tmp_path / "live").mkdir()
    (tmp_path / "live/one.json").write_text("{}")

    found = loaded(tmp_path, "start", tmp_path / "live", database.url, "--once", "--workers", "1")

    assert "crossfade.migrate.engine" in found
    assert found & {"inotify_simple", "crossfade.migrate.follow.live", "crossfade.testing"} == set()


def test_every_verb_can_be_loaded():
    """By its name, as main, live and control ask for it."""
    assert {getattr(commands, name).__name__.rpartition(".")[2] for name in commands.__all__} == set(commands.__all__)
