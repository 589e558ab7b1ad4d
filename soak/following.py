"""A follower as people run it: started, killed and told to stop like any process, and asked how it is by SQL."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any

from bench.cpu import Used, of_group
from bench.server import Bench

_ARRIVES_SECONDS = 300.0
_STOPS_SECONDS = 180.0


class Following:
    """``crossfade start SOURCE TARGET``, again and again; *schema* is where it keeps its state. What it says is kept in a file."""

    def __init__(self, server: Bench, schema: str, source: object, target: object, *options: object) -> None:
        self._server = server
        self._schema = schema
        self._said = server.place / f"{schema}.said"
        self._command = ("start", source, target, *options)
        self._process: subprocess.Popen[bytes] | None = None
        self._arrivals_before = 0
        self.starts = 0
        self.kills = 0

    def __enter__(self) -> Following:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        """The runner's."""
        assert self._process is not None
        return self._process.pid

    def start(self, **environment: str) -> None:
        """Begin, without waiting for anything."""
        self._arrivals_before = self._arrivals()
        with self._said.open("ab") as said:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "crossfade", *map(str, self._command)],
                env={**os.environ, "XDG_STATE_HOME": str(self._server.place / "state"), **environment},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
        self.starts += 1

    def arrive(self, **environment: str) -> None:
        """Begin, and wait until it has copied what there is and follows."""
        self.start(**environment)
        self.wait("a follower", self.has_arrived, _ARRIVES_SECONDS)

    def has_arrived(self) -> bool:
        """True once it has copied what there is, and follows."""
        return self._arrivals() > self._arrivals_before

    def _arrivals(self) -> int:
        if self._server.run(f"SELECT to_regclass('{self._schema}.journal')") == [(None,)]:
            return 0
        return int(str(self._server.run(f"SELECT count(*) FROM {self._schema}.journal WHERE event = 'following'")[0][0]))

    def wait(self, what: str, condition: Callable[[], bool], seconds: float) -> float:
        """Wait until *condition* holds, while it runs; how long that took."""
        began = time.monotonic()
        while not condition():
            self.check()
            if time.monotonic() - began > seconds:
                raise SystemExit(f"{what}: not within {seconds:.0f} s\n{self.said()}")
            time.sleep(0.02)
        return time.monotonic() - began

    def check(self) -> None:
        """End everything where it has ended by itself: nobody told it to."""
        if self._process is not None and self._process.poll() is not None:
            raise SystemExit(f"the follower ended with {self._process.returncode}\n{self.said()}")

    def kill(self) -> None:
        """``kill -9``, workers and all."""
        if self._process is not None and self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self.kills += 1
        self._process = None

    def dies(self, seconds: float) -> bool:
        """Wait until it was killed, so many seconds at most; False where it lives on."""
        assert self._process is not None
        try:
            status = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        if status != -signal.SIGKILL:
            raise SystemExit(f"the follower ended with {status}\n{self.said()}")
        self._process = None
        return True

    def stop(self) -> None:
        """SIGTERM, as a supervisor does it: it brings over what it knows of, and ends with 0."""
        self.check()
        assert self._process is not None
        self._process.terminate()
        status = self._process.wait(_STOPS_SECONDS)
        self._process = None
        if status:
            raise SystemExit(f"the follower ended with {status} when it was told to stop\n{self.said()}")

    def cpu(self) -> Used:
        """What the runner has used of the processors, and its workers that live."""
        return of_group(self.pid)

    def progress(self) -> dict[str, Any]:
        """What it wrote down last, for other terminals."""
        query = f"SELECT progress FROM {self._schema}.migrations WHERE phase IN ('following', 'cut-over')"
        rows = self._server.run(query)
        return dict(rows[0][0]) if rows and rows[0][0] else {}  # type: ignore[call-overload]

    def said(self) -> str:
        """The end of what it said."""
        return self._said.read_text(errors="replace")[-4000:]
