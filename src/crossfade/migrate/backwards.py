"""What is met in key order and done in the opposite one: below a directory first, then the directory itself.

There may be as many directories as files, so beyond a few they wait on disk.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import BinaryIO

import msgspec

from crossfade.model.changes import Remove, Touch
from crossfade.model.entries import Entry
from crossfade.store.scratch import nameless

_HELD = 1000
_decode = msgspec.msgpack.Decoder(list[tuple[bool, Entry]]).decode


class Backwards:
    """Changes, the last one added first; as often as it is gone through."""

    def __init__(self) -> None:
        self._held: list[Touch | Remove] = []
        self._file: BinaryIO | None = None
        self._parts: list[tuple[int, int]] = []

    def add(self, change: Touch | Remove) -> None:
        """One more."""
        if len(self._held) == _HELD:
            self._spill()
        self._held.append(change)

    def _spill(self) -> None:
        self._file = self._file or nameless()
        start = self._file.tell()
        self._file.write(msgspec.msgpack.encode([(isinstance(change, Remove), change.entry) for change in self._held]))
        self._file.flush()
        self._parts.append((start, self._file.tell()))
        self._held = []

    def __len__(self) -> int:
        return len(self._parts) * _HELD + len(self._held)

    def __iter__(self) -> Iterator[Touch | Remove]:
        yield from reversed(self._held)
        for start, end in reversed(self._parts):
            assert self._file is not None
            for is_removal, entry in reversed(_decode(os.pread(self._file.fileno(), end - start, start))):
                yield Remove(entry) if is_removal else Touch(entry)
