"""Where ``crossfade`` and ``python -m crossfade`` begin.

Worker processes import this module again, so it imports nothing until it is called: a worker needs no command line.
"""

import os
import signal
import sys
from contextlib import suppress


def main() -> None:
    """Run the command line."""
    before = signal.signal(signal.SIGINT, _too_early)  # loading takes a moment, and has nothing to clean up
    from crossfade.console.main import run  # noqa: PLC0415 - see above

    signal.signal(signal.SIGINT, before)
    try:
        run()
    finally:
        _forget_interrupts()


def _too_early(_number: int, _frame: object) -> None:
    with suppress(OSError, AttributeError):  # a stream that is full, or closed
        sys.stderr.write("error[CF601]: stopped before anything was changed\n  try: the same command again\n")
        sys.stderr.flush()
    os._exit(6)


def _forget_interrupts() -> None:
    """Let the exit status be ours: Python dies of SIGINT if one ever passed through the run of a text, even one caught since.

    A dataclass is made by running a text, and a module that is loaded late makes some. The next text clears its memory.
    """
    exec("")  # noqa: S102 - nothing is run


if __name__ == "__main__":
    main()
