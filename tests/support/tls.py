"""Servers that speak TLS: a front in Python before the wheel's server, which knows none, and every one of the distribution.

The client is the real one in either case. The front does what a pooler or a load balancer does: it ends TLS, asks for a
certificate, and lets the role ``certified`` in by one alone; passwords are the server's business behind it.
Certificates and the script that made them: ``tests/data/tls``.
"""

from __future__ import annotations

import select
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlencode

from support.cluster import Cluster
from support.servers import DISTRIBUTION

FILES = Path(__file__).parents[1] / "data" / "tls"
NAMES = ["front", *(f"distribution-{programs.parts[-3]}" for programs in DISTRIBUTION)]
KEY_PHRASE = "canary-key-phrase"
"""What opens ``locked.key``, which is ``client.key``."""

_SSL_REQUEST, _GSS_REQUEST, _HANDSHAKE = 80877103, 80877104, 0x16
_BEHIND_THE_FRONT = "host all certified 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
_WITH_TLS = "hostssl all certified 127.0.0.1/32 cert\nhostssl all all 127.0.0.1/32 scram-sha-256\n"


class Secured:
    """A server that only speaks TLS, as ``localhost``, under the authority of ``authority.crt``."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.port = cluster.port

    def wears(self, name: str) -> None:
        """Show the certificate *name* from now on."""
        raise NotImplementedError

    def close(self) -> None:
        """Listen no longer."""

    def url(self, schema: str, host: str = "localhost", user: str = "crossfade", **options: object) -> str:
        """Where *schema* is. The name need not resolve; the password is not in it."""
        query = urlencode({"hostaddr": "127.0.0.1", **options, "schema": schema})
        return f"postgresql://{user}@{host}:{self.port}/postgres?{query}"


@contextmanager
def secured(name: str) -> Iterator[Secured]:
    """The server *name* of ``NAMES``, started for this."""
    kind, _, major = name.partition("-")
    programs = Path(f"/usr/lib/postgresql/{major}/bin") if kind == "distribution" else None
    cluster = Cluster(programs)
    cluster.settings["hba_file"] = str(cluster.give("hba", (_WITH_TLS if programs else _BEHIND_THE_FRONT).encode()))
    made: Secured = _Own(cluster) if programs else _Front(cluster)
    with cluster:
        with cluster.connect() as connection:
            connection.execute("CREATE ROLE certified LOGIN")
            connection.execute("GRANT CREATE ON DATABASE postgres TO certified")
        try:
            yield made
        finally:
            made.close()


class _Own(Secured):
    """A server that has TLS of its own."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster)
        authority = cluster.give("authority.crt", (FILES / "authority.crt").read_bytes())
        cluster.settings |= {"ssl": "on", "ssl_ca_file": str(authority)}
        self._put("server")

    def _put(self, name: str) -> None:
        for end, setting in (("crt", "ssl_cert_file"), ("key", "ssl_key_file")):
            self.cluster.settings[setting] = str(self.cluster.give(f"own.{end}", (FILES / f"{name}.{end}").read_bytes()))

    def wears(self, name: str) -> None:
        self.cluster.stop()
        self._put(name)
        self.cluster.start()


class _Front(Secured):
    """Ends TLS on a port of its own, for the *cluster* behind it; a thread for each connection."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster)
        self.wears("server")
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def wears(self, name: str) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(FILES / f"{name}.crt", FILES / f"{name}.key")
        context.load_verify_locations(FILES / "authority.crt")
        context.verify_mode = ssl.CERT_OPTIONAL
        context.set_alpn_protocols(["postgresql"])
        self._context = context

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # closing alone would not wake whoever accepts
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError, EOFError):
            if not self._asked_for_tls(client):
                client.sendall(_no("no pg_hba.conf entry for that host, no encryption"))
                return
            with self._context.wrap_socket(client, server_side=True) as secured:
                hello = _startup(secured)
                if b"user\0certified\0" in hello and not _is_certified(secured):
                    secured.sendall(_no("connection requires a valid client certificate"))
                    return
                with socket.create_connection(("127.0.0.1", self.cluster.port)) as server:
                    server.sendall(hello)
                    _pass_on(secured, server)

    def _asked_for_tls(self, client: socket.socket) -> bool:
        """Answer what comes before a login, up to the point where TLS begins, if it does."""
        if client.recv(1, socket.MSG_PEEK) == bytes([_HANDSHAKE]):
            return True
        while (asked := struct.unpack("!I", _startup(client)[4:8])[0]) == _GSS_REQUEST:
            client.sendall(b"N")
        if asked == _SSL_REQUEST:
            client.sendall(b"S")
        return bool(asked == _SSL_REQUEST)


def _startup(client: socket.socket) -> bytes:
    """A message of the time before the login: its length, and what that counts."""
    size = _exactly(client, 4)
    return size + _exactly(client, struct.unpack("!I", size)[0] - 4)


def _exactly(client: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = client.recv(size - len(data))
        if not part:
            raise EOFError
        data += part
    return data


def _pass_on(client: ssl.SSLSocket, server: socket.socket) -> None:
    """Both ways, until one side ends it. One thread: the two directions of a TLS connection are one state."""
    while True:
        ready = [client] if client.pending() else select.select([client, server], [], [])[0]
        for one, other in ((client, server), (server, client)):
            if one in ready:
                data = one.recv(1 << 16)
                if not data:
                    return
                other.sendall(data)


def _is_certified(client: ssl.SSLSocket) -> bool:
    return (client.getpeercert() or {}).get("subject") == ((("commonName", "certified"),),)


def _no(text: str) -> bytes:
    """PostgreSQL's refusal of a login."""
    fields = b"SFATAL\0VFATAL\0C28000\0M" + text.encode() + b"\0\0"
    return b"E" + struct.pack("!I", len(fields) + 4) + fields
