"""Layouts: the patterns, the order of rules, and a sentence with a line for everything that cannot work."""

from __future__ import annotations

import contextlib
import os
import pickle
import re
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfade.errors import LayoutInvalid, OptionInvalid
from crossfade.model import patterns
from crossfade.model.kinds import Column
from crossfade.model.layouts import RESERVED_KINDS, Layout, builtin, load, parse

NOTES = Path(__file__).parents[2] / "examples" / "layouts" / "notes.toml"


def layout_of(*rules: str) -> Layout:
    return parse("\n".join(rules), source="test.toml")


def kind(name: str, *match: str, form: str = "document", more: str = "") -> str:
    quoted = ", ".join(f"'{pattern}'" for pattern in match)
    return f"[[kind]]\nname = '{name}'\nform = '{form}'\nmatch = [{quoted}]\n{more}\n"


def out(table: str, *match: str, keep: tuple[str, ...] = ()) -> str:
    text = f"[[{table}]]\nmatch = {list(match)}\n"
    return text + (f"keep = {list(keep)}\n" if keep else "")


# -- patterns ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "path", "captures"),
    [
        ("a/b", b"a/b", {}),
        ("a/b", b"a/b/c", None),
        ("a/b", b"x/a/b", None),
        ("a.b", b"axb", None),
        ("a/*", b"a/x", {}),
        ("a/*", b"a/x/y", None),
        ("a/*.json", b"a/.json", {}),
        ("a/{x}.json", b"a/.json", None),
        ("a/{x}.json", b"a/b.json.json", {"x": "b.json"}),
        ("a/{x}-{y}", b"a/1-2-3", {"x": "1", "y": "2-3"}),
        ("a/{x}-{y}", b"a/--3", {"x": "-", "y": "3"}),
        ("a/*-{y}-z", b"a/1-2-z", {"y": "2"}),
        ("{x}/{y}", b"a/b", {"x": "a", "y": "b"}),
        ("**/x", b"x", {}),
        ("**/x", b"a/b/x", {}),
        ("**/x", b"a/bx", None),
        ("**/{d}/x-{n}", b"a/b/x-1", {"d": "b", "n": "1"}),
        ("a/**/x", b"a/x", {}),
        ("a/**/x", b"a/b/c/x", {}),
        ("a/**/{m}/**/x", b"a/1/2/x", {"m": "1"}),
        ("a/**/m/**", b"a/m/m/x", {}),
        ("a/**", b"a/b/c", {}),
        ("a/**", b"a", None),
        ("a/**", b"ab", None),
        ("**", b"anything/at/all", {}),
        ("a/{x}", b"a/two\nlines", {"x": r"two\x0alines"}),
        ("a/{x}", b"a/\xff\xfe", {"x": r"\xff\xfe"}),
        ("a/*", b"a/\xff\n", {}),
        ("é/{x}", "é/ü".encode(), {"x": "ü"}),
        ("a[1]?/{x}", b"a[1]?/b", {"x": "b"}),
        ("a|b", b"a", None),
    ],
)
def test_a_pattern_takes_what_it_says(pattern: str, path: bytes, captures: dict[str, str] | None):
    """The whole language of patterns, one line a rule of it. Names are bytes: no encoding, no line end is special."""
    found = layout_of(kind("k", pattern)).place(path)

    assert (found.kind.name, found.captures, found.rule) == (
        ("other", {}, "") if captures is None else ("k", captures, pattern)
    )


def test_a_hostile_name_costs_no_more_than_another():
    """Wildcards that backtrack would take days for this one; somebody else chooses the file names."""
    layout = layout_of(kind("k", "**/*a*a*a*a*a*b", "**/{a}-{b}-{c}-{d}-{e}.x", "**/a/**/a/**/a/**/a/**/b"))
    began = time.perf_counter()
    for path in (b"a" * 255, b"-" * 255, b"a/" * 2000 + b"c"):
        assert layout.place(path).kind.name == "other"

    assert time.perf_counter() - began < 1


