"""A directory tree as a store: reads it as it stands, writes it a page at a time."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import msgspec

from crossfade.errors import SourceMissing, Unreadable
from crossfade.model.changes import Block, Page
from crossfade.model.cut import COMPRESSED, cut, form_of
from crossfade.model.digests import EMPTY, Digester, Segment
from crossfade.model.entries import RECORD_LIMIT, SEGMENT, Entry, Signature
from crossfade.model.kinds import Form
from crossfade.model.layouts import Layout
from crossfade.model.paths import ancestors_of, key_of, text_of
from crossfade.store.backends.file.tree import Tree
from crossfade.store.backends.file.walk import VANISHED, Found, fates_of, look, signature_of, walk
from crossfade.store.backends.file.writing import PageWriter
from crossfade.store.location import Location
from crossfade.store.port import Applied, Capabilities, Reading, Span

_SETTLE_TRIES = 6
_SETTLE_SECONDS = 0.02
_YOUNG_NS = 2_000_000_000
_REST_TRIES = 3
_TICK_NS = 10_000_000
_MAGIC = max(map(len, COMPRESSED))


class FileStore:
    """The tree at *location*. ``left_out`` counts, by their fates, what the last list of entries met and does not move.

    With *waits* a file that is being written is waited for. Without, whoever follows gets it at once: a document flagged
    ``unstable``, and a signature without ctime where another change in the same tick of the clock would not show.
    ``fence`` is called before each change that is written, and raises where somebody else may write by now.
    """

    can = Capabilities(atomic=False, digests=False, signatures=True, any_path=False, moves=False)

    def __init__(
        self,
        location: Location,
        layout: Layout,
        *,
        include_transient: bool = False,
        skip_unreadable: bool = False,
        waits: bool = True,
    ) -> None:
        self.location = location
        self._waits = waits
        self._fates = fates_of(include_transient=include_transient)
        self.layout = layout
        self.skip_unreadable = skip_unreadable
        self._unlisted: dict[bytes, str] = {}
        self._unlooked: set[bytes] = set()
        self.left_out = Counter[str]()
        self.fence: Callable[[], None] = _nobody_else
        with _rooted(location):
            self._tree = Tree(location.path)
        self._writer: PageWriter | None = None

    def entries(
        self, *, after: bytes | None = None, tombstones: bool = False, under: bytes = b"", directories: bool = False
    ) -> Iterator[Entry]:
        """See the port. What the layout excludes is left out; nothing is known of what was removed."""
        del tombstones
        self.left_out.clear()
        found = self._moved(self.walk(under=under, directories=directories))
        if after is None:
            return found
        last = key_of(after)
        return (entry for entry in found if key_of(entry.path) > last)

    def _moved(self, everything: Iterator[Found]) -> Iterator[Entry]:
        """The moved set; what else is met is counted."""
        for found in everything:
            if self.moves(found):
                yield found.entry
            else:
                self.left_out[found.fate] += 1

    def moves(self, found: Found) -> bool:
        """True for what is in the moved set."""
        return found.placement.fate in self._fates and not found.special

    def walk(self, *, everything: bool = False, under: bytes = b"", directories: bool = False) -> Iterator[Found]:
        """All that is there, or below *under*, with the rule that placed it; for a plan, which names what is left out."""
        self._unlisted.clear()
        with _rooted(self.location):
            self._tree.renew()
        return walk(
            self._tree,
            self.layout,
            self._cannot_read,
            everything=everything,
            under=under,
            directories=directories,
            fates=self._fates,
        )

    def _cannot_read(self, path: bytes, error: OSError) -> None:
        if not self.skip_unreadable:
            raise _unreadable(path, error) from None
        self._unlisted[path] = error.strerror or str(error)

    def _cannot_look(self, path: bytes, error: OSError) -> None:
        self._cannot_read(path, error)
        self._unlooked.add(path)

    @property
    def passed_over(self) -> list[tuple[bytes, str]]:
        """What could not be read since the last list began, where *skip_unreadable* allows that, each with the reason."""
        return list(self._unlisted.items())

    def hides(self, path: bytes, *, looked: bool = False) -> bool:
        """See the port: what is at, or below, a directory that cannot be read."""
        if looked:
            return path in self._unlooked
        return not self._unlisted.keys().isdisjoint((b"", path, *ancestors_of(path))) if self._unlisted else False

    def look(self, paths: Sequence[bytes]) -> Iterator[Entry]:
        """See the port. Sees what the layout leaves in, as the walk does; directories may have been exchanged meanwhile."""
        with _rooted(self.location):
            self._tree.renew()
        self._unlooked.clear()
        for path in sorted(set(paths), key=key_of):
            found = look(self._tree, path, self.layout, self._cannot_look, self._fates)
            if found is not None and self.moves(found):
                yield found.entry

    def read(self, readings: Sequence[Reading]) -> Iterator[Block]:
        """See the port. A document is read until it holds still; a log as far as it reached when it was opened."""
        for reading in readings:
            descriptor = self._tree.open(reading.entry.path)
            try:
                yield from self._read_open(descriptor, reading)
            finally:
                os.close(descriptor)

    def _read_open(self, descriptor: int, reading: Reading) -> Iterator[Block]:
        since = time.time_ns()
        status = _rested(descriptor) if self._waits else os.fstat(descriptor)
        document = self._document(descriptor, reading.entry, status, since)
        if document is not None:
            yield document
            return
        form = form_of(reading.entry.form, os.pread(descriptor, _MAGIC, 0))
        entry = self._fresh(reading.entry, status, form, status.st_size, since)
        read = _reader(descriptor, reading.offset, status.st_size)
        for part in cut(read, form, offset=reading.offset, within=reading.within):
            yield Block(entry, part.offset, part.data, part.record, part.last)

    def _document(self, descriptor: int, entry: Entry, status: os.stat_result, since: int) -> Block | None:
        """A document as one block; None for what is no document, too long for one record, or compressed after all."""
        if entry.form != "document" or status.st_size > RECORD_LIMIT:
            return None
        data = _read_all(descriptor, status.st_size)
        if data.startswith(COMPRESSED):
            return None
        data, status, unstable = (_settled if self._waits else _at_once)(descriptor, data, status)
        return Block(self._fresh(entry, status, "document", len(data), since, unstable=unstable), 0, data, None, last=True)

    def _fresh(
        self, entry: Entry, status: os.stat_result, form: Form, size: int, since: int, *, unstable: bool = False
    ) -> Entry:
        """The entry as the open file says, with the form that its content has; nobody had looked at it before *since*."""
        signature = signature_of(status)
        if not self._waits and _is_fresh(status, since):
            signature = blurred(signature)
        return Entry(
            path=entry.path,
            kind=entry.kind,
            form=form,
            size=size,
            mode=stat.S_IMODE(status.st_mode),
            mtime_ns=status.st_mtime_ns,
            generation=entry.generation,
            unstable=unstable,
            signature=signature,
            row=entry.row,
        )

    def segments(self, entry: Entry) -> tuple[Segment, ...]:
        """See the port: those of the staged file, as far as they are whole."""
        return self._writing().staged(entry)

    def apply(self, page: Page) -> Applied:
        """See the port. Not atomic: an entry appears whole, under its own name, or not at all."""
        return self._writing().write(page)

    def digest(self, entries: Sequence[Entry]) -> Iterator[tuple[Entry, bytes]]:
        """See the port. Reads the files."""
        for entry in entries:
            yield entry, self._digest(entry) if entry.type == "file" and entry.size else EMPTY

    def _digest(self, entry: Entry) -> bytes:
        digester = Digester()
        for block in self.read([Reading(entry)]):
            digester.add(block.offset, block.data)
        return digester.finish()

    def weigh(self, spans: Sequence[Span]) -> Iterator[tuple[int, bytes]]:
        """See the port. Reads the files."""
        for span in spans:
            yield _weighed(self._tree, span)

    def close(self) -> None:
        """See the port."""
        if self._writer is not None:
            self._writer.close()
        self._tree.close()

    def _writing(self) -> PageWriter:
        if self._writer is None:
            self._writer = PageWriter(self._tree, self.fence)
        return self._writer


@contextmanager
def _rooted(location: Location) -> Iterator[None]:
    """Say what is wrong with the root, where it cannot be opened; it may also go away later."""
    try:
        yield
    except FileNotFoundError:
        raise SourceMissing(f"{location} does not exist", hint="check the path; a volume may not be mounted") from None
    except NotADirectoryError:
        raise SourceMissing(f"{location} is a file, not a directory", hint="name the directory that holds it") from None
    except PermissionError as error:
        raise _unreadable(b"", error) from None


def _weighed(tree: Tree, span: Span) -> tuple[int, bytes]:
    """The size and digest of what a file holds of *span*; of nothing, where there is no file."""
    try:
        descriptor = tree.open(span.entry.path)
    except OSError as error:
        if error.errno not in (*VANISHED, errno.ENXIO):
            raise
        return 0, EMPTY
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return 0, EMPTY
        return _weight(descriptor, span)
    finally:
        os.close(descriptor)


def _weight(descriptor: int, span: Span) -> tuple[int, bytes]:
    digest, at, left = hashlib.sha256(), span.offset, span.size
    while data := os.pread(descriptor, SEGMENT if left is None else min(left, SEGMENT), at):
        digest.update(data)
        at += len(data)
        left = None if left is None else left - len(data)
    return at - span.offset, digest.digest()


def _nobody_else() -> None:
    """A tree that only one writes needs no fence."""


def _reader(descriptor: int, offset: int, end: int) -> Callable[[int], bytes]:
    """Read from *offset* up to *end*, the size at opening: what is appended meanwhile is for the next run."""
    position = offset

    def read(size: int) -> bytes:
        nonlocal position
        data = os.pread(descriptor, max(min(size, end - position), 0), position)  # it may be shorter than it was
        position += len(data)
        return data

    return read


def _rested(descriptor: int) -> os.stat_result:
    """What ``stat`` says of a file that was not touched this very instant.

    Times have the kernel's tick: a change in the same tick as the look at it would leave the signature as it was.
    """
    for _ in range(_REST_TRIES):
        since = time.time_ns()
        status = os.fstat(descriptor)
        if not _is_fresh(status, since):
            break
        time.sleep(_TICK_NS / 1e9)
    return status


def _is_fresh(status: os.stat_result, since: int) -> bool:
    """True for a file that was touched in the very instant of the look that said *status*, some time between *since* and now.

    What has a time to come was touched by another clock, and is as old as anything.
    """
    return since - _TICK_NS <= status.st_ctime_ns <= time.time_ns() + _TICK_NS


def blurred(signature: Signature) -> Signature:
    """*signature* as one that no look at the file will find again, so that it is looked at once more."""
    return Signature(signature.size, signature.mtime_ns, 0, signature.inode)


def _at_once(descriptor: int, data: bytes, before: os.stat_result) -> tuple[bytes, os.stat_result, bool]:
    """As :func:`_settled`, but whatever is there now; unstable where it may be half written. Whoever follows looks again."""
    after = os.fstat(descriptor)
    return data, after, not (_held_still(data, before, after) and _is_json(data))


def _settled(descriptor: int, data: bytes, before: os.stat_result) -> tuple[bytes, os.stat_result, bool]:
    """A document's bytes in one untorn state, what ``stat`` says of them, and whether it would not hold still.

    *data* was read after a look that said *before*, and may be all that there is to do. Programs rewrite documents in place:
    a young one that is empty or no JSON may be half written.
    """
    for attempt in range(_SETTLE_TRIES):
        after = os.fstat(descriptor)
        if _held_still(data, before, after) and (_is_old(after) or _is_json(data)):
            return data, after, False
        if attempt < _SETTLE_TRIES - 1:
            time.sleep(_SETTLE_SECONDS * 2**attempt)
            before = _rested(descriptor)
            data = _read_all(descriptor, before.st_size)
    return data, after, not _held_still(data, before, after)


def _held_still(data: bytes, before: os.stat_result, after: os.stat_result) -> bool:
    return len(data) == after.st_size and signature_of(before) == signature_of(after)


def _read_all(descriptor: int, size: int) -> bytes:
    """All *size* bytes. Where there should be none, a byte is asked for, since what is no file then says so."""
    data = os.pread(descriptor, size or 1, 0)
    while len(data) < size and (part := os.pread(descriptor, size - len(data), len(data))):
        data += part
    return data


def _is_old(status: os.stat_result) -> bool:
    """True for what was not written a moment ago. A time to come is of a clock that was wrong, or is."""
    return abs(time.time_ns() - status.st_mtime_ns) > _YOUNG_NS


def _is_json(data: bytes) -> bool:
    try:
        msgspec.json.decode(data, type=msgspec.Raw)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return False
    return True


def _unreadable(path: bytes, error: OSError) -> Unreadable:
    return Unreadable(
        f"cannot read {text_of(path) or 'the root'}: {error.strerror}",
        hint="mend the permission and repeat the command, or leave it out with --skip-unreadable",
    )
