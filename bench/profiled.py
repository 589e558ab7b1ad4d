"""Run one command of crossfade in one thread of one process, under cProfile: ``python -m bench.profiled OUT COMMAND...``.

With ``--workers 1`` (``--jobs 1``) a run uses threads instead of processes. Here even those are replaced: what is submitted is done
at once, by the caller. So one profile holds the runner and the worker, and shows the time that both wait for the server.
"""

from __future__ import annotations

import concurrent.futures
import cProfile
import sys
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any


class Inline(Executor):
    """Does at once what is submitted, and takes whatever a pool of threads is made with."""

    def __init__(self, *_arguments: Any, initializer: Callable[..., Any] | None = None, **_more: Any) -> None:
        if initializer is not None:
            initializer()

    def submit(self, work: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        """Do *work*; its future is done."""
        future: Future[Any] = Future()
        try:
            future.set_result(work(*arguments, **named))
        except Exception as error:  # noqa: BLE001 - as a pool does
            future.set_exception(error)
        return future


def main(out: str, *command: str) -> None:
    """Profile *command* into the file *out*."""
    concurrent.futures.ThreadPoolExecutor = Inline  # type: ignore[assignment,misc]
    from crossfade.console.main import app  # noqa: PLC0415 - after the pool was replaced

    profile = cProfile.Profile()
    status = profile.runcall(app, list(command), standalone_mode=False, prog_name="crossfade")
    profile.dump_stats(out)
    sys.exit(int(status or 0))


if __name__ == "__main__":
    main(*sys.argv[1:])
