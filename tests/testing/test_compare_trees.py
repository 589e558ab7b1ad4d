"""The independent comparer: it judges every round trip, so it must see every difference, and nothing else."""

from __future__ import annotations

import ast
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "compare_trees.py"


def load() -> ModuleType:
    """The script, imported by its path."""
    spec = importlib.util.spec_from_file_location("compare_trees", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


comparer = load()


def grow(root: bytes) -> None:
    """A small tree with one of everything, the same each time but for the times that nobody set."""
    for directory in (b"a", b"a/deep", b"a/empty", b"\xff"):
        os.makedirs(root + b"/" + directory)
    for path in (b"a/x", b"a.b", b"a/deep/y", b"\xff/caf\xe9", b"new\nline", b"back\\slash"):
        Path(os.fsdecode(root + b"/" + path)).write_bytes(path * 10)
    os.symlink(b"a/x", root + b"/link")
    os.symlink(b"nowhere", root + b"/dangling")
    os.mkfifo(root + b"/fifo")
    for directory, _, files in os.walk(root, topdown=False):
        for name in (*files, b"."):
            os.utime(directory + b"/" + name, ns=(7, 1_000_000_007), follow_symlinks=False)
    for path in (b"/link", b"/dangling"):
        os.utime(root + path, ns=(7, 1_000_000_007), follow_symlinks=False)
    for directory in (b"/a/deep", b"/a/empty", b"/a", b"/\xff", b""):
        os.utime(root + directory, ns=(7, 1_000_000_007))


@pytest.fixture
def trees(tmp_path: Path) -> tuple[bytes, bytes]:
    """Two equal trees."""
    roots = os.fsencode(tmp_path / "one"), os.fsencode(tmp_path / "two")
    for root in roots:
        os.mkdir(root)
        grow(root)
    return roots


def verdict(trees: tuple[bytes, bytes], **options: object) -> list[tuple[str, bytes]]:
    return [(found.kind, found.path) for found in comparer.compare(*trees, **options)]


def test_equal_trees_have_no_difference(trees):
    """And the tally counts what is under the root, not the root."""
    tally = comparer.Tally()

    assert list(comparer.compare(*trees, tally=tally)) == []
    assert str(tally) == "6 files, 4 directories, 2 links, 1 special files, 380 bytes"


def replaced(path: bytes, body: bytes) -> Callable[[bytes], None]:
    """Other bytes under the same time."""

    def change(root: bytes) -> None:
        before = os.lstat(root + path)
        with open(root + path, "wb") as file:
            file.write(body)
        os.utime(root + path, ns=(before.st_mtime_ns, before.st_mtime_ns))

    return change


def relinked(path: bytes, text: bytes) -> Callable[[bytes], None]:
    """Another link."""

    def change(root: bytes) -> None:
        os.unlink(root + path)
        os.symlink(text, root + path)

    return change


CHANGES: dict[str, tuple[Callable[[bytes], None], list[tuple[str, bytes]]]] = {
    "a file is missing": (lambda root: os.unlink(root + b"/a/x"), [("missing", b"a/x")]),
    "an empty directory is missing": (lambda root: os.rmdir(root + b"/a/empty"), [("missing", b"a/empty")]),
    "a link is missing": (lambda root: os.unlink(root + b"/dangling"), [("missing", b"dangling")]),
    "a whole directory has another name": (
        lambda root: os.rename(root + b"/a/deep", root + b"/a/moved"),
        [("missing", b"a/deep"), ("missing", b"a/deep/y"), ("extra", b"a/moved"), ("extra", b"a/moved/y")],
    ),
    "a directory is extra": (lambda root: os.mkdir(root + b"/a/new"), [("extra", b"a/new")]),
    "a name that is not UTF-8 is extra": (lambda root: os.mkdir(root + b"/\xfe"), [("extra", b"\xfe")]),
    "one byte differs": (replaced(b"/a/x", b"a/x" * 9 + b"a/y"), [("content", b"a/x")]),
    "one byte more": (replaced(b"/a/x", b"a/x" * 10 + b"\n"), [("content", b"a/x")]),
    "a name that is not UTF-8 has other bytes": (replaced(b"/\xff/caf\xe9", b""), [("content", b"\xff/caf\xe9")]),
    "a file has other permissions": (lambda root: os.chmod(root + b"/a/x", 0o600), [("mode", b"a/x")]),
    "a file became setuid": (lambda root: os.chmod(root + b"/a/x", 0o4644), [("mode", b"a/x")]),
    "a directory is sticky": (lambda root: os.chmod(root + b"/a", 0o1755), [("mode", b"a")]),
    "the root has other permissions": (lambda root: os.chmod(root, 0o700), [("mode", b"")]),
    "a file is a nanosecond older": (lambda root: os.utime(root + b"/a/x", ns=(7, 1_000_000_006)), [("mtime", b"a/x")]),
    "a directory has another time": (lambda root: os.utime(root + b"/a/empty", ns=(7, 8)), [("mtime", b"a/empty")]),
    "the root has another time": (lambda root: os.utime(root, ns=(7, 8)), [("mtime", b"")]),
    "a link has another time": (
        lambda root: os.utime(root + b"/link", ns=(7, 8), follow_symlinks=False),
        [("mtime", b"link")],
    ),
    "a link says something else": (relinked(b"/link", b"./a/x"), [("link", b"link"), ("mtime", b"link")]),
}


def without_parents(found: list[tuple[str, bytes]], expected: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    """Adding and removing a name changes its directory's time; that is seen too, and not what a case is about."""
    return [one for one in found if one in expected or one[0] != "mtime"]


@pytest.mark.parametrize("case", CHANGES)
def test_every_class_of_difference_is_found(trees, case):
    """One change in the second tree, and exactly its lines."""
    change, expected = CHANGES[case]
    change(trees[1])

    assert without_parents(verdict(trees), expected) == expected


def test_another_type_is_one_difference_and_what_lay_below_is_missing(trees):
    """A link to an equal directory is not that directory: links are never followed."""
    os.rename(trees[1] + b"/a", trees[1] + b"/../elsewhere")
    os.symlink(b"../elsewhere", trees[1] + b"/a")

    found = verdict(trees, times=False)

    assert found == [("type", b"a"), *(("missing", b"a/" + name) for name in (b"deep", b"deep/y", b"empty", b"x"))]


def test_times_can_be_left_out(trees):
    """``--no-times`` is for targets that cannot keep them."""
    os.utime(trees[1] + b"/a/x", ns=(1, 1))

    assert verdict(trees, times=False) == []


@pytest.mark.parametrize(
    ("glob", "left"),
    [
        (b"a/*", []),
        (b"a", []),
        ("**/y", [b"a/x"]),
        ("*", []),
        ("x", [b"a/deep/y", b"a/x"]),
        ("a/**/[xy]", []),
        ("a*x", [b"a/deep/y", b"a/x"]),
        ("/a/x/", [b"a/deep/y"]),
    ],
)
def test_what_is_excluded_is_not_compared(trees, glob, left):
    """A star stays inside a name; what lies under an excluded directory is excluded."""
    for path in (b"/a/x", b"/a/deep/y"):
        replaced(path, b"")(trees[1])

    assert verdict(trees, ignore=[glob]) == [("content", path) for path in left]


def test_differences_come_in_the_order_of_a_walk(trees):
    """``a/x`` stands before ``a.b``, although a dot sorts before a slash."""
    for path in (b"/a/x", b"/a.b", b"/\xff/caf\xe9", b"/back\\slash"):
        replaced(path, b"")(trees[1])

    assert [path for _, path in verdict(trees)] == [b"a/x", b"a.b", b"back\\slash", b"\xff/caf\xe9"]


def test_a_root_may_be_reached_through_a_link(trees, tmp_path):
    """The caller typed it; below it no link is followed."""
    (tmp_path / "way").symlink_to("two")

    assert list(comparer.compare(trees[0], tmp_path / "way")) == []


def run(*arguments: bytes | str) -> subprocess.CompletedProcess[bytes]:
    """The script by itself: no site packages, a locale that knows ASCII only."""
    environment = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    return subprocess.run([sys.executable, "-S", SCRIPT, *arguments], env=environment, capture_output=True, check=False)


def test_the_command_says_identical(trees):
    """Exit 0 and one line."""
    done = run(*trees)

    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == b"identical: 6 files, 4 directories, 2 links, 1 special files, 380 bytes\n"


def test_the_command_names_each_difference_on_one_line(trees):
    """Names are escaped so that each is one line, and no two names look alike."""
    os.mkdir(trees[1] + "/grün".encode())
    for path in (b"/new\nline", b"/\xff/caf\xe9", b"/back\\slash"):
        replaced(path, b"")(trees[1])

    done = run("--no-times", *trees)

    assert done.returncode == 1
    assert done.stdout.decode().splitlines() == [
        r"content  back\\slash  (100 bytes, 0 bytes)",
        "extra    grün  (directory)",
        r"content  new\x0aline  (80 bytes, 0 bytes)",
        r"content  \xff/caf\xe9  (60 bytes, 0 bytes)",
        "different: 4 differences in 6 files, 4 directories, 2 links, 1 special files, 380 bytes",
    ]


def test_the_command_excludes(trees):
    """``--exclude`` can be given several times."""
    for path in (b"/a/x", b"/a.b"):
        replaced(path, b"")(trees[1])

    assert run("--exclude", "a/x", "--exclude", "*.b", *trees).returncode == 0


def test_what_cannot_be_compared_is_an_error(trees):
    """Never a verdict: exit 2."""
    missing, file = trees[0] + b"/none", trees[0] + b"/a/x"

    assert [run(trees[0], other).returncode for other in (missing, file)] == [2, 2]
    assert b"not a directory" in run(trees[0], file).stderr.lower()
    assert run(trees[0]).returncode == 2


def test_it_imports_nothing_of_crossfade():
    """A comparer that shares code with the program shares its mistakes. The standard library only."""
    imported = set()
    for node in ast.walk(ast.parse(SCRIPT.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").partition(".")[0])

    assert imported <= set(sys.stdlib_module_names)
    assert os.access(SCRIPT, os.X_OK)
