"""Cutting a stream of bytes into blocks, the same way in every store.

A log is cut at line ends, a document or blob is one record. No block spans a segment, so that a digest is one pass, and
none holds more than the caller's limits plus one record. A record over ``RECORD_LIMIT`` comes in pieces of ``SEGMENT``
bytes, so that memory is bounded however long a line is.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator

import msgspec

from crossfade.model.entries import RECORD_LIMIT, SEGMENT
from crossfade.model.kinds import Form

COMPRESSED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18")
"""gzip, zstd, lz4: decided by magic bytes, never by name."""

_READ = 1 << 20


class Slice(msgspec.Struct, frozen=True, gc=False):
    """One block's bytes, before they are tied to an entry. See ``changes.Block``."""

    offset: int
    data: bytes
    record: int | None
    last: bool


def form_of(declared: Form, head: bytes) -> Form:
    """The form that an entry really has: compressed content is a blob, whatever its name promises."""
    return "blob" if head.startswith(COMPRESSED) else declared


def cut(
    read: Callable[[int], bytes],
    form: Form,
    *,
    offset: int = 0,
    within: int | None = None,
    block_bytes: int = SEGMENT,
    block_records: int = 1 << 30,
) -> Iterator[Slice]:
    """Cut what *read* delivers, from *offset* on, into slices.

    *read(n)* returns up to n bytes, none at the end. *offset* is where a record starts, or, where *within* names a long
    record that is not finished, where its next piece starts. Yields at least one slice; only the final one is ``last``.
    """
    window = _Window(read)
    limits = (block_bytes, block_records)
    slices = _lines(window, offset, within, limits) if form == "log" else _whole(window, offset)
    held: Slice | None = None
    for found in slices:
        if held is not None:
            yield held
        held = found
    yield Slice(offset, b"", within, last=True) if held is None else Slice(held.offset, held.data, held.record, last=True)


class _Window:
    """The bytes that were read and not yet handed out."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self.bytes = b""
        self.ended = False

    def fill(self, size: int) -> bool:
        """Have *size* bytes at hand, or all that are left. False when nothing is."""
        parts, have = [self.bytes], len(self.bytes)
        while have < size and not self.ended:
            part = self._read(max(size - have, _READ))
            self.ended = not part
            parts.append(part)
            have += len(part)
        if len(parts) > 1:
            self.bytes = b"".join(parts)
        return bool(self.bytes)

    def take(self, size: int) -> bytes:
        taken, self.bytes = self.bytes[:size], self.bytes[size:]
        return taken


def _whole(window: _Window, offset: int) -> Iterator[Slice]:
    """A document or blob: one record, or pieces. One that continues is past its first piece, hence long."""
    if not offset:
        window.fill(RECORD_LIMIT + 1)
        if len(window.bytes) <= RECORD_LIMIT:
            if window.bytes:
                yield Slice(0, window.bytes, None, last=False)
            return
    while window.fill(SEGMENT):
        piece = window.take(SEGMENT)
        yield Slice(offset, piece, 0, last=False)
        offset += len(piece)


def _lines(window: _Window, offset: int, within: int | None, limits: tuple[int, int]) -> Iterator[Slice]:
    """A log: whole lines as long as they are short enough, pieces of those that are not."""
    if within is not None:
        offset = yield from _long_line(window, offset, within)
    while window.fill(SEGMENT + _READ // 8):
        size = _whole_lines(window.bytes, SEGMENT - offset % SEGMENT, limits) or _first_line(window)
        if size:
            yield Slice(offset, window.take(size), None, last=False)
            offset += size
        else:
            offset = yield from _long_line(window, offset, offset)


def _whole_lines(data: bytes, room: int, limits: tuple[int, int]) -> int:
    """Bytes of the whole lines at the head of *data* that start within *room* and keep to the limits; 0 for none."""
    block_bytes, block_records = limits
    size = data.find(b"\n", room - 1) + 1 or data.rfind(b"\n") + 1
    if size > RECORD_LIMIT:
        size = _without_a_long_end(data, size)
    if block_bytes < SEGMENT and size > block_bytes:
        size = data.rfind(b"\n", 0, block_bytes) + 1
    if block_records < size and data.count(b"\n", 0, size) > block_records:
        size = _after_newlines(data, block_records)
    return size


def _without_a_long_end(data: bytes, size: int) -> int:
    """*size*, or where its last line starts, if that is a long one: it may be at hand as a whole, and comes in pieces all the same."""
    start = data.rfind(b"\n", 0, size - 1) + 1
    return start if size - start > RECORD_LIMIT else size


def _after_newlines(data: bytes, count: int) -> int:
    position = 0
    for _ in range(count):
        position = data.find(b"\n", position) + 1
    return position


def _first_line(window: _Window) -> int:
    """Size of the line at the head, looking ahead as far as a record may reach; 0 when it is longer than that."""
    want = SEGMENT
    while True:
        want = min(want * 2, RECORD_LIMIT + 1)
        window.fill(want)
        size = window.bytes.find(b"\n", 0, RECORD_LIMIT) + 1
        if size or want > RECORD_LIMIT or window.ended:
            break
    if not size and window.ended and len(window.bytes) <= RECORD_LIMIT:
        return len(window.bytes)
    return size


def _long_line(window: _Window, offset: int, record: int) -> Generator[Slice, None, int]:
    """The pieces of the long line that starts at *record*, from *offset* on. Returns where the next line starts."""
    ended = False
    while not ended and window.fill(SEGMENT):
        end = window.bytes.find(b"\n", 0, SEGMENT) + 1
        ended = end > 0
        piece = window.take(end or SEGMENT)
        yield Slice(offset, piece, record, last=False)
        offset += len(piece)
    return offset