# -- order, fates, pruning ----------------------------------------------------------------------------------------------


def test_the_first_rule_in_the_file_wins_whatever_its_table():
    """TOML hands out tables by name; the order between kinds, excludes and transients has to survive that."""
    layout = layout_of(
        kind("first", "a/*.json"), out("transient", "a/**"), kind("second", "**/*.json"), out("exclude", "b/**")
    )

    assert layout.place(b"a/x.json").kind.name == "first"
    assert layout.place(b"a/x.txt").fate == "transient"
    assert layout.place(b"b/x.json").kind.name == "second"
    assert layout.place(b"b/x.txt").fate == "exclude"


WORKTREES = out("exclude", "worktrees/*/*/**", keep=("worktrees/*/.metadata/**", "worktrees/*/.gitignore"))


def test_an_exclude_prunes_directories_and_spares_plain_files_and_what_is_kept():
    """A worktree is gigabytes: a walk must not enter it. A note beside it, and the metadata, are data."""
    layout = layout_of(WORKTREES)
    pruned = layout.prunes(b"worktrees/repo/session-1")

    assert pruned is not None
    assert (pruned.fate, pruned.rule) == ("exclude", "worktrees/*/*/**")
    assert layout.place(b"worktrees/repo/session-1", directory=True) == pruned
    assert layout.place(b"worktrees/repo/session-1/src/main.rs").fate == "exclude"
    assert layout.prunes(b"worktrees/repo/session-1/src") is not None
    kept = [b"worktrees/repo/session-1", b"worktrees/repo/notes.txt", b"worktrees/repo/.gitignore"]
    kept += [b"worktrees/repo/.metadata/session-1.json", b"worktrees/repo/.metadata/deep/er.log"]
    assert [layout.place(path).fate for path in kept] == ["keep"] * 5
    for directory in (b"", b"worktrees", b"worktrees/repo", b"worktrees/repo/.metadata", b"worktrees/repo/.metadata/deep"):
        assert layout.prunes(directory) is None
        assert layout.place(directory, directory=True).fate == "keep"


def test_a_directory_is_kept_while_something_below_it_is():
    """A file without its directory could not be restored."""
    layout = layout_of(out("exclude", "**", keep=("a/b/c.txt",)))

    assert [layout.place(path, directory=True).fate for path in (b"a", b"a/b", b"a/x", b"z")] == [
        *("keep", "keep", "exclude", "exclude")
    ]
    assert [layout.place(path).fate for path in (b"a/b/c.txt", b"a/b/d.txt")] == ["keep", "exclude"]


def test_an_earlier_rule_keeps_a_directory_open():
    """First match wins: what a kind claimed before the exclude stays in, so the walk has to come past it."""
    layout = layout_of(
        kind("notes", "cache/*/note.json"), out("transient", "**/*.tmp"), out("exclude", "cache/**", "bin/**")
    )

    assert layout.prunes(b"cache") is None
    assert layout.prunes(b"bin") is None, "transient files in it come along with --include-transient"
    assert layout_of(kind("notes", "cache/*/note.json"), out("exclude", "cache/**")).prunes(b"cache/a/b") is not None


NAMES = st.sampled_from(["a", "b", "c", "ab", "x.json", ".p"])
PATTERNS = st.lists(
    st.sampled_from(["a", "b", "*", "**", "a*", "*.json", ".p"]), min_size=1, max_size=4
).map(lambda parts: re.sub(r"\*\*(/\*\*)+", "**", "/".join(parts)))  # fmt: skip
RULES = st.lists(
    st.tuples(
        st.sampled_from(["kind", "exclude", "transient"]),
        st.lists(PATTERNS, min_size=1, max_size=2, unique=True),
        st.lists(PATTERNS, max_size=2, unique=True),
    ),
    max_size=4,
)


