"""What must hold for any bytes at all: each target takes some, and raises when it does not hold.

Hypothesis runs them in every test (tests/safety/test_targets.py), atheris for as long as you like (scripts/fuzz). They import
nothing of either.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from crossfade.errors import LayoutInvalid, LocationInvalid
from crossfade.model import cut as cutting
from crossfade.model import digests, layouts
from crossfade.model.cut import Slice, cut, form_of
from crossfade.model.digests import Digester, digest_of
from crossfade.model.kinds import Column, Form, Kind
from crossfade.model.paths import from_text, key_of, leaves_root, parent_of, path_of, text_of
from crossfade.model.records import Reader, split_lines, suspicious
from crossfade.store.location import conninfo, parse

SEGMENT, LIMIT = 16, 40
"""Instead of 1 MiB and 16 MiB, so that a few hundred bytes meet every boundary."""

FORMS: tuple[Form, ...] = ("log", "document", "blob")
KIND = Kind(
    "things",
    "log",
    (Column("id", ("/id", "{x}")), Column("n", ("/a/b", "/n"), "bigint"), Column("at", ("/at",), "timestamp")),
)
_READER = Reader(KIND)
_LAYOUTS = [layouts.load(name) for name in layouts.builtin()]


@contextmanager
def small() -> Iterator[None]:
    """The constants of cutting and digesting, made small."""
    before = cutting.SEGMENT, cutting.RECORD_LIMIT, cutting._READ, digests.SEGMENT
    cutting.SEGMENT, cutting.RECORD_LIMIT, cutting._READ, digests.SEGMENT = SEGMENT, LIMIT, 24, SEGMENT
    try:
        yield
    finally:
        cutting.SEGMENT, cutting.RECORD_LIMIT, cutting._READ, digests.SEGMENT = before


def content(data: bytes) -> None:
    """Bytes, cut into slices, read as records and digested, are the bytes that they were; from any slice on, too.

    The first bytes choose the form, how much comes with each read, and the limits.
    """
    if len(data) < 4:
        return
    form, step, block, rest = FORMS[data[0] % 3], data[1] % 60 + 1, (data[2] % 40 + 1, data[3] % 6 + 1), data[4:]
    with small():
        slices = _slices(rest, form, step, block)
        assert b"".join(part.data for part in slices) == rest
        assert [part.last for part in slices] == [False] * (len(slices) - 1) + [True]
        _in_segments(slices)
        _as_records(slices, rest, form)
        digest = _digested(slices)
        assert digest == _by_hand(slices)
        _goes_on(slices, rest, form, step, block)
        assert digest == _digested(_slices(rest, form, 7, block))
    form_of(form, rest[:4])


def _slices(
    data: bytes, form: Form, step: int, block: tuple[int, int], offset: int = 0, within: int | None = None
) -> list[Slice]:
    position = offset

    def read(size: int) -> bytes:
        nonlocal position
        part = data[position : position + min(size, step)]
        position += len(part)
        return part

    return list(cut(read, form, offset=offset, within=within, block_bytes=block[0], block_records=block[1]))


def _in_segments(slices: list[Slice]) -> None:
    """One behind the other, none over the bounds of memory, a long record's pieces called so."""
    offset = 0
    for part in slices:
        assert part.offset == offset
        assert len(part.data) <= SEGMENT + LIMIT
        assert part.record is None or part.record <= part.offset
        offset += len(part.data)


def _as_records(slices: list[Slice], data: bytes, form: Form) -> None:
    """Every record starts where one does, and its bytes and columns are read without a word."""
    starts = {0} | {at + 1 for at, byte in enumerate(data) if byte == 10} if form == "log" else {0}
    for part in slices:
        assert part.record in starts if part.record is not None else part.offset in starts
        if part.record is not None:
            continue
        lines = list(split_lines(part.data)) if form == "log" else [part.data]
        assert b"".join(lines) == part.data
        for line in lines:
            reason, values = _READER.read(line, {"x": "y"}, suspect=suspicious(part.data))
            assert len(values) == len(KIND.columns)
            assert reason is not None or b"\0" not in line


def _digested(slices: list[Slice]) -> bytes:
    digester = Digester()
    for part in slices:
        digester.add(part.offset, part.data)
    whole = digester.finish()
    assert whole == digest_of(digester.segments)
    return whole


def _by_hand(slices: list[Slice]) -> bytes:
    """SHA-256 over the SHA-256 of each stretch, by the offset at which its parts begin."""
    stretches: dict[int, bytes] = {}
    for part in slices:
        if part.data:
            stretches[part.offset // SEGMENT] = stretches.get(part.offset // SEGMENT, b"") + part.data
    return hashlib.sha256(b"".join(hashlib.sha256(data).digest() for data in stretches.values())).digest()


def _goes_on(slices: list[Slice], data: bytes, form: Form, step: int, block: tuple[int, int]) -> None:
    """Whoever was interrupted behind the slice in the middle reads what is left as if nothing had been."""
    middle = slices[len(slices) // 2]
    ends = middle.data.endswith(b"\n") or middle.record is None
    within = middle.record if form != "log" or not ends else None
    if middle.last or (form != "log" and middle.record is None):
        return
    after = _slices(data, form, step, block, middle.offset + len(middle.data), within)
    assert b"".join(part.data for part in after) == data[middle.offset + len(middle.data) :]


def path(data: bytes) -> None:
    """Any path has a key and a text that give it back, keys sort as a walk goes, and no path that is placed leaves the root."""
    one, _, other = data.partition(b"\xff\xff")
    for found in (one, other):
        assert from_text(text_of(found)) == found
        assert "\n" not in text_of(found)
        if b"\0" not in found:
            assert path_of(key_of(found)) == found
        if not leaves_root(found):
            assert not found.startswith(b"/")
            assert not {b"", b".", b".."} & set(found.split(b"/"))
            assert found.startswith(parent_of(found))
    if b"\0" not in data and one != other:
        assert text_of(one) != text_of(other)
        assert (key_of(one) < key_of(other)) == (one.split(b"/") < other.split(b"/"))
    for layout in _LAYOUTS:
        layout.place(one)
        layout.place(one, directory=True)


def layout(data: bytes) -> None:
    """Any text is a layout, or refused as one."""
    with suppress(LayoutInvalid):
        made = layouts.parse(data.decode("utf-8", "replace"), source="x.toml")
        made.place(data[:50])
        for kind in made.kinds:
            Reader(kind).read(data, {}, suspect=True)


def location(data: bytes) -> None:
    """Any text names a store, or is refused; a password in it is in no rendering, and not in what libpq is given."""
    with suppress(LocationInvalid):
        parse(data.decode("utf-8", "surrogateescape"))
    host = data.decode("ascii", "ignore")
    loose = data[:1].decode("latin-1")
    for text in (
        f"postgresql://u:canary-key@{host}",
        f"postgresql://u@h/d?password=canary-key&{host}",
        f"postgresql://u:canary-key{loose}canary-key@h/d",
    ):
        try:
            place = parse(text)
        except LocationInvalid as refusal:
            assert "canary-key" not in str(refusal) + refusal.hint  # noqa: PT017
        else:
            assert "canary-key" not in str(place) + repr(place) + conninfo(place)


TARGETS: dict[str, Callable[[bytes], None]] = {"content": content, "path": path, "layout": layout, "location": location}
