"""What passes by on its way into a database: seen once, it need not be read again to be validated.

A page that is not committed was never seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from crossfade.model.answers import Passed, Passing
from crossfade.model.figures import Columns, Encoding, Sheet
from crossfade.model.layouts import Layout
from crossfade.store.backends.postgres.encode import Encoded


class Watch:
    """Sees the records of one worker's pages pass by, kind by kind."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._encodings: dict[str, Encoding] = {}
        self._open: dict[bytes, Columns] = {}
        self._page: dict[str, Passing | None] = {}
        self._ended: list[bytes] = []

    def begin(self) -> None:
        """A page begins; what was seen of the one before, and not kept, is forgotten."""
        self._page, self._ended = {}, []

    def take(self, kind: str, path: bytes, encoded: Encoded, digest: bytes | None) -> None:
        """Some records, as they are sent; *digest* is that of the whole entry, where its last bytes are among them."""
        passing = self._passing(kind)
        if passing is None:
            return
        began = self._open.get(path)
        if encoded.last and began is not None:
            self._ended.append(path)
        try:
            passing.take(path, encoded.offset, encoded.sheet, began, digest if encoded.last else None)
        except KeyError:  # an earlier run began the entry
            self.miss(kind)

    def take_documents(self, kind: str, paths: Sequence[bytes], sheet: Sheet, digests: Iterable[bytes]) -> None:
        """The only records of the entries at *paths*, as they are sent, with the entries' digests."""
        passing = self._passing(kind)
        if passing is None:
            return
        self._ended += [path for path in paths if path in self._open]
        passing.take_documents(paths, sheet, digests)

    def _passing(self, kind: str) -> Passing | None:
        if kind not in self._page:
            self._page[kind] = Passing(self._layout.kind(kind), self._encoding(kind))
        return self._page[kind]

    def miss(self, kind: str) -> None:
        """Records of this kind pass by in another way than as they are: what is known of the kind is of no use."""
        self._page[kind] = None

    def keep(self) -> None:
        """The page is committed."""
        for passing in self._page.values():
            self._open |= passing.going_on if passing is not None else {}
        for path in self._ended:
            self._open.pop(path, None)

    def seen(self) -> dict[str, Passed | None]:
        """What passed by in this page, by kind; None where that is not known."""
        return {kind: None if passing is None else passing.passed() for kind, passing in self._page.items()}

    def _encoding(self, kind: str) -> Encoding:
        if kind not in self._encodings:
            self._encodings[kind] = Encoding(self._layout.kind(kind))
        return self._encodings[kind]
