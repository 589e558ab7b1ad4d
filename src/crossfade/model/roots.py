"""The root of a tree: one hash over every path with all that is promised to be kept, in key order.

``start`` and ``validate`` print the same root for the same tree. Each entry is folded into the root before it, so that an
interrupted computation goes on from 32 bytes.
"""

from __future__ import annotations

import hashlib

from crossfade.model.entries import Entry
from crossfade.model.paths import key_of

START = b"\0" * 32


def chained(root: bytes, entry: Entry | None, digest: bytes) -> bytes:
    """The root with one more entry, whose content has *digest* (empty for what is no file)."""
    return root if entry is None else hashlib.sha256(root + leaf(entry, digest)).digest()


def leaf(entry: Entry, digest: bytes) -> bytes:
    """One entry as one hash. A link has no mode of its own."""
    mode = 0 if entry.type == "link" else entry.mode
    text = b"%b\n%b\n%o\n%d\n" % (key_of(entry.path), entry.type.encode(), mode, entry.mtime_ns)
    return hashlib.sha256(text + entry.link + b"\n" + digest).digest()
