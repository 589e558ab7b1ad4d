"""Pipes as output may meet them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def full_pipe() -> Iterator[tuple[int, int]]:
    """A full one whose writes do not wait, as those to a terminal that another program has made so; its two ends."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writer, b"." * 4096)
    yield reader, writer
    os.close(reader)
    os.close(writer)
