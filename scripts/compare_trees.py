#!/usr/bin/env python3
"""Compare two directory trees and say every difference: the judge of crossfade's round trips.

It imports nothing of crossfade, on purpose: a comparer that shared code with the program would share its mistakes.
Whatever stands at a path is looked at with ``lstat``; links are read, never followed.

    compare_trees.py A B [--exclude GLOB]... [--no-times]

Compared are the two sets of paths, and for each path its type, permission bits, modification time to the nanosecond,
the content of files (SHA-256), and the text of links. Directories count, empty ones too, and so do the two roots.
One line a difference, in the order of a depth-first walk, seen from A::

    missing   in A, not in B             mode    other permission bits (links have none of their own)
    extra     in B, not in A             mtime   another time
    type      another kind of thing      link    another link text
    content   other bytes

The last line sums up. Exit 0: identical; 1: different; 2: could not be compared. Memory holds the names of the
directories on the way down, never a tree.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import NamedTuple

Path = str | bytes | os.PathLike[str] | os.PathLike[bytes]


class Difference(NamedTuple):
    """One line of the verdict. ``path`` is relative to both roots; ``b""`` is the root itself."""

    kind: str
    path: bytes
    detail: str

    def __str__(self) -> str:
        return f"{self.kind:<8} {printable(self.path) or '.'}  ({self.detail})"


@dataclass
class Tally:
    """What was compared, counted in A. The root is not counted."""

    files: int = 0
    directories: int = 0
    links: int = 0
    others: int = 0
    bytes: int = 0

    def count(self, status: os.stat_result) -> None:
        """Add one thing."""
        if stat.S_ISREG(status.st_mode):
            self.files += 1
            self.bytes += status.st_size
        elif stat.S_ISDIR(status.st_mode):
            self.directories += 1
        elif stat.S_ISLNK(status.st_mode):
            self.links += 1
        else:
            self.others += 1

    def __str__(self) -> str:
        special = f"{self.others} special files, " if self.others else ""
        return f"{self.files} files, {self.directories} directories, {self.links} links, {special}{self.bytes} bytes"


def compare(
    a: Path, b: Path, *, ignore: Sequence[Path] = (), times: bool = True, tally: Tally | None = None
) -> Iterator[Difference]:
    """Every difference between the trees *a* and *b*, in depth-first order.

    *ignore* holds globs on the relative path: ``*`` stays inside one name, ``**`` stands for any number of names, and
    what lies under a directory that matches is ignored with it. Raises ``OSError`` for what cannot be read.
    """
    left, right = root_of(a), root_of(b)
    globs = [os.fsencode(glob).strip(b"/").split(b"/") for glob in ignore]
    pending = [iter([(b"", True, True)])]  # an iterator for each level: no recursion, so no limit on the depth
    while pending:
        path, here, there = next(pending[-1], (None, False, False))
        if path is None:
            pending.pop()
            continue
        one, other = look(left, path, here), look(right, path, there)
        if tally is not None and one is not None and path:
            tally.count(one)
        for difference in differences(left, right, path, one, other):
            if times or difference.kind != "mtime":
                yield difference
        below = children(path, names_under(left, path, one), names_under(right, path, other))
        pending.append(iter([child for child in below if not any(fits(child[0].split(b"/"), glob) for glob in globs)]))


def children(path: bytes, ones: set[bytes], others: set[bytes]) -> Iterator[tuple[bytes, bool, bool]]:
    """The paths below *path* in order, and on which sides they are.

    A side that does not list a name is not asked for it: where it has a link to a directory, it would answer.
    """
    for name in sorted(ones | others):
        yield (path + b"/" + name if path else name), name in ones, name in others


def root_of(path: Path) -> bytes:
    """The root as bytes; the only place where a link is followed, for it is what the caller typed."""
    root = os.fsencode(path)
    if not stat.S_ISDIR(os.stat(root).st_mode):
        raise NotADirectoryError(20, "not a directory", root)
    return root


def differences(
    left: bytes, right: bytes, path: bytes, one: os.stat_result | None, other: os.stat_result | None
) -> Iterator[Difference]:
    """What differs at one path."""
    if one is None or other is None:
        status = one or other
        assert status is not None, "one side listed it"
        yield Difference("extra" if one is None else "missing", path, type_of(status))
    elif stat.S_IFMT(one.st_mode) != stat.S_IFMT(other.st_mode):
        yield Difference("type", path, f"{type_of(one)}, {type_of(other)}")
    else:
        yield from content(left, right, path, one, other)
        yield from metadata(path, one, other)


def content(left: bytes, right: bytes, path: bytes, one: os.stat_result, other: os.stat_result) -> Iterator[Difference]:
    """The bytes of two files, or the texts of two links."""
    if stat.S_ISLNK(one.st_mode):
        texts = os.readlink(at(left, path)), os.readlink(at(right, path))
        if texts[0] != texts[1]:
            yield Difference("link", path, f"{printable(texts[0])}, {printable(texts[1])}")
    elif stat.S_ISREG(one.st_mode) and one.st_size != other.st_size:
        yield Difference("content", path, f"{one.st_size} bytes, {other.st_size} bytes")
    elif stat.S_ISREG(one.st_mode):
        digests = digest(at(left, path)), digest(at(right, path))
        if digests[0] != digests[1]:
            yield Difference("content", path, f"sha256 {digests[0][:16]}, {digests[1][:16]}")


def metadata(path: bytes, one: os.stat_result, other: os.stat_result) -> Iterator[Difference]:
    """Permission bits and times."""
    modes = stat.S_IMODE(one.st_mode), stat.S_IMODE(other.st_mode)
    if modes[0] != modes[1] and not stat.S_ISLNK(one.st_mode):
        yield Difference("mode", path, f"{modes[0]:04o}, {modes[1]:04o}")
    if one.st_mtime_ns != other.st_mtime_ns:
        yield Difference("mtime", path, f"{one.st_mtime_ns} ns, {other.st_mtime_ns} ns")


def look(root: bytes, path: bytes, present: bool) -> os.stat_result | None:
    """What stands at *path*. The root itself was typed by the caller, and may be reached through a link."""
    if not present:
        return None
    return os.lstat(at(root, path)) if path else os.stat(root)


def names_under(root: bytes, path: bytes, status: os.stat_result | None) -> set[bytes]:
    """The names in a directory; none for anything else."""
    if status is None or not stat.S_ISDIR(status.st_mode):
        return set()
    with os.scandir(at(root, path)) as entries:
        return {entry.name for entry in entries}


def at(root: bytes, path: bytes) -> bytes:
    """The full path."""
    return root + b"/" + path if path else root


def digest(path: bytes) -> str:
    """SHA-256 of a file, streamed."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fits(names: list[bytes], glob: list[bytes]) -> bool:
    """True when the path made of *names* matches the glob."""
    if not glob or not names:
        return not names and all(part == b"**" for part in glob)
    if glob[0] == b"**":
        return fits(names, glob[1:]) or fits(names[1:], glob)
    return fnmatchcase(names[0], glob[0]) and fits(names[1:], glob[1:])


