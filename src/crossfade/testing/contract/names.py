"""Names are bytes; none leads out of the root."""

from __future__ import annotations

import os
import tempfile

from crossfade.model.entries import SEGMENT
from crossfade.testing.contract.bench import TIME, Bench, directory, lines, link, puts
from crossfade.testing.contract.case import case


@case()
def names_are_bytes(bench: Bench) -> None:
    """Not UTF-8, with newlines and backslashes, as long as a file system takes, deeper than PATH_MAX."""
    deep = b"/".join([b"deep-%03d-%s" % (n, b"x" * 200) for n in range(25)])
    paths = [
        b"\xff\xfe", b"new\nline", b"back\\slash", b"\\x41", b"tab\tbell\x07", b"n" * 255, "\u00e9".encode(), "e\u0301".encode(),
        b" ", b"-", b"...", b"..a", b"%s", b"'\";--", b"\xf0\x9f\x98\x80", b"\xed\xa0\x80", b"\x01", b"\x7f", deep + b"/f",
    ]  # fmt: skip
    bench.apply(*(put for n, path in enumerate(paths) for put in puts(bench.entry(path), b"%d" % n)))
    bench.reopen()

    assert bench.files() == {path: b"%d" % paths.index(path) for path in paths}


@case(lambda can: can.any_path)
def any_path_is_held_that_stays_inside(bench: Bench) -> None:
    """Longer than any file system would take."""
    paths = [b"n" * 256, b"m" * 10_000, b"/".join([b"d" * 300] * 100)]
    for path in paths:
        bench.put(path, path[:10])

    assert bench.files() == {path: path[:10] for path in sorted(paths)}


@case(lambda can: not can.any_path)
def a_path_that_leaves_the_root_is_refused_and_never_written(bench: Bench) -> None:
    """Its bytes are kept elsewhere; the rest of the page is applied."""
    bench.put(b"good.json", b"{}")
    long = puts(bench.entry(b"../escaped.jsonl"), lines(2 * SEGMENT))
    assert [refusal.entry.path for refusal in bench.apply(*long).refusals] == [b"../escaped.jsonl"]
    paths = [b"../escaped", b"a/../../escaped", b"/tmp/crossfade-escaped", b"a/./b", b"a//b", b".", b"..", b"a/..", b"a/"]
    applied = bench.apply(*(put for path in [*paths, b"good.json"] for put in puts(bench.entry(path), b"{}")))

    assert [(refusal.entry.path, refusal.pos, refusal.code) for refusal in applied.refusals] == [
        (path, None, "escapes-root") for path in paths
    ]
    assert [entry.path for entry in applied.entries] == [b"good.json"]
    assert bench.paths() == [b"good.json"]
    beside = os.path.join(os.path.dirname(bench.store.location.path), b"escaped")
    assert not os.path.lexists(beside)
    assert not os.path.lexists(b"/tmp/crossfade-escaped")


@case(lambda can: not can.any_path)
def a_link_in_the_tree_is_no_way_out_of_it(bench: Bench) -> None:
    """``a`` is a link to another directory, ``a/b`` is put: it is refused, and the other directory stays as it is."""
    with tempfile.TemporaryDirectory() as elsewhere:
        bench.apply(link(b"a", os.fsencode(elsewhere)))
        applied = bench.apply(
            *puts(bench.entry(b"a/b"), b"x"), *puts(bench.entry(b"a/c/d"), b"x"), link(b"a/l", b"x"), directory(b"a/e")
        )

        assert sorted((refusal.entry.path, refusal.code) for refusal in applied.refusals) == [
            (path, "stranger") for path in (b"a/b", b"a/c/d", b"a/e", b"a/l")
        ]
        assert os.listdir(elsewhere) == []
    assert bench.tree() == [(b"a", "link", 0, TIME, os.fsencode(elsewhere), b"")]


@case(lambda can: not can.any_path)
def a_name_that_cannot_be_held_is_refused(bench: Bench) -> None:
    """Not skipped in silence, and not the end of the run."""
    applied = bench.apply(
        *puts(bench.entry(b"n" * 256), b"x"), *puts(bench.entry(b"d" * 256 + b"/f"), b"y"), directory(b"e")
    )

    assert [refusal.code for refusal in applied.refusals] == ["name-too-long"] * 2
    assert bench.paths() == [b"e"]
