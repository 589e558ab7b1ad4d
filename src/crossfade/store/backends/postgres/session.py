"""A connection to a server that says when it broke, and can refuse to wait for ever."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakSet

import psycopg
from psycopg.pq import ConnStatus

SILENCE_SECONDS = 120.0
"""How long one exchange of a page may take: longer than a lock is waited for, shorter than a person waits."""


_opened: WeakSet[Session] = WeakSet()
_lock = threading.Lock()


def opened_here() -> set[int]:
    """The numbers of the server's processes that work for this process of ours."""
    with _lock:
        return {session.info.backend_pid for session in _opened if not session.closed}


class Session(psycopg.Connection[tuple[object, ...]]):
    """The driver's connection, with two of its silences ended."""

    _within: float | None = None

    def known(self) -> Session:
        """Itself, which ``opened_here`` tells of from now on."""
        with _lock:
            _opened.add(self)
        return self

    @contextmanager
    def within(self, seconds: float | None) -> Iterator[None]:
        """Each exchange in here takes *seconds* at most: a line that only holds on to what it is given is a broken one.

        None leaves it at what holds already, or at no limit.
        """
        before = self._within
        self._within = before if seconds is None else seconds
        try:
            yield
        finally:
            self._within = before

    def wait(self, gen: Generator[Any, Any, Any], *args: Any, **options: Any) -> Any:
        """As the driver's; raises psycopg.OperationalError where the connection broke, or says nothing for too long."""
        if self._within is not None:
            options.setdefault("timeout", self._within)
        try:
            return super().wait(gen, *args, **options)
        except ValueError:  # the driver counts answers, and a connection that breaks within a COPY gives two
            if self.pgconn.status != ConnStatus.BAD:
                raise
            raise psycopg.OperationalError("the connection broke within an answer") from None
        except psycopg.OperationalError as error:
            if self._within is not None and error.sqlstate is None:
                self.pgconn.finish()  # what the server still does with it is asked for, once there is another one
            raise
