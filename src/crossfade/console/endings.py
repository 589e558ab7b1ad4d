"""How a command ends: with what it returns, or with an error that was written for someone, and its exit status."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from typing import Any

import typer

from crossfade.console.streams import OUT, failure
from crossfade.console.talk import complain, say, this_command
from crossfade.console.unforeseen import unforeseen
from crossfade.errors import (
    AGAIN,
    CrossfadeError,
    DiskFull,
    Interrupted,
    LocationInvalid,
    OptionInvalid,
    OutputLost,
    TargetUnwritable,
)

_UsageError: Any = typer.BadParameter.__mro__[1]
"""What typer raises for a command line that it cannot read. It ships its own click, and exports only a subclass."""

_TYPER_INTERRUPTED = 130


def ended(command: Callable[[], int]) -> int:
    """The exit status of *command*; what went wrong is said."""
    try:
        return _uninterrupted(command())
    except _UsageError as error:
        return _misused(error)
    except typer.Exit as ending:
        return ending.exit_code
    except SystemExit:  # typer's own answer to a pipe that breaks: to another process, as no stream of ours says so
        return _fail(_of_os(BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))))
    except (KeyboardInterrupt, typer.Abort):
        return _fail(Interrupted("stopped before anything was changed", hint=AGAIN))
    except CrossfadeError as error:
        return _fail(error)
    except OSError as error:
        return _fail(_of_os(error))
    except Exception as error:  # noqa: BLE001 - nobody else hears of it
        return _fail(_unexpected(error))


def _unexpected(error: Exception) -> CrossfadeError:
    """What a database said, and no room below gave a meaning; else what nobody foresaw."""
    driver = sys.modules.get("psycopg")  # where nobody has loaded it, this is none of its errors
    if driver is None or not isinstance(error, driver.Error):
        return unforeseen(error)
    from crossfade.store.backends.postgres.server import translate  # noqa: PLC0415 - which would load it

    return translate(error, "the database")


def _uninterrupted(status: int) -> int:
    """*status*, unless it is typer's own answer to a Ctrl-C, one that came before the verb listened."""
    if status == _TYPER_INTERRUPTED:
        raise KeyboardInterrupt
    return status


def delivered(status: int) -> int:
    """*status*; no success where what was to be shown could not be written. Whoever closed a pipe had read enough."""
    sys.stdout.flush()
    why = failure(OUT)
    if why is None:
        return status
    sentence = f"the output could not be written: {_first_lower(why.strerror or type(why).__name__)}"
    lost = _fail(OutputLost(sentence, hint="give the output another place, or make room there; what was done stands"))
    return status or lost


def _fail(error: CrossfadeError) -> int:
    if error.hint.startswith(AGAIN):
        error.hint = this_command(error.hint.removeprefix(AGAIN).strip())
    complain(error)
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
