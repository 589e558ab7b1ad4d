"""The user of the operating system that the server runs as: ourselves, or, when we are root, somebody without rights."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Collection
from dataclasses import dataclass

from crossfade.errors import EmbeddedFailed

_CANDIDATES = ("crossfade", "nobody")  # whom root becomes; an account of that name may be made to keep nobody out


@dataclass(frozen=True)
class Account:
    """One user, and how to run a program as that user."""

    uid: int
    gid: int
    name: str

    @property
    def borrowed(self) -> bool:
        """True when it is not the user that we are."""
        return self.uid != os.geteuid()

    def run(self, argv: list[str], *, output: int, inherit: Collection[int] = (), seconds: float | None = None) -> int:
        """Run *argv* with its own session and an empty environment; return its exit status.

        Its own session: a Ctrl-C in the caller's terminal is meant for the caller.
        """
        done = subprocess.run(
            argv,
            check=False,
            cwd="/",
            env={"LC_ALL": "C", "PATH": os.defpath},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=tuple(inherit),
            start_new_session=True,
            umask=0o077,
            timeout=seconds,
            user=self.uid if self.borrowed else None,
            group=self.gid if self.borrowed else None,
            extra_groups=[] if self.borrowed else None,
        )
        return done.returncode

    def own(self, fd: int) -> None:
        """Give the open file *fd* to this user; only root can, and only root needs to."""
        if self.borrowed:
            os.fchown(fd, self.uid, self.gid)


def account_for(directory: str) -> Account:
    """Who runs the server of *directory*: its owner, or for root's own directories a user without rights."""
    if os.geteuid() != 0:
        return _account(pwd_entry(os.geteuid()))
    owner = _owner(directory)
    return _account(pwd_entry(owner)) if owner else _unprivileged()


def _owner(directory: str) -> int:
    data = os.path.join(directory, "data")
    return os.stat(data if os.path.isdir(data) else directory).st_uid


def pwd_entry(uid: int) -> pwd.struct_passwd:
    """The entry of *uid* in the user database, which initdb and peer authentication insist on."""
    try:
        return pwd.getpwuid(uid)
    except KeyError:
        raise EmbeddedFailed(
            f"user id {uid} has no name on this machine, and PostgreSQL does not run for a user without one",
            hint="run as a user that /etc/passwd knows, or name a server: postgresql://…",
        ) from None


def _unprivileged() -> Account:
    for name in _CANDIDATES:
        try:
            return _account(pwd.getpwnam(name))
        except KeyError:
            continue
    raise EmbeddedFailed(
        "PostgreSQL does not run as root, and there is no user 'crossfade' or 'nobody' to run it",
        hint="useradd --system crossfade",
    )


def _account(entry: pwd.struct_passwd) -> Account:
    return Account(entry.pw_uid, entry.pw_gid, entry.pw_name)
