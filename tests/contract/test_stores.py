"""The contract suite, over every store that we have and every layer around one. Its cases are ``crossfade.testing.contract``."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from crossfade.model.changes import Page
from crossfade.store.backends.file.store import FileStore
from crossfade.store.backends.memory import MemoryStore
from crossfade.store.backends.postgres.store import PostgresStore
from crossfade.store.layers.marking import Marking
from crossfade.store.layers.retrying import Patience, Retrying
from crossfade.store.location import parse
from crossfade.store.port import Applied, Reading, Store
from crossfade.testing.contract import LAYOUT, Bench, cases
from support.servers import NAMES, Database
from support.stores import new_tree


def memory() -> MemoryStore:
    return MemoryStore(parse("memory:"), LAYOUT)


def silently(*_: object) -> None:
    """Nobody listens."""


@pytest.mark.parametrize("case", cases(MemoryStore.can), ids=str)
def test_memory_keeps_the_contract(case):
    """The reference, in sixty lines."""
    store = memory()
    case(Bench(lambda: store))


@pytest.mark.parametrize("case", cases(FileStore.can), ids=str)
def test_files_keep_the_contract(case, tmp_path: Path):
    """And leave nothing of their own behind."""
    root = tmp_path / "root"
    root.mkdir()
    case(Bench(lambda: FileStore(parse(str(root)), LAYOUT)))

    assert os.listdir(tmp_path) == ["root"]


@pytest.mark.parametrize("shared_database", NAMES, indirect=True)
@pytest.mark.parametrize("case", cases(PostgresStore.can), ids=str)
def test_postgresql_keeps_the_contract(case, shared_database: Database):
    """On every major that we have, beside other trees of the same schema; fenced and marked, as in a migration."""
    case(Bench(new_tree(shared_database)))


@pytest.mark.parametrize("case", cases(MemoryStore.can), ids=str)
def test_marking_keeps_the_contract(case):
    """A layer around a store is a store."""
    store = memory()
    case(Bench(lambda: Marking(store, silently, silently, silently)))


@pytest.mark.parametrize("case", cases(MemoryStore.can), ids=str)
def test_retrying_keeps_the_contract(case):
    """A layer around a store is a store."""
    store = memory()
    case(Bench(lambda: Retrying(store, Patience(), silently)))


SEVERAL_PAGES = {
    "an_entry_goes_on_where_its_last_page_ended",
    "a_copy_that_was_cut_short_goes_on_behind_its_whole_segments",
    "a_tail_is_cut_back_and_written_again",
    "what_was_removed_is_gone_and_can_come_back",
    "readings_come_in_the_order_they_were_asked_for",
}


class Tripping:
    """A store of which every call breaks once, with a fault that passes, before or after it was done."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._calls = 0
        self.location, self.can, self.layout = store.location, store.can, store.layout
        self.close = store.close

    def _trip(self) -> None:
        self._calls += 1
        if self._calls % 2:
            raise psycopg.OperationalError("the connection broke")

    def entries(self, **which):
        for entry in self._store.entries(**which):
            yield entry
            self._trip()

    def look(self, paths):
        self._trip()
        yield from self._store.look(paths)

    def read(self, readings):
        for block in self._store.read(readings):
            yield block
            self._trip()

    def segments(self, entry):
        self._trip()
        return self._store.segments(entry)

    def apply(self, page: Page):
        applied = self._store.apply(page)
        self._trip()
        return applied

    def digest(self, entries):
        self._trip()
        return self._store.digest(entries)

    def weigh(self, spans):
        self._trip()
        return self._store.weigh(spans)


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Back-off without the time that it takes."""
    monkeypatch.setattr("crossfade.store.patience.time.sleep", silently)


@pytest.mark.usefixtures("no_waiting")
@pytest.mark.parametrize("case", cases(MemoryStore.can), ids=str)
def test_patience_hides_every_fault_that_passes(case):
    """Every other call breaks, some of them after they did their work: the contract holds above."""
    store = memory()
    case(Bench(lambda: Retrying(Tripping(store), Patience(), silently)))


@pytest.mark.usefixtures("no_waiting")
@pytest.mark.parametrize("case", cases(FileStore.can), ids=str)
def test_a_page_of_files_is_safe_to_repeat_after_its_marks_failed(case, tmp_path: Path):
    """Marks go to a database, which may be away for a moment; the files are there by then."""
    root = tmp_path / "root"
    root.mkdir()
    case(Bench(lambda: Retrying(Tripping(FileStore(parse(str(root)), LAYOUT)), Patience(), silently)))

    assert os.listdir(tmp_path) == ["root"]


@pytest.mark.usefixtures("no_waiting")
@pytest.mark.parametrize("case", [case for case in cases(PostgresStore.can) if str(case) in SEVERAL_PAGES], ids=str)
def test_a_page_of_records_is_safe_to_repeat(case, shared_database: Database):
    """The same for a database whose answers are lost."""
    opener = new_tree(shared_database)
    case(Bench(lambda: Retrying(Tripping(opener()), Patience(), silently)))


# Layers


def members(of: type) -> set[str]:
    """The public names of a class, those of its annotations included."""
    return {name for name in [*vars(of), *inspect.get_annotations(of)] if not name.startswith("_")}


class Recorder:
    """A store that does nothing but remember what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __getattr__(self, name: str):
        def ask(*arguments: object, **options: object):
            self.asked.append(name)
            return Applied() if name == "apply" else iter([])

        return ask


