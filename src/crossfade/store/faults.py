"""Which faults pass by themselves: classified by SQLSTATE and errno, never by a message alone."""

from __future__ import annotations

import errno

import psycopg

from crossfade.errors import DiskFull, TargetUnreachable
from crossfade.store.refusals import refused

_PASSING_ERRNO = (errno.ENOSPC, errno.EDQUOT, errno.EAGAIN, errno.EINTR, errno.EBUSY, errno.ESTALE, errno.ENETUNREACH)

_PASSING_STATES = ("25P03", "25P04", "55P03", "57P01", "57P02", "57P03", "57P05", "58030")


def passes(error: BaseException) -> bool:
    """True where the same call may succeed later, on either side."""
    if isinstance(error, (TargetUnreachable, DiskFull)):
        return True
    if isinstance(error, OSError):
        return error.errno in _PASSING_ERRNO
    return is_transient(error)


def is_transient(error: BaseException) -> bool:
    """True where trying again may help: lost connections, restarts, deadlocks, lock time-outs, full disks.

    By SQLSTATE class: 08 connection, 40 rollback, 53 resources, 25P03 and 25P04 time-outs of a transaction, 55P03 lock not
    available, 57P operator intervention, 58 system; and no SQLSTATE at all, which is a connection that broke.
    """
    if not isinstance(error, psycopg.Error):
        return False
    state = error.sqlstate
    if state is None:
        return isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError)) and refused(str(error), "") is None
    return state[:2] in ("08", "40", "53") or state in _PASSING_STATES


def is_data_error(error: BaseException) -> bool:
    """True where the server refused a row for what it holds, so that the page must be taken apart."""
    return isinstance(error, psycopg.Error) and (error.sqlstate or "")[:2] in ("22", "23", "54", "P0", "44")
