"""Lines of the journal that wait on disk: whoever dies while they are put there, or brought, loses none and repeats none."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from crossfade.migrate.audit import scribe as scribes
from crossfade.migrate.audit.record import bring_what_was_left
from crossfade.migrate.audit.scribe import Scribe
from crossfade.migrate.audit.spool import Spool
from crossfade.store.backends.postgres.journal import Line
from crossfade.store.backends.postgres.ledger import Ledger
from crossfade.store.backends.postgres.server import Server
from support.cluster import Cluster
from support.proxy import Proxy
from support.running import Terminal, finish, wait_for

MIGRATION = "abcdef012345"


@pytest.mark.parametrize(("place", "kept"), [("journal.spool:before@2", 0), ("journal.spool:after@2", 1)])
def test_dying_while_lines_are_kept_leaves_all_or_none(
    terminal: Terminal, small_store: Path, cluster: Cluster, place: str, kept: int
):
    """Killed around the sync: the next run ends what was begun, and the journal's chain holds."""
    terminal.environment["PGPASSWORD"] = cluster.password
    url = cluster.url(f"spool{kept}")
    environment = {"CROSSFADE_FAILPOINT": place}
    process = terminal.popen(
        "start", small_store, url, "--once", "--workers", 1, "--rate-limit", "1000", environment=environment
    )
    wait_for("it copies", lambda: _rows(cluster, f"spool{kept}"))
    cluster.stop(immediately=True)
    died = finish(process)
    cluster.start()

    assert died.status == -signal.SIGKILL, died
    assert terminal.run("start", small_store, url, "--once").status == 0
    assert not list((terminal.home / "crossfade" / "journal").iterdir())
    verified = terminal.run("audit", small_store, url, "--verify")
    assert verified.status == 0, verified
    lines = json.loads(terminal.run("audit", small_store, url, "--json").out)["lines"]
    assert any(line["said_at"] < line["at"] for line in lines) is bool(kept)


def _rows(cluster: Cluster, schema: str) -> int:
    with cluster.connect() as connection:
        try:
            row = connection.execute(f"SELECT count(*) FROM {schema}.entries WHERE type = 'file'").fetchone()
        except psycopg.errors.UndefinedTable:
            return 0
    return int(row[0]) if row else 0


@pytest.fixture
def ledger(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    """A schema with a journal, for a user with a state directory."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    found = Ledger(_server(cluster, cluster.port), f"s{tmp_path.name[-20:].replace('-', '_')}")
    found.ensure()
    yield found
    found.close()


def _server(cluster: Cluster, port: int) -> Server:
    return Server(f"host=127.0.0.1 port={port} dbname=postgres user=crossfade", "the server", secret=cluster.password)


def _events(cluster: Cluster, ledger: Ledger) -> list[str]:
    with cluster.connect() as connection:
        rows = connection.execute(f'SELECT event FROM "{ledger.schema}".journal ORDER BY seq').fetchall()
    return [event for (event,) in rows]


def test_lines_that_were_appended_but_not_forgotten_are_appended_once(cluster: Cluster, ledger: Ledger):
    """Who brings them may die between the commit and the end of the file; two may bring them one after the other."""
    spool, lines = Spool(MIGRATION), [Line("one"), Line("two")]
    spool.keep(lines)
    spool.close()
    ledger.note(MIGRATION, "first", {})
    for line in lines:
        ledger.change(lambda c, line=line: scribes.journal.append(c, ledger.schema, MIGRATION, line))

    bring_what_was_left(ledger, MIGRATION)

    assert _events(cluster, ledger) == ["first", "one", "two"]


def test_a_line_that_is_stalled_is_kept_and_told_once(cluster: Cluster, ledger: Ledger):
    """The wire holds on to the commit, and delivers it later: by then the line waits on disk, and stands there already."""
    with Proxy(cluster.port) as proxy:
        scribe = Scribe(_server(cluster, proxy.port), ledger.schema, MIGRATION)
        scribe.say("before", {})
        wait_for("it is told", lambda: _events(cluster, ledger) == ["before"])
        proxy.stall()
        scribe.say("while", {"n": 1})
        wait_for("it is kept", lambda: scribe._spool.lines)
        proxy.go_on()
        scribe.say("after", {})
        wait_for("it is told, too", lambda: "after" in _events(cluster, ledger))
        scribe.close()

    assert _events(cluster, ledger) == ["before", "while", "after"]


def test_whoever_tells_never_waits_for_the_database(cluster: Cluster, ledger: Ledger):
    """Nobody answers at all; the work goes on, and the end is bounded."""
    with Proxy(cluster.port) as proxy:
        proxy.stop()
        scribe = Scribe(_server(cluster, proxy.port), ledger.schema, MIGRATION)
        began = time.monotonic()
        for _ in range(1000):
            scribe.retry("OperationalError")
        assert time.monotonic() - began < 1
        scribe.close()
        assert time.monotonic() - began < 20
    assert _events(cluster, ledger) == []

    bring_what_was_left(ledger, MIGRATION)

    assert _events(cluster, ledger) == ["retried"]


def test_many_threads_tell_at_once(cluster: Cluster, ledger: Ledger):
    """Workers, the lease and the engine: each line once, in a chain."""
    scribe = Scribe(ledger.server, ledger.schema, MIGRATION)
    threads = [threading.Thread(target=lambda: [scribe.say("told", {}) for _ in range(20)]) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    scribe.close()
    assert _events(cluster, ledger) == ["told"] * 100


def test_lines_of_a_newer_release_stay_on_disk(cluster: Cluster, ledger: Ledger):
    """What is known is appended; what is not waits for whoever can read it, and the journal says so once."""
    spool = Spool(MIGRATION)
    spool.keep([Line("one")])
    spool.close()
    path = Path(spool._path)
    with path.open("a") as file:
        file.write(json.dumps({**Line("two").values(), "colour": "red"}) + "\n" + '{"event": "torn')

    bring_what_was_left(ledger, MIGRATION)
    bring_what_was_left(ledger, MIGRATION)

    assert _events(cluster, ledger) == ["one", "lines left unread"]
    assert '"two"' in path.read_text()
