"""Why a server could not be connected to, where trying again would not help.

A connection that fails has no SQLSTATE, only a sentence: libpq's own (in English), or the server's. Here is the table of those
that stand until a person changes something. What it does not list may pass: a server that is away, one that starts, a cut line.
None of what the sentence quotes is passed on, as a certificate or a server may say what it likes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from crossfade.errors import CrossfadeError, LocationInvalid, TargetDenied, TlsFailed

LOGIN = "check the user, and the password in PGPASSFILE or PGPASSWORD"
_DBA = "ask who runs the server; docs/guide/least-privilege.md lists what the role needs"
_AUTHORITY = (
    "sslrootcert=FILE names the authority that signed it; openssl x509 -in FILE -noout -issuer -dates shows a certificate"
)
_CLIENT = "sslcert=FILE and sslkey=FILE name yours and its key, which only you may read: chmod 600 FILE"


@dataclass(frozen=True)
class Refusal:
    """What libpq or the server says, and how we say it; *sentence* follows the name of the store."""

    says: re.Pattern[str]
    error: type[CrossfadeError]
    sentence: str
    hint: str


def _row(says: str, error: type[CrossfadeError], sentence: str, hint: str) -> Refusal:
    return Refusal(re.compile(says), error, sentence, hint)


_TABLE = (
    _row(
        r"invalid (?:connection option|URI query parameter:) \"(\w+)|invalid \"?(\w+)\"? value: |weak (sslmode)|for connection option \"(\w+)"
        r"|(service) \".*\" not found|(service) file|invalid (port) number| in URI|invalid percent-encoded",
        LocationInvalid,
        "has an option that libpq does not take, in its URL or in a PG… variable",
        "docs/guide/tls.md lists those of TLS, and PostgreSQL's own documentation all of libpq's",
    ),
    _row(
        "does not match host name|could not get server's host name",
        TlsFailed,
        "shows a certificate for another host",
        "name the server as its certificate does; sslmode=verify-ca asks for the authority alone",
    ),
    _row(
        "certificate verify failed",
        TlsFailed,
        "shows a certificate that is not of a trusted authority, or not of today",
        _AUTHORITY,
    ),
    _row(
        "root certificate|certificate revocation list",
        TlsFailed,
        "cannot be verified: the file of trusted authorities is not there, or holds none",
        "sslrootcert=FILE, or sslmode=verify-full with sslrootcert=system for the authorities of this machine",
    ),
    _row(
        "does not support SSL",
        TlsFailed,
        "speaks no TLS, and sslmode asks for it",
        "let who runs the server switch it on (ssl = on), or give another sslmode on a network that you trust",
    ),
    _row(
        "private key file|certificate file|certificate present|could not load private key|sslcertmode",
        TlsFailed,
        "cannot be shown your certificate: the file or its key cannot be used",
        _CLIENT,
    ),
    _row(
        r"requires a valid client certificate|certificate authentication failed|SSL error: .*alert .*(?:certificate|unknown ca)",
        TlsFailed,
        "wants a client certificate, another one than it was shown",
        _CLIENT,
    ),
    _row(
        r"SSL error: .*(?:alert (?:handshake|protocol|insufficient|unsupported|access|no app)|protocol|version|cipher)|channel binding",
        TlsFailed,
        "has no way to speak TLS that both sides accept",
        "compare ssl_min_protocol_version and channel_binding here with the settings there",
    ),
    _row("authentication failed|no password supplied", TargetDenied, "refused the login", LOGIN),
    _row(
        r"pg_hba\.conf.*no encryption",
        TargetDenied,
        "lets nobody in from here without TLS, or not this user",
        "sslmode=require; where that is no help, the server's pg_hba.conf needs a line for this user and host",
    ),
    _row(r"pg_hba\.conf", TargetDenied, "does not let this user in from here", _DBA),
    _row(
        r"role \".*\" does not exist|is not permitted to log in|permission denied for database",
        TargetDenied,
        "does not let this user in",
        _DBA,
    ),
)


def refused(message: str, name: str) -> CrossfadeError | None:
    """The coded error for the store *name* when a connection failed with *message*; None where it may pass."""
    for row in _TABLE:
        if found := row.says.search(message):
            option = next(filter(None, found.groups()), "")
            return row.error(f"{name} {row.sentence}" + (f": {option}" if option else ""), hint=row.hint)
    return None