def type_of(status: os.stat_result) -> str:
    """The type, for people."""
    names = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "link", stat.S_IFIFO: "fifo"}
    return names.get(stat.S_IFMT(status.st_mode), "special file")


def printable(path: bytes) -> str:
    r"""One unambiguous line: UTF-8 as it is; backslashes, bytes that are not UTF-8 and what does not print, escaped."""
    return "".join(_escaped(character) for character in path.decode("utf-8", "surrogateescape"))


def _escaped(character: str) -> str:
    if character == "\\":
        return "\\\\"
    if character.isprintable():
        return character
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Compare two directory trees, byte for byte.")
    parser.add_argument("a", help="the tree that is right")
    parser.add_argument("b", help="the tree to judge")
    parser.add_argument("--exclude", action="append", default=[], metavar="GLOB", help="leave out what matches")
    parser.add_argument("--no-times", action="store_true", help="do not compare modification times")
    options = parser.parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")  # names are printed as they are, whatever the locale
    tally, found = Tally(), 0
    try:
        for difference in compare(options.a, options.b, ignore=options.exclude, times=not options.no_times, tally=tally):
            print(difference)
            found += 1
    except OSError as error:
        name = printable(os.fsencode(error.filename)) if error.filename is not None else "?"
        print(f"compare_trees: {error.strerror}: {name}", file=sys.stderr)
        return 2
    print(f"different: {found} differences in {tally}" if found else f"identical: {tally}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
