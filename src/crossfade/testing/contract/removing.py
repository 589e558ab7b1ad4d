"""What is removed is gone, and can come back."""

from __future__ import annotations

from crossfade.model.changes import Remove, Touch
from crossfade.model.entries import altered
from crossfade.testing.contract.bench import Bench, directory, lines, link, puts
from crossfade.testing.contract.case import case


@case()
def what_was_removed_is_gone_and_can_come_back(bench: Bench) -> None:
    """A store may remember a removal, but must not show it as an entry."""
    for path in (b"log.jsonl", b"doc.json", b"d/blob"):
        bench.put(path, lines(2000))
    bench.apply(directory(b"d"), link(b"l", b"text"))
    bench.apply(*(Remove(bench.there(path)) for path in (b"log.jsonl", b"d/blob", b"l")))
    bench.apply(Remove(bench.there(b"d")))
    bench.reopen()
    assert bench.files() == {b"doc.json": lines(2000)}
    assert bench.paths() == [b"doc.json"]
    remembered = [entry for entry in bench.store.entries(tombstones=True) if entry.path != b"doc.json" and entry.path]
    assert [entry.type for entry in remembered] in ([], ["gone"] * 4)

    bench.put(b"log.jsonl", b'{"n":7}\n')
    assert bench.files() == {b"doc.json": lines(2000), b"log.jsonl": b'{"n":7}\n'}


@case()
def removing_twice_is_no_mistake(bench: Bench) -> None:
    """A page that is repeated removes what it removed before."""
    bench.put(b"doc.json", b"{}")
    there = bench.there(b"doc.json")
    bench.apply(Remove(there))
    bench.apply(Remove(there))

    assert bench.paths() == []


@case()
def one_thing_takes_the_place_of_another(bench: Bench) -> None:
    """A file becomes a directory, a directory a link, a link a file: within one page, remove and make."""
    bench.put(b"a.json", b"{}")
    bench.apply(directory(b"b"), link(b"c.json", b"text"))
    a, b, c = (bench.there(path) for path in (b"a.json", b"b", b"c.json"))
    bench.apply(Remove(a), Touch(altered(directory(a.path).entry, row=a.row, generation=a.generation + 1)))
    bench.apply(Remove(b), Touch(altered(link(b.path, b"x").entry, row=b.row, generation=b.generation + 1)))
    bench.apply(Remove(c), *puts(bench.entry(b"c.json"), b"[]"))
    bench.reopen()

    assert [(path, type_, content) for path, type_, *_, content in bench.tree()] == [
        (b"a.json", "dir", b""), (b"b", "link", b""), (b"c.json", "file", b"[]")
    ]  # fmt: skip
