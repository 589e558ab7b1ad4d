"""Streams whose writes do not wait: another program that shares a terminal with us has made its open file so."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TextIO

import pytest

from crossfade.console import streams
from support.pipes import full_pipe


@dataclass
class Pipe:
    """One that is full, and does not wait; what *stream* prints goes there."""

    reader: int
    writer: int
    stream: TextIO

    def read_line(self) -> bytes:
        """What stands in it, to the end of a line."""
        found = b""
        while not found.endswith(b"\n"):
            found += os.read(self.reader, 1 << 16)
        return found


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    with full_pipe() as (reader, writer):
        yield Pipe(reader, writer, streams._lenient(writer, None))
        streams.forget()


@pytest.mark.parametrize("text", ["a line", "x" * 300_000], ids=["a line", "more than fits"])
def test_whoever_reads_late_gets_all_of_it(pipe: Pipe, text: str):
    """A moment later there is room; nothing is lost, and nothing is raised."""
    found: list[bytes] = []

    def read_late() -> None:
        time.sleep(0.3)
        found.append(pipe.read_line())

    reading = threading.Thread(target=read_late, daemon=True)
    reading.start()
    print(text, file=pipe.stream, flush=True)
    reading.join()

    assert found[0].lstrip(b".") == text.encode() + b"\n"
    assert streams.failure(pipe.writer) is None


def test_nobody_waits_for_whoever_does_not_read(pipe: Pipe, monkeypatch: pytest.MonkeyPatch):
    """Not for ever, and not a second time: what has no room is lost, which is remembered; later there may be room."""
    monkeypatch.setattr(streams, "_ROOM_SECONDS", 0.5)
    began = time.monotonic()
    for _ in range(100):
        print("lost", file=pipe.stream, flush=True)
    failure = streams.failure(pipe.writer)

    assert time.monotonic() - began < 5
    assert failure is not None
    assert failure.errno == errno.EAGAIN
    assert not streams.is_left(pipe.writer)
    assert os.read(pipe.reader, 1 << 20).strip(b".") == b""
    print("heard", file=pipe.stream, flush=True)
    assert os.read(pipe.reader, 1 << 20) == b"heard\n"
