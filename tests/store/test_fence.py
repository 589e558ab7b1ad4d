"""A tree of files is fenced: whoever was stopped for as long as a lease lasts asks before it writes, and is refused."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from crossfade.errors import Fenced
from crossfade.store.backends.file.staging import Staging
from crossfade.store.backends.postgres.leases import LEASE_SECONDS
from crossfade.store.location import parse
from crossfade.store.registry import FileRecipe, MarkedRecipe
from crossfade.testing.contract import LAYOUT, Bench
from crossfade.testing.contract.bench import link, puts
from support.servers import Database
from support.stores import MIGRATION, claimed


class Runner:
    """Writes a tree whose marks are in *database*; it can be asleep while another takes over."""

    def __init__(self, database: Database, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._database = database
        self._slept = 0.0
        self.root = root
        clock = time.clock_gettime
        monkeypatch.setattr(time, "clock_gettime", lambda which: clock(which) + self._slept)
        files = FileRecipe(parse(str(root)), LAYOUT, include_transient=True)
        epoch = claimed(database).epoch
        recipe = MarkedRecipe(files, database.server, database.location.schema, MIGRATION, epoch)
        self.bench = Bench(recipe.open)

    def sleeps(self) -> None:
        """For longer than a lease; somebody else runs the migration when it wakes up."""
        claimed(self._database)
        self._slept += LEASE_SECONDS + 1

    @property
    def there(self) -> list[str]:
        """The files below its root."""
        return sorted(os.listdir(self.root))


@pytest.fixture
def runner(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runner]:
    root = tmp_path / "root"
    root.mkdir()
    made = Runner(database, root, monkeypatch)
    yield made
    made.bench.store.close()


def test_the_next_page_of_a_runner_that_was_replaced_writes_nothing(runner: Runner):
    """Neither a file nor a removal; the marks are not all that is refused."""
    runner.bench.put(b"one.json", b"{}")
    runner.sleeps()
    with pytest.raises(Fenced):
        runner.bench.put(b"two.json", b"{}")
    with pytest.raises(Fenced):
        runner.bench.apply(*puts(runner.bench.entry(b"one.json"), b'{"n":1}'))
    assert runner.there == ["one.json"]
    assert (runner.root / "one.json").read_bytes() == b"{}"


def test_a_runner_that_falls_asleep_within_a_page_places_nothing_afterwards(runner: Runner, monkeypatch: pytest.MonkeyPatch):
    """It was allowed to begin; what only lacks its name when it wakes up does not get it."""
    sync = Staging.sync

    def asleep(staging: Staging) -> None:
        sync(staging)
        runner.sleeps()

    monkeypatch.setattr(Staging, "sync", asleep)
    with pytest.raises(Fenced):
        runner.bench.put(b"one.json", b"{}")
    assert runner.there == []


def test_a_lease_is_not_asked_for_with_every_change(runner: Runner, database: Database):
    """Only when it may have run out: a tree of many files is written with few questions."""
    query = "SELECT expires_at FROM leases"
    runner.bench.put(b"one.json", b"{}")
    asked = database.one(query)
    runner.bench.apply(*(put for n in range(20) for put in puts(runner.bench.entry(b"%d.json" % n), b"{}")))
    assert database.one(query) == asked
    assert len(runner.there) == 21


def test_a_directory_for_what_is_unfinished_may_go_and_comes_back(runner: Runner, tmp_path: Path):
    """Whoever was replaced leaves it empty, and takes it away, under the hands of who goes on: that stops nobody."""
    runner.bench.put(b"one.json", b"{}")
    (tmp_path / "root.crossfade").rmdir()
    runner.bench.put(b"two.json", b"{}")
    (tmp_path / "root.crossfade").rmdir()
    runner.bench.apply(link(b"three", b"two.json"))
    assert runner.there == ["one.json", "three", "two.json"]
