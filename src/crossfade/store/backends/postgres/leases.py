"""One runner at a time: a lease on the server's clock, and an epoch that every page checks.

Taking over bumps the epoch under an exclusive lock, which ends the old runner's page in flight, so that no page of an old
epoch can commit after. A runner on this machine that is dead is replaced at once; any other when its lease has run out.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from crossfade.errors import Fenced, RunnerActive
from crossfade.store.backends.postgres.names import within
from crossfade.store.backends.postgres.server import Connection

LEASE_SECONDS = 15

SURELY_SECONDS = 60
"""No lease that was given out by the clock as it is lasts for longer."""


@dataclass(frozen=True)
class Runner:
    """A process on a machine. ``started`` tells it from a later one with the same number."""

    host: str
    boot: str
    pid: int
    started: str


@dataclass(frozen=True)
class Term:
    """How long the lease of *holder* stands: until when, in how many *seconds*, and whether the holder's end would be seen from here.

    ``is_over`` says so whatever the clock says: it was given back, or nobody renewed it for as long as one lasts, or its
    runner was seen to be dead.
    """

    holder: Runner
    expires_at: datetime
    seconds: float
    is_seen: bool
    is_over: bool


def this_runner() -> Runner:
    """The process that asks."""
    return Runner(socket.gethostname(), _boot(), os.getpid(), _started(os.getpid()))


def take(connection: Connection, schema: str, migration: str) -> int:
    """Become the migration's runner, in the caller's transaction; the new epoch. Raises RunnerActive while another holds it."""
    epoch, me = _ended(connection, schema, migration), this_runner()
    connection.execute(
        within(
            "INSERT INTO {}.leases AS l (migration_id, epoch, host, boot, pid, started, expires_at)"
            " VALUES (%s, %s, %s, %s, %s, %s, clock_timestamp() + make_interval(secs => %s))"
            " ON CONFLICT (migration_id) DO UPDATE SET epoch = excluded.epoch, host = excluded.host, boot = excluded.boot,"
            " pid = excluded.pid, started = excluded.started, expires_at = excluded.expires_at",
            schema,
        ),
        [migration, epoch + 1, me.host, me.boot, me.pid, me.started, LEASE_SECONDS],
    )
    return epoch + 1


def follow(connection: Connection, schema: str, migration: str, epoch: int) -> bool:
    """Have pages pass here of the runner who has *epoch* by the lease in another database, and none of an older one any more.

    False, and nothing done, for one who was replaced.
    """
    if _epoch(connection, schema, migration) == epoch:
        return True
    if not _is_free(connection, migration):
        _end_pages(connection, migration)
    me = this_runner()
    query = (
        "INSERT INTO {}.leases AS l (migration_id, epoch, host, boot, pid, started, expires_at)"
        " VALUES (%s, %s, %s, %s, %s, %s, clock_timestamp())"
        " ON CONFLICT (migration_id) DO UPDATE SET epoch = excluded.epoch, host = excluded.host, boot = excluded.boot,"
        " pid = excluded.pid, started = excluded.started, expires_at = excluded.expires_at WHERE l.epoch <= excluded.epoch"
    )
    values = [migration, epoch, me.host, me.boot, me.pid, me.started]
    return connection.execute(within(query, schema), values).rowcount == 1


def _ended(connection: Connection, schema: str, migration: str) -> int:
    """The epoch that stands, once no page of it is in flight. Raises RunnerActive while its runner lives."""
    if not _is_free(connection, migration):
        _refuse_if_held(connection, schema, migration)
        _end_pages(connection, migration)
    return _refuse_if_held(connection, schema, migration)


def _epoch(connection: Connection, schema: str, migration: str) -> int:
    query = "SELECT epoch FROM {}.leases WHERE migration_id = %s"
    row = connection.execute(within(query, schema), [migration]).fetchone()
    return 0 if row is None else cast("int", row[0])


def _end_pages(connection: Connection, migration: str) -> None:
    """Take the lock that pages share, from whoever holds it."""
    connection.execute(_END_PAGES, {"migration": migration})
    connection.execute("SELECT pg_advisory_xact_lock(hashtext('crossfade lease'), hashtext(%s))", [migration])


_END_PAGES = """
SELECT pg_terminate_backend(pid) FROM pg_locks
WHERE locktype = 'advisory' AND objsubid = 2 AND granted AND pid <> pg_backend_pid()
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND classid = (hashtext('crossfade lease')::bigint & 4294967295)::oid
  AND objid = (hashtext(%(migration)s)::bigint & 4294967295)::oid