def _rules(specified: list[tuple[str, list[str], list[str]]], under: list[str]) -> Layout:
    texts = [f"under = {under}\n"]
    for number, (table, match, keep) in enumerate(specified):
        keeps = tuple(keep) if table == "exclude" else ()
        texts.append(kind(f"k{number}", *match) if table == "kind" else out(table, *match, keep=keeps))
    return layout_of(*texts)


@given(RULES, st.lists(NAMES, min_size=1, max_size=5), st.sampled_from([[""], ["", "**/.p"], ["a", "**/b/*"]]))
def test_nothing_below_a_pruned_directory_is_in_the_moved_set(
    specified: list[tuple[str, list[str], list[str]]], names, under
):
    """Pruning is a short cut of the walk. If it ever lost a file, the copy would be incomplete and not know it."""
    layout = _rules(specified, under)
    path = "/".join(names).encode()
    for end in range(1, len(names)):
        pruned = layout.prunes("/".join(names[:end]).encode())

        assert pruned is None or layout.place(path).fate in (
            {"exclude", "transient"} if pruned.fate == "transient" else {"exclude"}
        )


def _slowly(pattern: str, path: bytes) -> bool:
    """A second implementation of patterns, by recursion over names."""

    def fits(wanted: list[str], names: list[str]) -> bool:
        if not wanted:
            return not names
        if wanted[0] == "**":
            return bool(names) if wanted == ["**"] else any(fits(wanted[1:], names[cut:]) for cut in range(len(names) + 1))
        name = wanted[0].replace(".", r"\.").replace("*", ".+" if wanted[0] == "*" else ".*")
        return bool(names) and re.fullmatch(name, names[0]) is not None and fits(wanted[1:], names[1:])

    return fits(pattern.split("/"), path.decode().split("/"))


@given(PATTERNS, st.lists(NAMES, min_size=1, max_size=6).map(lambda names: "/".join(names).encode()))
def test_a_fast_pattern_agrees_with_a_slow_one(pattern: str, path: bytes):
    """The expressions never try a choice again. That is only right if the first choice is always good enough."""
    assert (layout_of(kind("k", pattern)).place(path).kind.name == "k") == _slowly(pattern, path)


@given(PATTERNS, st.lists(NAMES, min_size=2, max_size=6))
def test_leads_names_every_directory_above_a_match(pattern: str, names: list[str]):
    """Pruning trusts it."""
    if _slowly(pattern, "/".join(names).encode()):
        for end in range(1, len(names)):
            assert re.fullmatch(patterns.leads(pattern), "/".join(names[:end]))


# -- under ------------------------------------------------------------------------------------------------------------


def test_patterns_hold_below_every_place_and_the_earlier_rule_wins():
    """One set of rules for ~/.prodigy itself and for a project that holds a .prodigy somewhere."""
    specific = layout_of("under = ['', '**/.p']", kind("x", "a/{x}.json", "**/{y}.json"))
    layout = layout_of("under = ['', '**/.p']", kind("x", "a/{x}.json"), kind("y", "**/{y}.json"))

    assert specific.place(b"q/.p/a/1.json").captures == {"x": "1"}, "of one rule, the earlier pattern"
    assert layout.place(b"a/1.json").captures == {"x": "1"}
    assert layout.place(b"q/.p/a/1.json").captures == {"x": "1"}
    assert layout.place(b".p/b/.p/a/1.json").captures == {"x": "1"}
    assert layout.place(b"q/a/1.json").captures == {"y": "1"}
    assert layout.place(b"q.p/a/1.json").captures == {"y": "1"}


def test_without_the_root_among_them_patterns_hold_only_below_the_places():
    """A layout for one corner of a larger tree carries the rest and claims none of it."""
    layout = layout_of("under = ['state/*']", kind("x", "a.json"))

    assert [layout.place(path).kind.name for path in (b"a.json", b"state/1/a.json", b"state/1/2/a.json")] == [
        *("other", "x", "other")
    ]


