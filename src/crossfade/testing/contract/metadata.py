"""Modes, times and links are kept."""

from __future__ import annotations

from crossfade.model.changes import Touch
from crossfade.model.entries import SEGMENT, altered
from crossfade.testing.contract.bench import TIME, Bench, directory, lines, link, puts
from crossfade.testing.contract.case import case


@case()
def a_touch_changes_metadata_and_nothing_else(bench: Bench) -> None:
    """A changed mode or time must not cost a copy of the content."""
    data = lines(2 * SEGMENT)
    bench.apply(*puts(bench.entry(b"log.jsonl"), data), *puts(bench.entry(b"doc.json"), b"{}"))
    before = bench.there(b"log.jsonl")
    bench.apply(Touch(altered(before, mode=0o600, mtime_ns=TIME + 1, records=0, raws=0)))
    after = bench.there(b"log.jsonl")

    assert (after.mode, after.mtime_ns) == (0o600, TIME + 1)
    assert (after.digest, after.size, after.complete) == (before.digest, before.size, True)
    assert bench.files() == {b"doc.json": b"{}", b"log.jsonl": data}
    assert (bench.there(b"doc.json").mode, bench.there(b"doc.json").mtime_ns) == (0o640, TIME)


@case()
def modes_times_and_links_are_kept(bench: Bench) -> None:
    """Files, directories that were never named by a file, links that lead nowhere; to the nanosecond, before 1970 too."""
    modes = {b"d/f%o" % mode: mode for mode in (0o400, 0o644, 0o755, 0o777, 0o1644)}
    for path, mode in modes.items():
        bench.apply(*puts(bench.entry(path, mtime_ns=mode, mode=mode), b"x"))
    texts = {b"l1": b"nowhere/at all", b"l2": b"..", b"l3": b"/etc", b"l4": b"\xff\n\\"}
    bench.apply(*(link(path, text, -1) for path, text in texts.items()))
    bench.apply(directory(b"e/deep/er", 0o700, 1), directory(b"e/deep", 0o555, TIME), directory(b"e", 0o2755, -1))
    bench.apply(directory(b"d", 0o1777, 10**18), directory(b"", 0o750, 12345))
    bench.reopen()

    assert bench.tree() == [
        (b"d", "dir", 0o1777, 10**18, b"", b""),
        *((path, "file", mode, mode, b"", b"x") for path, mode in sorted(modes.items())),
        (b"e", "dir", 0o2755, -1, b"", b""),
        (b"e/deep", "dir", 0o555, TIME, b"", b""),
        (b"e/deep/er", "dir", 0o700, 1, b"", b""),
        *((path, "link", 0, -1, text, b"") for path, text in texts.items()),
    ]
    assert [(e.mode, e.mtime_ns) for e in bench.store.entries() if not e.path] == [(0o750, 12345)]


@case()
def a_link_can_be_made_to_say_something_else(bench: Bench) -> None:
    """Links are replaced, never followed."""
    bench.apply(link(b"l", b"one"))
    there = bench.there(b"l")
    bench.apply(Touch(altered(there, link=b"two", mtime_ns=TIME + 1, generation=there.generation + 1)))

    assert bench.tree() == [(b"l", "link", 0, TIME + 1, b"two", b"")]