"""
"""End the pages of a runner that is gone or asleep: it may have stopped in the middle of one, and hold its lock for ever."""


def _is_free(connection: Connection, migration: str) -> bool:
    """Take the lock, if no page is in flight."""
    query = "SELECT pg_try_advisory_xact_lock(hashtext('crossfade lease'), hashtext(%s))"
    row = connection.execute(query, [migration]).fetchone()
    return bool(row and row[0])


def _refuse_if_held(connection: Connection, schema: str, migration: str) -> int:
    """The epoch that stands; raises RunnerActive where its runner lives, and its lease does."""
    query = "SELECT epoch, host, boot, pid, started, expires_at > clock_timestamp() FROM {}.leases WHERE migration_id = %s"
    row = connection.execute(within(query, schema), [migration]).fetchone()
    if row is None:
        return 0
    holder = Runner(*cast("Any", row[1:5]))
    if row[5] and not _is_dead(holder, this_runner()):
        raise run_by(holder, migration)
    return cast("int", row[0])


def refuse_another(connection: Connection, schema: str, row: dict[str, Any]) -> None:
    """Refuse while another one of ``others`` runs. One whose lease is over may only sleep: from here on its pages are refused."""
    connection.execute("SELECT pg_advisory_xact_lock(hashtext('crossfade tree'), %s)", [row["store_id"]])
    replace = "UPDATE {}.leases SET epoch = epoch + 1, expires_at = 'epoch' WHERE migration_id = %s"
    for other in others(connection, schema, row):
        _ended(connection, schema, other)
        connection.execute(within(replace, schema), [other])


def others(connection: Connection, schema: str, row: dict[str, Any]) -> list[str]:
    """The other migrations of the same source into the same tree: one database has many spellings."""
    query = (
        "SELECT migration_id FROM {}.migrations WHERE store_id = %s AND source = %s AND migration_id <> %s AND target <> %s"
        " ORDER BY migration_id"
    )
    values = [row["store_id"], row["source"], row["migration"], row["target"]]
    found = connection.execute(within(query, schema), values).fetchall() if _fills(row) else []
    return [str(other) for (other,) in found]


def _fills(row: dict[str, Any]) -> bool:
    """True for a migration that writes the tree; those that only read it may run side by side."""
    return str(row["target"]).startswith(("postgresql:", "embedded:"))


def renew(connection: Connection, schema: str, migration: str, epoch: int) -> bool:
    """Hold on for another term; False when somebody else took over."""
    query = "UPDATE {}.leases SET expires_at = clock_timestamp() + make_interval(secs => %s) WHERE migration_id = %s AND epoch = %s"
    return connection.execute(within(query, schema), [LEASE_SECONDS, migration, epoch]).rowcount == 1


def runs_as(connection: Connection, schema: str, migration: str, epoch: int) -> bool:
    """True while *epoch* is the runner's; a take-over waits for the caller's transaction."""
    connection.execute("SELECT pg_advisory_xact_lock_shared(hashtext('crossfade lease'), hashtext(%s))", [migration])
    query = within("SELECT epoch FROM {}.leases WHERE migration_id = %s", schema)
    return connection.execute(query, [migration]).fetchone() == (epoch,)


def fence(connection: Connection, schema: str, migration: str, epoch: int) -> None:
    """Raises Fenced for a runner that was replaced, and holds off a take-over until the caller's transaction ends."""
    if not runs_as(connection, schema, migration, epoch):
        raise replaced(migration)


def replaced(migration: str) -> Fenced:
    """What a runner is told that another one has taken over from."""
    return Fenced("another runner took this migration over", hint=f"crossfade status {migration}")


def run_by(holder: Runner, migration: str) -> RunnerActive:
    """What somebody is told who would be the runner while *holder* is."""
    return RunnerActive(
        f"migration {migration} is being run by process {holder.pid} on {holder.host}",
        hint=f"crossfade status {migration}",
    )


def release(connection: Connection, schema: str, migration: str, epoch: int) -> None:
    """Let the next runner in without a wait."""
    query = "UPDATE {}.leases SET expires_at = 'epoch' WHERE migration_id = %s AND epoch = %s"
    connection.execute(within(query, schema), [migration, epoch])


def end(connection: Connection, schema: str, migration: str, expires_at: datetime) -> None:
    """Let the lease run out that was to last until *expires_at*. One that was renewed meanwhile stands."""
    query = "UPDATE {}.leases SET expires_at = 'epoch' WHERE migration_id = %s AND expires_at = %s"
    connection.execute(within(query, schema), [migration, expires_at])


def holder_of(connection: Connection, schema: str, migration: str) -> Runner | None:
    """Who runs the migration now, if anybody."""
    query = (
        "SELECT host, boot, pid, started FROM {}.leases WHERE migration_id = %s"
        " AND expires_at BETWEEN clock_timestamp() AND clock_timestamp() + make_interval(secs => %s)"
    )
    row = connection.execute(within(query, schema), [migration, SURELY_SECONDS]).fetchone()
    runner = Runner(*cast("Any", row)) if row else None
    return None if runner is None or _is_dead(runner, this_runner()) else runner


def term_of(connection: Connection, schema: str, migration: str) -> Term | None:
    """How long the migration's lease stands, if there was one."""
    query = (
        "SELECT expires_at, extract(epoch FROM expires_at - clock_timestamp())::float8, expires_at = 'epoch',"
        " host, boot, pid, started FROM {}.leases WHERE migration_id = %s"
    )
    row = cast("Any", connection.execute(within(query, schema), [migration]).fetchone())
    if row is None:
        return None
    holder, me = Runner(*row[3:]), this_runner()
    is_seen = bool(me.boot) and (holder.host, holder.boot) == (me.host, me.boot)
    return Term(holder, row[0], row[1], is_seen, row[2] or _is_dead(holder, me))


def _is_dead(holder: Runner, me: Runner) -> bool:
    """True when the holder ran on this machine, since the same boot, and is no more."""
    if (holder.host, holder.boot) != (me.host, me.boot) or not me.boot:
        return False
    return holder == me or _is_gone(holder)


def _is_gone(holder: Runner) -> bool:
    """True where its process has ended, or has its number from another one since. Of one that is hidden from this account only
    that there is one can be seen: then time tells.
    """
    try:
        return _told(holder.pid) != holder.started
    except OSError:
        return not _is_there(holder.pid)


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _boot() -> str:
    """What changes with every start of the machine, and between containers, which do not see one another's processes.

    Empty where the system does not tell.
    """
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return f"{file.read().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _started(pid: int) -> str:
    """When a process began, in the kernel's ticks; empty for one that is not there, or hidden."""
    try:
        return _told(pid)
    except OSError:
        return ""


def _told(pid: int) -> str:
    """The same. Raises OSError where the system does not tell of it."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    return "" if fields[0] == b"Z" else fields[19].decode()