def test_a_directory_below_a_place_is_pruned_like_one_at_the_root():
    """The gigabytes of a worktree weigh the same in a local .prodigy."""
    layout = layout_of("under = ['', '**/.p']", WORKTREES, kind("k", "**/*.json"))

    assert layout.prunes(b"home/.p/worktrees/r/s") is not None
    assert layout.prunes(b"home/.p/worktrees/r/.metadata") is None
    assert layout.place(b"home/.p/worktrees/r/.metadata/s.json").kind.name == "k"


# -- kinds ------------------------------------------------------------------------------------------------------------


def test_captures_become_columns_before_the_promoted_ones():
    """What the path tells can be queried, for every pattern of the kind, without being named twice."""
    promote = (
        "promote = [{ column = 'job', from = ['/job', '{job}'] }, { column = 'at', from = ['/at'], type = 'timestamp' }]"
    )
    layout = layout_of(kind("k", "{repo}/{job}.json", "{job}/x/{part}.json", more=promote))

    assert layout.kind("k").columns == (
        Column("repo", ("{repo}",)),
        Column("part", ("{part}",)),
        Column("job", ("/job", "{job}")),
        Column("at", ("/at",), "timestamp"),
    )


def test_other_is_always_there_and_may_have_rules_of_its_own():
    """What no rule names must have a place to go."""
    assert layout_of().place(b"x").kind.name == "other"
    declared = layout_of(kind("other", "a/index.json", form="blob"), kind("k", "a/*.json"))
    assert [k.name for k in declared.kinds] == ["other", "k"]
    assert declared.place(b"a/index.json").rule == "a/index.json"


def test_a_kind_that_is_not_there_is_refused_with_those_that_are():
    """--only takes a kind's name from a person."""
    with pytest.raises(OptionInvalid, match="has no kind 'note'; it has notes, other"):
        layout_of(kind("notes", "*.json")).kind("note")


# -- what cannot work -------------------------------------------------------------------------------------------------


def _promote(entry: str) -> str:
    return kind("k", "{x}.json", more=f"promote = [\n  {{ column = 'ok', from = ['/ok'] }},\n  {{ {entry} }},\n]")


