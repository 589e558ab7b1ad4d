"""What moves is a value: it can be compared, sent to another process, and shown without its content."""

from __future__ import annotations

import pickle

import pytest

from crossfade.model.changes import Block, Page, Put
from crossfade.model.entries import Entry, Signature, altered

ENTRY = Entry(b"p", kind="notes", size=6, signature=Signature(6, 1, 2, 3))
BLOCK = Block(ENTRY, 0, b"canary", None, last=True)


def test_content_is_not_shown():
    """A page that gets into a log or a traceback takes no record along."""
    assert "canary" not in repr(Page((Put(BLOCK),)))
    assert "6 bytes" in repr(BLOCK)


def test_values_are_equal_and_travel():
    """A worker in another process gets what it was given."""
    page = Page((Put(BLOCK),))

    assert pickle.loads(pickle.dumps(page)) == page
    assert altered(altered(ENTRY, size=7), size=6) == ENTRY
    assert Page(()).name != Page(()).name


def test_values_do_not_change():
    """Two threads may look at one."""
    with pytest.raises(AttributeError):
        ENTRY.size = 7  # type: ignore[misc]
