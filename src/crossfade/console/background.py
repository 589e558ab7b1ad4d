"""Going on in the background: the verb runs on in a session of its own, and what it says goes to a log.

The process is forked, not started anew: what was typed, a password in a URL among it, is in no arguments of another process.
"""

from __future__ import annotations

import fcntl
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from platformdirs import user_state_dir

from crossfade.console import streams
from crossfade.console.found_again import found_again
from crossfade.console.talk import say, say_head, show, show_json
from crossfade.errors import OptionInvalid
from crossfade.migrate.values import SCHEMA_VERSION

if TYPE_CHECKING:
    from crossfade.migrate.prepare import Run

_LOG_BYTES = 10 << 20
_LOOK_SECONDS = 10.0
_KEPT_SECONDS = 30 * 24 * 3600.0

Begun = Callable[["Run"], None]
"""Hears of a run whose lease is taken."""


def detached(verb: Callable[[Begun], int], begun: Begun, *, as_json: bool) -> int:
    """Run *verb* in the background. Returns 0 here once its lease is taken; what it failed with before, said as it said it.

    In the background, its own exit status.
    """
    log = _log()
    reader, writer = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if not pid:
        os.close(reader)
        _leave(log)
        return verb(_telling(writer, begun))
    os.close(writer)
    with open(reader, encoding="utf-8", errors="surrogateescape") as answer:
        told = _read(answer.read, pid).split(" ", 2)
    if len(told) == 3:
        migration, head, store = told
        _show(migration, store, pid, log, head, as_json=as_json)
        say_head(bytes.fromhex(head))
        return 0
    _, status = os.waitpid(pid, 0)
    with open(log, encoding="utf-8", errors="replace") as said:
        say(said.read().rstrip())
    return os.waitstatus_to_exitcode(status)


def _log() -> str:
    """A new log in this user's state directory."""
    folder = os.path.join(user_state_dir("crossfade"), "logs")
    name = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{os.getpid()}.log"
    try:
        if not os.path.isabs(folder):
            raise FileNotFoundError(2, "this user has no home")
        os.makedirs(folder, 0o700, exist_ok=True)
        _remove_old(folder)
        os.close(os.open(os.path.join(folder, name), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except OSError as error:
        raise OptionInvalid(
            f"--detach has no place for its log in {folder}: {error.strerror}", hint="XDG_STATE_HOME=/var/lib/crossfade"
        ) from None
    return os.path.join(folder, name)


def _leave(log: str) -> None:
    """Leave the terminal, and whoever waits for its input or output."""
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    _say_into(log)
    streams.forget()
    threading.Thread(target=_keep_small, args=(log,), name="log", daemon=True).start()


def _say_into(log: str) -> None:
    """Have all that is said go there. The lock says that somebody still does, for as long as a process of this run lives."""
    opened = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    fcntl.flock(opened, fcntl.LOCK_SH)
    for target in (1, 2):
        os.dup2(opened, target)
    os.close(opened)


def _keep_small(log: str) -> None:
    """Begin a new file where one is full. One predecessor is kept."""
    while True:
        time.sleep(_LOOK_SECONDS)
        if os.fstat(2).st_size >= _LOG_BYTES:
            with suppress(OSError):
                os.replace(log, f"{log}.1")
                _say_into(log)


def _remove_old(folder: str) -> None:
    """Remove logs to which nobody has said anything for a month, and nobody will."""
    for entry in list(os.scandir(folder)):
        with suppress(OSError):
            if time.time() - entry.stat().st_mtime > _KEPT_SECONDS and not _is_in_use(entry.path):
                os.unlink(entry.path)


def _is_in_use(log: str) -> bool:
    descriptor = os.open(log, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _telling(writer: int, begun: Begun) -> Begun:
    def tell(run: Run) -> None:
        begun(run)
        with suppress(BrokenPipeError):  # whoever typed it has gone
            head = run.ledger.journal_head(run.migration).hex()
            os.write(writer, os.fsencode(f"{run.migration} {head} {run.ledger.server.name}"))
        os.close(writer)

    return tell


def _read(read: Callable[[], str], pid: int) -> str:
    """What comes back from the background; a Ctrl-C meanwhile is meant for what runs there."""
    while True:
        try:
            return read()
        except KeyboardInterrupt:
            with suppress(ProcessLookupError):
                os.kill(pid, 2)


def _show(migration: str, store: str, pid: int, log: str, head: str, *, as_json: bool) -> None:
    watch, pause = (
        found_again(f"crossfade {words}", store) for words in (f"status {migration} --watch", f"pause {migration}")
    )
    if as_json:
        steps = [{"command": watch, "why": "see it move"}, {"command": pause, "why": "stand still"}]
        value = {"schema_version": SCHEMA_VERSION, "migration": migration, "pid": pid, "log": log}
        show_json({**value, "head": head, "next_steps": steps})
        return
    show(f"migration {migration} goes on in the background: process {pid}, log {log}\nnext      {watch}   # see it move")
