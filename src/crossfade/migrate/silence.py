"""Noticing that a database does not answer. Whoever asks it hangs meanwhile, and can say nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_SECONDS = 2.0
_TICK_SECONDS = 0.2


class Silence:
    """Watches over what one thread asks. *tell* hears, from another one, why nothing moves; and an empty text once it does."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._since: float | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="silence", daemon=True)

    def __enter__(self) -> Silence:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Something is asked in here."""
        self._since = time.monotonic()
        try:
            yield
        finally:
            self._since = None

    def _watch(self) -> None:
        was_long = False
        while not self._over.wait(_TICK_SECONDS):
            since = self._since
            is_long = since is not None and time.monotonic() - since >= _SECONDS
            if is_long != was_long:
                self._tell(f"the database has not answered for {_SECONDS:.0f} s" if is_long else "")
            was_long = is_long
