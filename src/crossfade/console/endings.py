"""How a command ends: with what it returns, or with an error that was written for someone, and its exit status."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Any

import psycopg
import typer

from crossfade.console.talk import complain, say, this_command
from crossfade.console.unforeseen import unforeseen
from crossfade.errors import (
    AGAIN,
    CrossfadeError,
    DiskFull,
    Interrupted,
    LocationInvalid,
    OptionInvalid,
    TargetUnwritable,
)
from crossfade.store.backends.postgres.server import translate

_UsageError: Any = typer.BadParameter.__mro__[1]
"""What typer raises for a command line that it cannot read. It ships its own click, and exports only a subclass."""

_TYPER_INTERRUPTED = 130


def ended(command: Callable[[], int]) -> int:
    """The exit status of *command*; what went wrong is said. Raises BrokenPipeError when nobody reads what it prints."""
    try:
        return _uninterrupted(command())
    except _UsageError as error:
        return _misused(error)
    except typer.Exit as ending:
        return ending.exit_code
    except SystemExit:  # typer's own answer to a closed pipe
        raise BrokenPipeError from None
    except (KeyboardInterrupt, typer.Abort):
        return _fail(Interrupted("stopped before anything was changed", hint=AGAIN))
    except CrossfadeError as error:
        return _fail(error)
    except psycopg.Error as error:
        return _fail(translate(error, "the database"))
    except BrokenPipeError:
        raise
    except OSError as error:
        return _fail(_of_os(error))
    except Exception as error:  # noqa: BLE001 - nobody else hears of it
        return _fail(unforeseen(error))


def _uninterrupted(status: int) -> int:
    """*status*, unless it is typer's own answer to a Ctrl-C, one that came before the verb listened."""
    if status == _TYPER_INTERRUPTED:
        raise KeyboardInterrupt
    return status


def _fail(error: CrossfadeError) -> int:
    if error.hint.startswith(AGAIN):
        error.hint = this_command(error.hint.removeprefix(AGAIN).strip())
    try:
        complain(error)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    return error.exit


def _misused(error: Any) -> int:
    if type(error).__name__ == "NoArgsIsHelpError":
        say(error.format_message())
        return OptionInvalid.exit
    path = error.ctx.command_path if error.ctx else "crossfade"
    return _fail(OptionInvalid(_first_lower(error.format_message()), hint=f"{path} --help"))


def _first_lower(text: str) -> str:
    return text[:1].lower() + text[1:].rstrip(".")


def _of_os(error: OSError) -> CrossfadeError:
    """A failed system call that no room below gave a meaning."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull("no space is left on the target", hint=f"free some space, then: {this_command()}")
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return TargetUnwritable(
            f"the target does not take writes ({error.strerror})", hint="choose a place that you may write"
        )
    if error.errno in (errno.ENAMETOOLONG, errno.ENOTDIR, errno.ELOOP, errno.EINVAL):
        return LocationInvalid(f"the system refused: {error.strerror}", hint="crossfade doctor")
    return TargetUnwritable(f"the system refused: {error.strerror}", hint=this_command())
