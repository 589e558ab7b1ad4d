"""The engine over stores that fail on purpose: whatever breaks, before or after the work was done, it happens once.

In this process, with one worker; dying is the other files' matter. Here a call fails and the run goes on.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from crossfade.migrate.engine import Engine
from crossfade.migrate.plan import Limits, Manner
from crossfade.migrate.prepare import Request, prepared
from crossfade.migrate.tally import Result
from crossfade.store.location import Location, parse
from crossfade.store.port import Store
from crossfade.store.registry import MarkedRecipe
from crossfade.testing.faulty import Fault, FaultyRecipe, FaultyStore
from support.person import Person
from support.running import compare, once_each
from support.servers import NAMES, Database

MANNER = Manner(workers=1, limits=Limits(page_records=400), patience_seconds=30)

ON_TARGET = [
    Fault("apply", when="before"),
    Fault("apply", when="after"),
    Fault("apply", after=3, count=3, when="after"),
    Fault("apply", after=6, count=2, when="before"),
    Fault("apply", kind="no space", after=2, count=3, when="before"),
    Fault("apply", kind="no space", after=5, when="after"),
    Fault("entries", after=40, count=2, when="after"),
    Fault("digest", when="before"),
    Fault("digest", when="after"),
    Fault("segments", when="after"),
]
ON_SOURCE = [
    Fault("read", when="before"),
    Fault("read", after=2, count=3, when="after"),
    Fault("entries", after=25, count=3, when="after"),
    Fault("entries", after=1, when="before"),
    Fault("segments", when="before"),
]


def run(source: Location, target: Location, *, on_source: Fault | None = None, on_target: Fault | None = None) -> Result:
    """``start --once``, with a fault on one side."""
    with prepared(Request(source, target, manner=MANNER)) as ready:
        faulty = replace(ready, **_recipes(ready, on_source, on_target))
        return Engine(faulty, watch=lambda _: None, stop=threading.Event()).once()


def _recipes(ready: Any, on_source: Fault | None, on_target: Fault | None) -> dict[str, FaultyRecipe]:
    return {
        "source": FaultyRecipe(ready.source, (on_source,) if on_source else ()),
        "target": FaultyRecipe(ready.target, (on_target,) if on_target else ()),
    }


@pytest.mark.parametrize(
    ("side", "fault"), [*(("target", f) for f in ON_TARGET), *(("source", f) for f in ON_SOURCE)], ids=str
)
def test_a_fault_on_the_way_to_the_database_changes_nothing(side: str, fault: Fault, small_store: Path, database: Database):
    """Also a page that was applied although nobody heard so: it is not applied again."""
    result = run(parse(str(small_store)), database.location, **{f"on_{side}": fault})

    assert result.report["validation"]["holds"]
    with database.connect() as connection:
        assert once_each(connection, database.location.schema, small_store) > 2_000
    assert run(parse(str(small_store)), database.location).already is not None


@pytest.mark.parametrize(
    ("side", "fault"), [*(("target", f) for f in ON_TARGET), *(("source", f) for f in ON_SOURCE)], ids=str
)
def test_a_fault_on_the_way_to_files_changes_nothing(
    side: str, fault: Fault, small_store: Path, restorable: Location, tmp_path: Path
):
    """Also an entry that got its name although nobody heard so: it is found, and marked, and not written over."""
    target = tmp_path / "restored"
    run(restorable, parse(str(target)), **{f"on_{side}": fault})

    compare(small_store, target)
    assert [path.name for path in tmp_path.iterdir()] == ["restored"]
    assert run(restorable, parse(str(target))).already is not None


@pytest.fixture(scope="module")
def restorable(servers: Any, small_store: Path) -> Any:
    """The small store, in a database."""
    with servers.database(NAMES[0]) as database:
        run(parse(str(small_store)), database.location)
        yield database.location


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A target disk that is full for the first pages."""

    def fill(pages: int) -> None:
        def opened(recipe: MarkedRecipe, worker: int = 0) -> Store:
            return FaultyStore(original(recipe, worker), [Fault("apply", "no space", count=pages)])

        original = MarkedRecipe.open
        monkeypatch.setattr(MarkedRecipe, "open", opened)

    return fill


def test_a_full_disk_that_clears_is_waited_for(full_disk: Any, small_store: Path, restorable: Location, tmp_path: Path):
    """Three pages find no space, then there is."""
    full_disk(3)
    done = Person(tmp_path / "state").types(
        "start", restorable.url, tmp_path / "restored", "--once", CROSSFADE_PATIENCE_SECONDS="30"
    )

    assert done.status == 0, done
    compare(small_store, tmp_path / "restored")


def test_a_full_disk_that_stays_full_ends_the_run_and_loses_nothing(
    full_disk: Any, monkeypatch: pytest.MonkeyPatch, small_store: Path, restorable: Location, tmp_path: Path
):
    """Beyond patience: exit 2, CF207, what to do; and once there is space the same command finishes."""
    person = Person(tmp_path / "state")
    command = ("start", restorable.url, tmp_path / "restored", "--once")
    with monkeypatch.context():
        full_disk(1_000)
        done = person.types(*command, CROSSFADE_PATIENCE_SECONDS="1")
        monkeypatch.undo()

    assert done.status == 2, done
    assert "error[CF207]" in done.err
    assert "\n  try: " in done.err

    again = person.types(*command)
    assert again.status == 0, again
    compare(small_store, tmp_path / "restored")


def test_bytes_that_did_not_fit_are_written_again_from_where_they_broke_off(
    monkeypatch: pytest.MonkeyPatch, small_store: Path, restorable: Location, tmp_path: Path
):
    """The system call itself: half of a write is taken, the next finds no space, for some time."""
    import os

    genuine, calls = os.pwrite, iter(range(1_000_000))

    def stingy(descriptor: int, data: Any, offset: int) -> int:
        number = next(calls)
        if number % 40 == 21:
            return genuine(descriptor, bytes(data)[: max(len(data) // 2, 1)], offset)
        if number in (22, 23, 62, 63, 103):
            raise OSError(28, "No space left on device")
        return genuine(descriptor, data, offset)

    monkeypatch.setattr(os, "pwrite", stingy)
    done = Person(tmp_path / "state").types(
        "start", restorable.url, tmp_path / "restored", "--once", CROSSFADE_PATIENCE_SECONDS="30"
    )

    assert done.status == 0, done
    compare(small_store, tmp_path / "restored")


def test_a_faulty_store_forwards_every_member_of_the_port():
    """A wrapper that forgets one would test something else than it says."""
    members = {name for name in vars(Store) if not name.startswith("_")}

    assert members <= set(vars(FaultyStore))