INVALID = [
    ("[[kind]\n", 1, "expected ']]'"),
    ("a = 1\na = 2\n", 2, "cannot overwrite"),
    ("colour = 'red'\n", 1, "unknown key 'colour' in a layout"),
    ("kind = []\n[[kinds]]\n", 2, "unknown key 'kinds'"),
    (kind("k", "a") + "[[exlude]]\nmatch = ['b']\n", 6, "unknown key 'exlude' in a layout"),
    ("\n[kind]\nname = 'k'\n", 2, "'kind' is not written as [[kind]] tables"),
    ("under = []\n", 1, "'under' must be there, a list of texts"),
    ("under = ['', 'a/**']\n", 1, "'under' place 'a/**'"),
    ("name = 3\n", 1, "'name' must be a text"),
    ("[[kind]]\nform = 'log'\nmatch = ['a']\n", 1, "a kind has no 'name'"),
    ("\n[[kind]]\n\nname = 'Events'\nform = 'log'\nmatch = ['a']\n", 4, "kind name 'Events' must be a letter"),
    (kind("x" * 49, "a"), 2, "must be a letter"),
    *((kind(name, "a"), 2, f"kind name '{name}' is taken") for name in sorted(RESERVED_KINDS)),
    (kind("a", "a") + kind("a", "b"), 7, "kind 'a' is there already"),
    (
        "[[kind]]\nname = 'events'\nmatch = ['a']\nform = 'stream'\n",
        4,
        "kind 'events' has form 'stream'; it must be document, log or blob",
    ),
    ("[[kind]]\nname = 'k'\nmatch = ['a']\n", 1, "kind 'k' has form nothing; it must be"),
    ("[[kind]]\nname = 'k'\nform = 'log'\n", 1, "'match' must be there"),
    ("[[kind]]\nname = 'k'\nform = 'log'\nmatch = 'a'\n", 4, "'match' must be there, a list"),
    ("[[kind]]\nname = 'k'\nform = 'log'\nmatch = ['a']\nmatches = 1\n", 5, "unknown key 'matches' in [[kind]]"),
    (kind("other", "a", form="document"), 3, "kind 'other' takes what no rule names"),
    ("[[kind]]\nname = 'k'\nform = 'log'\nmatch = [\n  'a',\n  'b',\n  'a',\n]\n", 7, "'a' is in 'match' twice"),
    *(
        (f"[[kind]]\nname = 'k'\nform = 'log'\nmatch = [\n  'fine',\n  '{pattern}',\n]\n", 6, sentence)
        for pattern, sentence in [
            ("", "is empty"),
            ("/a", "begins with a slash"),
            ("a//b", "has an empty name"),
            ("a/", "has an empty name"),
            ("a/../b", "goes through '.' or '..'"),
            ("./b", "goes through '.' or '..'"),
            ("a/{x", "has unbalanced braces"),
            ("a/x}", "has unbalanced braces"),
            ("a/{x/y}", "has unbalanced braces"),
            ("a/{}", "captures {}; a name in braces"),
            ("a/{X}", "captures {X}; a name in braces"),
            ("{x}/{x}", "captures {x} twice"),
            ("a/**.json", "has '**' beside other characters"),
            ("a/***", "has '**' beside other characters"),
            ("a/**/**/b", "repeats '**'"),
            ("a/{x}{y}", "has two wildcards side by side"),
            ("a/*{y}", "has two wildcards side by side"),
        ]
    ),
    (kind("k", "{body}.json"), 4, "captures {body}, a column that every kind already has"),
    (kind("k", "a", more="promote = 'x'"), 5, "'promote' of kind 'k' must be a list of tables"),
    (_promote("column = 'y', from = ['/y'], typ = 'text'"), 7, "unknown key 'typ'"),
    (_promote("from = ['/y']"), 5, "has the name nothing"),
    (_promote("column = 'Y', from = ['/y']"), 7, "has the name 'Y'"),
    (_promote("column = 'raw', from = ['/y']"), 7, "column 'raw' of kind 'k' is one that every kind already has"),
    (_promote("column = 'ok', from = ['/y']"), 7, "column 'ok' of kind 'k' is promoted twice"),
    (_promote("column = 'y'"), 7, "column 'y' needs 'from'"),
    (_promote("column = 'y', from = '/y'"), 7, "column 'y' needs 'from'"),
    (_promote("column = 'x', from = ['/x']"), 7, "column 'x' is also a capture"),
    (_promote("column = 'y', from = ['y']"), 7, "has the pointer 'y'"),
    (_promote("column = 'y', from = ['/y/']"), 7, "has the pointer '/y/'"),
    (_promote("column = 'y', from = ['/a~1b']"), 7, "has the pointer '/a~1b'"),
    (_promote("column = 'y', from = ['{z}']"), 7, "takes {z}, which no pattern of its kind captures"),
    (_promote("column = 'y', from = ['{x}'], type = 'bigint'"), 7, "takes {x}, a text; its type cannot be bigint"),
    (_promote("column = 'y', from = ['/y'], type = 'json'"), 7, "has type 'json'; it must be text, bigint, boolean or time"),
    (_promote("column = 'y', from = ['/y'], type = 'bigint', map = { a = 'b' }"), 7, "has a 'map', which renames texts"),
    (_promote("column = 'y', from = ['/y'], map = { a = 1 }"), 7, "the 'map' of column 'y'"),
    (kind("k", "{x}", form="blob", more="promote = [{ column = 'y', from = ['/y'] }]"), 5, "a blob is never read"),
    (kind("k", "{x}", more="\nindex = [['x'], ['z']]"), 6, "kind 'k' has an index on 'z', which is no column of it"),
    (kind("k", "{x}", more="index = [[['x']]]"), 5, "has an index on"),
    (kind("k", "{x}", more="index = ['x']"), 5, "'index' of kind 'k' must be a list of lists"),
    (kind("k", "{x}", more="index = [['x', 'x']]"), 5, "has an index that repeats itself: x, x"),
    (kind("k", "{x}", more="index = [['x'], ['x']]"), 5, "has an index that repeats itself: x"),
    (kind("k", "a", more="describes = 3"), 5, "'describes' must be a text"),
    ("[[transient]]\nmatch = ['a']\nkeep = ['b']\n", 3, "unknown key 'keep' in [[transient]]"),
    ("[[exclude]]\nkeep = ['b']\n", 1, "'match' must be there"),
    ("[[exclude]]\nmatch = ['a']\nkeep = ['{b}']\n", 3, "captures {b}, which only a kind can use"),
    ("# [[exclude]]\nx = '''\n[[kind]]\n'''\n[[exclude]]\nmatch = ['{b}']\n", 2, "unknown key 'x'"),
    ("describes = '''\n[[kind]]\n'''\n# [[kind]]\n[[exclude]]\nmatch = ['{b}']\n", 6, "captures {b}"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line", "sentence"), INVALID, ids=[f"{s[:40]}-{n}" for n, (_, _, s) in enumerate(INVALID)])
def test_what_cannot_work_is_refused_with_its_line(text: str, line: int, sentence: str):
    """The person has the file open in an editor: the line is what they need."""
    with pytest.raises(LayoutInvalid) as caught:
        parse(text, source="my.toml")

    assert caught.value.sentence.startswith(f"my.toml:{line}: ")
    assert sentence in caught.value.sentence
    assert caught.value.hint


LINES = """
[[kind]]|[kind]|[[exclude]]|name = 'k'|form = 'log'|match = ['{x}']|match = [[]]|match = 1|index = [['x']]|# [[kind]]
promote = [{}]|promote = [{column = [], from = [[]]}]|promote = [{column = 'y', from = ['/y'], type = [], map = 1}]|name = {}
[[kind.promote]]|column = 'z'|from = ['/z']|kind = 1|under = [1]|form = []|keep = [{}]|index = [[1, {}]]
"""
TOML = st.lists(st.sampled_from(LINES.strip().replace("\n", "|").split("|")), max_size=8).map("\n".join)


@given(st.text(max_size=200) | TOML)
def test_no_text_at_all_raises_anything_else(text: str):
    """A layout comes out of a database too, where anybody may have written it."""
    with contextlib.suppress(LayoutInvalid):
        parse(text, source="x.toml")


# -- loading, travelling ----------------------------------------------------------------------------------------------


@given(st.binary(max_size=80), st.booleans(), st.sampled_from(["prodigy", "generic", str(NOTES)]))
def test_place_takes_any_bytes_and_says_the_same_twice(path: bytes, directory: bool, name: str):
    """A file name is whatever bytes somebody chose."""
    layout = _loaded(name)
    found = layout.place(path, directory=directory)

    assert found == layout.place(path, directory=directory)
    assert all(isinstance(value, str) and value.isprintable() for value in found.captures.values() if value.isascii())


_LAYOUTS: dict[str, Layout] = {}


def _loaded(name: str) -> Layout:
    return _LAYOUTS.setdefault(name, load(name))


@pytest.mark.parametrize("name", [*builtin(), str(NOTES)])
def test_a_layout_travels_as_its_text(name: str):
    """Workers are spawned: a layout reaches them pickled, small, and after it was used."""
    layout = load(name)
    layout.place(b"sessions/a.json")
    copy = pickle.loads(pickle.dumps(layout))

    assert copy == layout
    assert copy.place(b"sessions/a.json") == layout.place(b"sessions/a.json")
    assert parse(layout.text(), source="elsewhere.toml").fingerprint == layout.fingerprint


def test_the_fingerprint_is_of_what_the_rules_do():
    """It is part of a plan's identity: a comment must not make a resumed migration another one, a rule must."""
    text = kind("k", "a/{x}.json", more="index = [['x']]") + out("exclude", "b/**")
    same = "# why\nname = 'same'\n" + text.replace("'", '"').replace("\n", "\n\n").replace(
        "index", "describes = 'k'\nindex  "
    )
    reordered = out("exclude", "b/**") + kind("k", "a/{x}.json", more="index = [['x']]")
    prints = [
        layout_of(each).fingerprint for each in (text, same, reordered, text.replace("b/", "c/"), "under = ['z']\n" + text)
    ]

    assert prints[0] == prints[1]
    assert len(set(prints[1:])) == 4


def test_load_takes_a_name_or_a_file(tmp_path: Path):
    """A file's errors carry its path as it was typed; its stem is the layout's name."""
    mine = tmp_path / "mine.toml"
    mine.write_text(kind("k", "a"))
    (tmp_path / "bad.toml").write_text("\n[[kind]]\n")
    (tmp_path / "latin.toml").write_bytes(b"# \xe9")

    assert builtin() == ["generic", "prodigy"]
    assert load(str(mine)).name == "mine"
    assert load("prodigy").name == "prodigy"
    for name, sentence in [
        ("nope", "no built-in layout (generic, prodigy)"),
        ("bad.toml", "bad.toml:2: "),
        ("latin.toml", "not UTF-8"),
    ]:
        with pytest.raises(LayoutInvalid) as caught:
            load(name if name == "nope" else str(tmp_path / name))
        assert sentence in caught.value.sentence


def test_the_sample_layout_of_another_application():
    """An application that is not Prodigy is one file, and no line of code."""
    layout = load(str(NOTES))
    placed = {
        path: (found.fate, found.kind.name, found.captures)
        for path in (
            *("notes/office/7.json", "journal/2025/09.jsonl", "notes/office/files/a/b.png", "notes/office/7.json.swp"),
            *("cache/x", "trash/x.json", "trash/README.txt", "settings.ini"),
        )
        for found in [layout.place(os.fsencode(path))]
    }

    assert placed == {
        "notes/office/7.json": ("keep", "notes", {"notebook": "office", "id": "7"}),
        "journal/2025/09.jsonl": ("keep", "changes_made", {"year": "2025", "month": "09"}),
        "notes/office/files/a/b.png": ("keep", "attachments", {"notebook": "office"}),
        "notes/office/7.json.swp": ("transient", "other", {}),
        "cache/x": ("exclude", "other", {}),
        "trash/x.json": ("exclude", "other", {}),
        "trash/README.txt": ("keep", "other", {}),
        "settings.ini": ("keep", "other", {}),
    }


def test_generic_takes_files_by_their_ending():
    """The layout for a tree that nobody has described yet."""
    layout = load("generic")

    assert [layout.place(path).kind.name for path in (b"a.json", b"x/y/b.jsonl", b"x/c.json.gz", b"d")] == [
        *("documents", "lines", "other", "other")
    ]


def test_placing_is_fast_enough_for_millions_of_paths():
    """Every path is placed by inventory, validation, following. Measured 160,000 to 370,000 a second on two busy cores."""
    layout = load("prodigy")
    paths = [f"events/repo/mapreduce-{number}/events-20250918_{number:06}.jsonl".encode() for number in range(20_000)]
    best = min(_seconds(layout, paths) for _ in range(3))

    assert len(paths) / best > 60_000


def _seconds(layout: Layout, paths: list[bytes]) -> float:
    began = time.process_time()
    for path in paths:
        layout.place(path)
    return time.process_time() - began
