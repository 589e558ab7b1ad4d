"""Two versions of one path: what the authority has, and what somebody wrote on the other side; where they part."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from crossfade.model.entries import Entry
from crossfade.store.port import Reading, Store


@dataclass(frozen=True)
class Version:
    """One of them: None for nothing there. The digest is of what is read now."""

    entry: Entry | None
    digest: bytes | None = None


@dataclass(frozen=True)
class Versions:
    """Both, and the offset of the first byte in which their content differs; None where it does not, or there are no two."""

    authority: Version
    other: Version
    differs_at: int | None = None


def versions(authority: Store, other: Store, path: bytes) -> Versions:
    """What stands at *path* on both sides."""
    one, two = _standing(authority, path), _standing(other, path)
    are_files = all(entry is not None and entry.type == "file" for entry in (one, two))
    at = differs_at(_content(authority, one), _content(other, two)) if one and two and are_files else None
    return Versions(_version(authority, one), _version(other, two), at)


def _standing(store: Store, path: bytes) -> Entry | None:
    entry = next(iter(store.look([path])), None)
    return None if entry is None or entry.type == "gone" else entry


def _version(store: Store, entry: Entry | None) -> Version:
    if entry is None or entry.type != "file":
        return Version(entry)
    return Version(entry, next(digest for _, digest in store.digest([entry])))


def _content(store: Store, entry: Entry) -> Iterator[bytes]:
    return (block.data for block in store.read([Reading(entry)]))


def differs_at(one: Iterator[bytes], other: Iterator[bytes]) -> int | None:
    """The first offset at which two streams of bytes differ; where one ends before the other does, its end."""
    here = there = b""
    offset = 0
    while True:
        here, there = here or _more(one), there or _more(other)
        size = min(len(here), len(there))
        if here[:size] != there[:size]:
            return offset + next(at for at in range(size) if here[at] != there[at])
        if not size:
            return offset if here or there else None
        here, there, offset = here[size:], there[size:], offset + size


def _more(stream: Iterator[bytes]) -> bytes:
    """The next bytes, if there are more."""
    return next((data for data in stream if data), b"")