LAYERS: dict[str, Callable[[Store], Store]] = {
    "marking": lambda store: Marking(store, silently, silently, silently),
    "retrying": lambda store: Retrying(store, Patience(), silently),
}


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_forwards_every_member_of_the_port(layer: str):
    """A member that is added to the port and forgotten in a layer would be looked for in vain."""
    below = Recorder()
    above = LAYERS[layer](below)
    methods = {name for name in members(Store) if callable(getattr(Store, name, None))}
    for name in sorted(methods - {"read", "entries"}):
        parameters = inspect.signature(getattr(type(above), name)).parameters.values()
        getattr(above, name)(*[Page(())] * (sum(p.kind is p.POSITIONAL_OR_KEYWORD for p in parameters) - 1))
    list(above.read([]))
    list(above.entries())

    assert members(Store) - methods == {name for name in members(Store) if name in vars(above)}
    assert methods <= members(type(above))
    assert methods - {"read"} <= set(below.asked)  # nothing is left to read of nothing


@pytest.mark.parametrize("backend", [MemoryStore, FileStore, PostgresStore])
def test_a_backend_has_every_member_of_the_port(backend: type):
    """The port is a protocol: nobody else looks."""
    given = {"location", "layout"}

    assert members(Store) - given <= members(backend)


def test_marking_marks_after_the_page_and_never_before():
    """A mark that stands for bytes which are not there would lose them; what they will be is written down before."""
    store, marked = memory(), []
    above = Marking(
        store,
        lambda intents: marked.append([path for path, _ in intents if not list(store.look([path]))]),
        lambda entries, removed, refusals: marked.append([b.data for b in store.read(map(Reading, entries))]),
        silently,
    )
    bench = Bench(lambda: above)
    bench.put(b"doc.json", b"{}")
    above.apply(Page(()))

    assert marked == [[b"doc.json"], [b"{}"]]


def test_patience_ends_with_its_deadline():
    """A server that stays away is told of, in time, with its own error."""

    class Away(Recorder):
        def apply(self, page: Page):
            raise psycopg.OperationalError("away")

    told: list[BaseException] = []
    above = Retrying(Away(), Patience(deadline_seconds=0.3, wait_seconds_max=0.1), told.append)
    with pytest.raises(psycopg.OperationalError):
        above.apply(Page(()))

    assert len(told) > 1


def test_patience_is_not_for_faults_that_stay():
    """A refused login is refused again."""

    class Wrong(Recorder):
        def apply(self, page: Page):
            self.asked.append("apply")
            raise psycopg.OperationalError("password authentication failed")

    below = Wrong()
    with pytest.raises(psycopg.OperationalError):
        Retrying(below, Patience(), silently).apply(Page(()))

    assert below.asked == ["apply"]
