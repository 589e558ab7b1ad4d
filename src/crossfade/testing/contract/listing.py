"""Entries are listed in the order of a walk."""

from __future__ import annotations

from crossfade.model.changes import Remove
from crossfade.model.paths import key_of
from crossfade.testing.contract.bench import Bench, directory, link
from crossfade.testing.contract.case import case


@case()
def entries_come_in_the_order_of_a_walk_the_root_first(bench: Bench) -> None:
    """Everything that merges two inventories stands on this order; no locale agrees with it."""
    paths = [b"a/x", b"a.b", b"A", b"a/x.jsonl", b"a\xff", "aé".encode(), b"a/b/c", b"a-b", b"Z/\x7f", b"a b", b"a/x-"]
    made = [b"a", b"a/b", b"Z"]
    for path in paths:
        bench.put(path, b"1")
    bench.apply(*map(directory, sorted(made, reverse=True)), directory(b""))
    found = [entry.path for entry in bench.store.entries()]

    assert found == [b"", *sorted(paths + made, key=key_of)]
    assert found.index(b"a") < found.index(b"a/x") < found.index(b"a.b")


@case()
def a_list_goes_on_behind_any_path(bench: Bench) -> None:
    """An inventory of a million entries must not begin again because a connection broke; the path may be gone by then."""
    paths = [b"a", b"a-b", b"a/b", b"a/b.c", b"a/b/c", b"b", b"d\xff", b"long/" + b"x" * 250]
    for path in (b"a-b", b"a/b.c", b"a/b/c", b"b", b"d\xff", b"long/" + b"x" * 250):
        bench.put(path, b"1")
    bench.apply(directory(b"a/b"), directory(b"long"), directory(b"a"), directory(b""))
    every = [entry.path for entry in bench.store.entries()]

    assert [e.path for e in bench.store.entries(after=b"")] == every[1:]
    for path in [*paths, b"a/a", b"a/b.c/x", b"zz"]:
        found = [entry.path for entry in bench.store.entries(after=path)]
        assert found == [other for other in every if key_of(other) > key_of(path)]


@case()
def an_empty_tree_lists_nothing_but_perhaps_its_root(bench: Bench) -> None:
    """A store that was never written to is not an error."""
    assert bench.paths() == []


@case()
def a_look_shows_what_stands_at_some_paths_and_what_stood_there(bench: Bench) -> None:
    """Whoever follows asks for what was hinted at: the same entries as in a list, in the same order, nothing else."""
    for path in (b"a/x.json", b"a.b", b"b\xff", b"c"):
        bench.put(path, b"1")
    bench.apply(directory(b"a"), directory(b""))
    every = {entry.path: entry for entry in bench.store.entries()}
    asked = [b"c", b"a/x.json", b"missing", b"a/x.json/below", b"b\xff", b"a", b"", b"nowhere/at/all"]
    found = list(bench.store.look(asked))

    assert [entry.path for entry in found] == sorted({b"", b"a", b"a/x.json", b"b\xff", b"c"}, key=key_of)
    assert found == [every[entry.path] for entry in found]
    bench.apply(Remove(bench.there(b"c")))
    assert [entry.type for entry in bench.store.look([b"c"])] in ([], ["gone"])
    assert list(bench.store.look([])) == []


@case()
def a_list_may_be_of_what_lies_below_one_directory(bench: Bench) -> None:
    """A directory that came or went is looked through without the rest; its neighbours in the order are not part of it."""
    for path in (b"a/x.json", b"a.b", b"a/b/c", b"a-", b"b/x"):
        bench.put(path, b"1")
    bench.apply(directory(b"a/b"), directory(b"b"), directory(b"a"), directory(b""))

    assert [e.path for e in bench.store.entries(under=b"a")] == [b"a/b", b"a/b/c", b"a/x.json"]
    assert [e.path for e in bench.store.entries(under=b"a", after=b"a/b")] == [b"a/b/c", b"a/x.json"]
    assert [e.path for e in bench.store.entries(under=b"a/b")] == [b"a/b/c"]
    for nothing in (b"missing", b"a/x.json", b"a/b/c/d"):
        assert list(bench.store.entries(under=nothing)) == []


@case()
def a_list_of_directories_shows_no_files(bench: Bench) -> None:
    """Whoever puts directories right at the end looks at these only; what was removed may have been one."""
    for path in (b"a/x.json", b"a/b/c", b"a.b", b"d"):
        bench.put(path, b"1")
    bench.apply(directory(b"a"), directory(b"a/b"), directory(b"e"), directory(b""), link(b"f", b"a"))
    every = [entry for entry in bench.store.entries() if entry.type == "dir"]

    assert [entry.path for entry in every] == [b"", b"a", b"a/b", b"e"]
    assert list(bench.store.entries(directories=True)) == every
    assert list(bench.store.entries(directories=True, under=b"a", after=b"a/a")) == every[2:3]
    bench.apply(Remove(bench.there(b"d")), Remove(bench.there(b"e")))
    found = [(e.path, e.type) for e in bench.store.entries(directories=True, tombstones=True)]
    assert found in (
        [(b"", "dir"), (b"a", "dir"), (b"a/b", "dir")],
        [(b"", "dir"), (b"a", "dir"), (b"a/b", "dir"), (b"d", "gone"), (b"e", "gone")],
    )
