"""A TCP proxy between crossfade and a PostgreSQL that can do what networks do: stop, stall, and drop at the worst moment.

Loopback only; a thread for each direction of each connection. It reads just enough of the protocol to know a page's COMMIT.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType

COMMIT = b"Q\x00\x00\x00\x0bCOMMIT\x00"

Act = Callable[["_Pipe", bytes], bool]


class Proxy:
    """Forwards to 127.0.0.1:*upstream*. ``events`` lists what it did, in order."""

    def __init__(self, upstream: int) -> None:
        self._upstream = upstream
        self._lock = threading.Lock()
        self._pipes: set[_Pipe] = set()
        self._flowing = threading.Event()
        self._flowing.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._accepting = True
        self._over = False
        self._at_commit: Act | None = None
        self._commits_left = 0
        self._awaited = b"COPY "
        self._bytes_left = -1
        self.events: list[str] = []
        self.returned_bytes = 0
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Proxy:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._over = True
        self._flowing.set()
        _shut(self._listener)  # closing alone would not wake whoever accepts
        self.drop()
        self._thread.join(5)

    # What a test can make happen

    def stop(self) -> None:
        """Drop everybody and hang up on whoever calls."""
        self._accepting = False
        self.drop()

    def go_on(self) -> None:
        """Serve again, and let flow what was held."""
        self._accepting = True
        self._flowing.set()

    def stall(self) -> None:
        """Accept, hold on to everything, forward nothing."""
        self._flowing.clear()

    def drop(self) -> None:
        """Break every connection."""
        with self._lock:
            pipes, self._pipes = self._pipes, set()
        for pipe in pipes:
            pipe.close()

    def drop_after(self, count: int) -> None:
        """Break every connection once *count* more bytes went to the server."""
        with self._lock:
            self._bytes_left = count

    def at_page_commit(self, number: int, act: Act) -> None:
        """Call *act* when the *number*-th page from now wants to commit. It returns whether to forward the message."""
        with self._lock:
            self._commits_left, self._at_commit = number, act

    def at_commit_of(self, words: bytes, act: Act) -> None:
        """The same for the next transaction that has said *words*."""
        with self._lock:
            self._awaited, self._commits_left, self._at_commit = words, 1, act

    # Acts for a commit

    def lose_answer(self, pipe: _Pipe, message: bytes) -> bool:
        """The server commits; nobody hears of it."""
        del message
        pipe.deaf = True
        self.events.append("answer lost")
        return True

    def lose_commit(self, pipe: _Pipe, message: bytes) -> bool:
        """The connection breaks just before."""
        del message
        pipe.close()
        self.events.append("commit lost")
        return False

    def delay_commit(self, seconds: float) -> Act:
        """The client is cut off at once; its COMMIT reaches the server later."""

        def act(pipe: _Pipe, message: bytes) -> bool:
            self.events.append("commit under way")
            pipe.hang_up()
            threading.Timer(seconds, lambda: self._deliver(pipe, message)).start()
            return False

        return act

    def go_away(self, *, having_committed: bool) -> Act:
        """Everybody is dropped, and whoever calls; the server gets this COMMIT all the same, or does not."""

        def act(pipe: _Pipe, message: bytes) -> bool:
            self.events.append("went away")
            if not having_committed:
                self.stop()
                return False
            with self._lock:
                self._pipes.discard(pipe)
            self.stop()
            pipe.hang_up()
            self._deliver(pipe, message)
            return False

        return act

    def _deliver(self, pipe: _Pipe, message: bytes) -> None:
        self.events.append("commit arrived")
        with suppress(OSError):
            pipe.server.sendall(message)
            time.sleep(0.3)
        pipe.close()

    # Plumbing

    def _accept(self) -> None:
        while not self._over:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if not self._accepting:
                client.close()
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self._upstream))
            except OSError:
                client.close()
                continue
            pipe = _Pipe(self, client, server)
            with self._lock:
                self._pipes.add(pipe)
            pipe.start()

    def passing(self, pipe: _Pipe, data: bytes) -> bool:
        """Look at what goes to the server; False when it is not to be forwarded."""
        self._flowing.wait()
        pipe.has_said = pipe.has_said or self._awaited in data
        is_commit = pipe.has_said and COMMIT in data
        act = None
        with self._lock:
            if self._bytes_left >= 0:
                self._bytes_left -= len(data)
                if self._bytes_left < 0:
                    self.events.append("dropped")
                    self._bytes_left = -1
                    threading.Thread(target=self.drop, daemon=True).start()
                    return False
            if is_commit and self._commits_left:
                self._commits_left -= 1
                act = self._at_commit if not self._commits_left else None
        if is_commit:
            pipe.has_said = False
        return act(pipe, data) if act else True

    def returning(self, data: bytes) -> None:
        """Look at what comes back."""
        self._flowing.wait()
        with self._lock:
            self.returned_bytes += len(data)


class _Pipe:
    """One connection, both directions."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self.proxy, self.client, self.server = proxy, client, server
        self.has_said = False
        self.deaf = False
        self._hung_up = False

    def start(self) -> None:
        for work in (self._up, self._down):
            threading.Thread(target=work, daemon=True).start()

    def _up(self) -> None:
        with suppress(OSError):
            while data := self.client.recv(1 << 16):
                if self.proxy.passing(self, data):
                    self.server.sendall(data)
        if not self._hung_up:
            self.close()

    def _down(self) -> None:
        with suppress(OSError):
            while data := self.server.recv(1 << 16):
                self.proxy.returning(data)
                if self.deaf:
                    break
                self.client.sendall(data)
        if not self._hung_up:
            self.close()

    def hang_up(self) -> None:
        """Cut the client off; what the server's side still holds is the caller's."""
        self._hung_up = True
        _shut(self.client)

    def close(self) -> None:
        """Cut both off."""
        for end in (self.client, self.server):
            _shut(end)


def _shut(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
